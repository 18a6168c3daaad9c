"""Factorizations and spectra of batches of matrices."""
