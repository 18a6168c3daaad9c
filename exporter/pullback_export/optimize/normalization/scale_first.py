"""The derivative of a layer normalisation with its scale multiplied first, where it can join the weights in front.

TensorFlow's is ``dy * (scale / deviation)`` and ``(dy * (x - mean)) * scale``: both have ``dy * scale`` as a factor.
It is one product instead of two, and where ``dy`` comes out of a matrix product, ``optimize.final.products`` puts the
scale into the weights, so that it is none. Results may change in the last place.
"""

from __future__ import annotations

from pullback_export.graph.bounds import is_moderate
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import made_by, only_reader, other_operand


def scale_first(graph: Region, node: Node) -> Value | None:
    """``dy * (inverse * scale)`` as ``(dy * scale) * inverse``, ``(dy * (x - mean)) * scale`` likewise."""
    if node.op_type != "Mul":
        return None
    for one, other in other_operand(node):
        inner = made_by(other, "Mul")
        if inner is None or only_reader(other) is not node:
            continue
        for left, right in other_operand(inner):
            if _is_inverse(left) and _is_scale(right) and one.shape == node.outputs[0].shape:
                return graph.emit("Mul", [graph.emit("Mul", [one, right]), left])
            if _is_centred(left) and _is_scale(one) and right.shape == node.outputs[0].shape:
                return graph.emit("Mul", [graph.emit("Mul", [right, one]), left])
    return None


def _is_scale(value: Value) -> bool:
    return value.const is not None and value.const.size > 1 and is_moderate(value.const)


def _is_inverse(value: Value) -> bool:
    norm = made_by(value, "LayerNormalization")
    return norm is not None and value is norm.outputs[2]


def _is_centred(value: Value) -> bool:
    difference = made_by(value, "Sub")
    norm = made_by(difference.inputs[1], "LayerNormalization") if difference is not None else None
    return norm is not None and difference is not None and difference.inputs == (norm.inputs[0], norm.outputs[1])
