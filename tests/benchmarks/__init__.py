"""Pullback against everything that a user could pick instead; ``python -m tests.benchmarks --help``."""
