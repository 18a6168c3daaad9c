"""Keras on JAX, torch or NumPy: the work is done on TensorFlow in a child process, and the live model confirms it."""
