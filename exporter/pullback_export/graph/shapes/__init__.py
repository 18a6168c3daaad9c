"""Shapes and dtypes of what ONNX operators give."""
