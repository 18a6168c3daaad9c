"""Rewrites, by the nodes that they save and the numbers that they keep."""
