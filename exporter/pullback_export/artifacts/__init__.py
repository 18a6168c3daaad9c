"""The two written forms of a function: an ONNX file and a SavedModel."""
