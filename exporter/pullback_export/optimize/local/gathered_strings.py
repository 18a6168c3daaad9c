"""ONNX Runtime's ``Gather`` of strings copies the first of each row that an index picks, and no other (1.32, CPU).

It is right where an index picks single strings. Elsewhere the places of the strings are gathered, which are numbers,
and then the strings by their places.
"""

from __future__ import annotations

from pullback_export.graph.values import Attributes, Operands, Region, Value


def one_by_one(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    """``Gather`` along an axis of strings behind which there are others."""
    if op_type != "Gather" or operands[0] is None or operands[0].dtype != object:
        return None
    strings = operands[0]
    shape, axis = strings.shape, attributes.get("axis", 0)
    if shape is not None and all(size == 1 for size in shape[axis % len(shape) + 1 :]):
        return None
    zero, one = graph.constant(0, "int64"), graph.constant(1, "int64")
    all_places = graph.emit("Range", [zero, graph.emit("Size", [strings]), one], {})
    places = graph.emit("Reshape", [all_places, graph.emit("Shape", [strings], {})], {"allowzero": 1})
    picked = graph.emit("Gather", [places, operands[1]], {"axis": axis})
    flat = graph.emit("Reshape", [strings, graph.constant([-1], "int64")], {})
    return graph.emit("Gather", [flat, picked], {"axis": 0})
