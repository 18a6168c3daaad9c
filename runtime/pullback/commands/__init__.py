"""The commands of ``pullback``: each module adds its arguments and runs."""
