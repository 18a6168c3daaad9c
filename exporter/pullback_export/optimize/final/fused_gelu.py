"""Gelu as the operators that ONNX Runtime fuses into one.

TensorFlow computes ``x / 2 * erfc(-x / sqrt(2))``, which is ``x / 2 * (1 - erf(-x / sqrt(2)))`` in ONNX; ONNX Runtime
looks for ``x * (1 + erf(x / sqrt(2))) / 2`` (onnxruntime/core/optimizer/gelu_fusion.cc). ``erf`` is odd: the digits are
the same up to the last. The derivative, which wants ``erf`` as well, computes it once more: one pass over memory
instead of the four that the fused operator saves.
"""

from __future__ import annotations

import math

import numpy as np

from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import made_by, number_of, other_operand

_CLOSE = 1e-6


def fused_gelu(graph: Region, node: Node) -> Value | None:
    """``(x / 2) * (1 - erf(-x / sqrt(2)))`` in the order that is fused."""
    if node.op_type != "Mul" or node.outputs[0].dtype != np.float32:
        return None
    for half, complement in other_operand(node):
        x = _scaled(half, 0.5)
        inner = made_by(complement, "Sub")
        erf = made_by(inner.inputs[1], "Erf") if inner is not None and number_of(inner.inputs[0]) == 1 else None
        if x is None or erf is None or _scaled(erf.inputs[0], -math.sqrt(0.5)) is not x:
            continue
        root, one, half_of = (graph.constant(np.float32(number)) for number in (math.sqrt(2), 1, 0.5))
        above = graph.emit("Add", [graph.emit("Erf", [graph.emit("Div", [x, root])]), one])
        return graph.emit("Mul", [graph.emit("Mul", [x, above]), half_of])
    return None


def _scaled(value: Value | None, factor: float) -> Value | None:
    """``x`` where ``value`` is ``x * factor``."""
    product = made_by(value, "Mul")
    for x, constant in other_operand(product) if product is not None else ():
        number = number_of(constant)
        if number is not None and abs(number - factor) < _CLOSE:
            return x
    return None
