"""Loops of recurrent layers: ONNX's operators in their place, and as few nodes as possible where a loop remains."""
