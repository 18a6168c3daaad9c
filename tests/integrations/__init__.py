"""Bundles in the libraries that people use them from, each against the real library."""
