"""A bundle behind HTTP, by the Open Inference Protocol: ``pullback serve``."""
