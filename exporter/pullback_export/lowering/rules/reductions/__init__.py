"""Sums and transforms along axes."""
