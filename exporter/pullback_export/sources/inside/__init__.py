"""Bundles that start at inner layers of a model."""
