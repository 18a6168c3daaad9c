"""One function for each TensorFlow operator, in one file per family."""
