"""Parity: samples, the live model, the written files, central differences, the report."""
