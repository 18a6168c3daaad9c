"""Algorithms that rules use, written in ONNX operators."""
