"""Reference models: each file has ``build()``, ``samples(rng)`` and, where a closed form exists, ``exact(...)``."""
