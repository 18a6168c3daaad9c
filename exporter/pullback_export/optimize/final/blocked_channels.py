"""Steps between convolutions, as operators that keep ONNX Runtime's blocked layout of channels.

On CPUs ONNX Runtime computes convolutions with channels in blocks (NCHWc) and leaves that layout, at the price of
another pass over memory, for every operator that does not know it: also for ``1 - s`` with a scalar
(onnxruntime/core/optimizer/nchwc_transformer.cc). ``Conv`` with one 1x1 kernel per channel does: a kernel of -1 and a
bias of 1, rounded once as before. For ``1 - s`` of a sigmoid, which is never outside of 0 to 1, there is an operator
that stays in that layout and takes 0.6 of the time: ``HardSigmoid``, whose cuts then cut nothing. Masks stay
comparisons: a steep ``HardSigmoid``, as an operator or in a convolution, took as long, and says NaN where they say no.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.dims import known
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import made_by, number_of, only_reader

BLOCK = 8  # channels; some processors take 4 or 16
_DEPTH = 6
_CARRIED = ("Conv", "Add", "Mul", "Sum", "Relu", "Sigmoid", "Tanh", "HardSigmoid")


def blocked_scalar(graph: Region, node: Node) -> Value | None:
    """``x + c``, ``x - c``, ``c - x`` and ``x * c`` of a blocked ``x`` and a scalar, where a blocked op reads it."""
    if node.op_type not in ("Add", "Sub", "Mul") or node.outputs[0].dtype != np.float32:
        return None
    reader = only_reader(node.outputs[0])
    if reader is None or reader.op_type not in ("Add", "Mul") or not _has_blocked_partner(reader, node.outputs[0]):
        return None
    left, right = node.inputs
    for x, scalar in ((left, right), (right, left)):
        number = number_of(scalar)
        if x is None or number is None or not is_blocked(x):
            continue
        if node.op_type == "Mul":
            return _per_channel(graph, x, number, 0.0)
        if node.op_type == "Add":
            return _per_channel(graph, x, 1.0, number)
        if x is right and number == 1 and made_by(x, "Sigmoid") is not None:
            return graph.emit("HardSigmoid", [x], {"alpha": -1.0, "beta": 1.0})
        return _per_channel(graph, x, -1.0, number) if x is right else _per_channel(graph, x, 1.0, -number)
    return None


def is_blocked(value: Value | None, depth: int = _DEPTH) -> bool:
    """Whether ONNX Runtime will have ``value`` in blocks, as far as one can see from how it is made."""
    node = value.node if value is not None else None
    if value is None or node is None or value.shape is None or len(value.shape) != 4:
        return False
    channels = value.shape[1]
    if not isinstance(channels, int) or channels % BLOCK or value.shape[2:] == (1, 1):
        return False
    if node.op_type == "Conv" or depth == 0:
        return node.op_type in _CARRIED
    if node.op_type in ("Add", "Mul", "Sum"):
        return any(item is not None and item.const is None for item in node.inputs) and all(
            _is_folded(item, channels) or (_has_shape(item, value) and is_blocked(item, depth - 1))
            for item in node.inputs
        )
    return node.op_type in ("Relu", "Sigmoid", "Tanh", "HardSigmoid") and is_blocked(node.inputs[0], depth - 1)


def _is_folded(value: Value | None, channels: int) -> bool:
    """A constant per channel, which joins the convolution in front of it when the session opens."""
    return value is not None and value.const is not None and value.shape == (1, channels, 1, 1)


def _has_shape(value: Value | None, other: Value) -> bool:
    return value is not None and value.shape == other.shape


def _has_blocked_partner(reader: Node, value: Value) -> bool:
    """Whether the other operand of ``reader`` is blocked."""
    return any(is_blocked(item) and _has_shape(item, value) for item in reader.inputs)


def _per_channel(graph: Region, x: Value, scale: float, offset: float) -> Value:
    """``x * scale + offset`` as a convolution with one kernel per channel."""
    channels = known(x.dims[1])
    kernel = graph.constant(np.full((channels, 1, 1, 1), scale, np.float32))
    bias = graph.constant(np.full(channels, offset, np.float32)) if offset else None
    return graph.emit("Conv", [x, kernel, bias], {"group": channels})
