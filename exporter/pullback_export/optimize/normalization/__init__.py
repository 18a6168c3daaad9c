"""Normalisations as operators of ONNX, recognised by their equations."""
