"""The ONNX graph under construction: values, sizes, folding, serialization. Knows nothing of TensorFlow."""
