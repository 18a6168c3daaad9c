"""A bundle as a web page that computes in the browser: ``pullback web``."""
