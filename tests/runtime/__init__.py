"""Tests of the runtime, for an environment of NumPy, ONNX Runtime and pytest alone."""
