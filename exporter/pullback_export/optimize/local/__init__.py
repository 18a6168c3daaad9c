"""Rewrites at emission: each sees one node before it is made."""
