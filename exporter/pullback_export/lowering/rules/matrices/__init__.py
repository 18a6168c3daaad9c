"""Products, factorizations, spectra, linear systems."""
