"""Which free sizes of TensorFlow's graphs are the same, as far as their operators say; see :mod:`.analysis`."""
