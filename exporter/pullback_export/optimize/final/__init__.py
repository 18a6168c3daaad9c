"""Rewrites of the finished graph, which know who reads a value."""
