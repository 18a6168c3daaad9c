"""From a TensorFlow graph to an ONNX graph: one rule per TensorFlow op, in one file per family."""
