"""Temporary changes of TensorFlow and Keras; each file says which defect it works around."""
