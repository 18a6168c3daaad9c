"""Gradients of strided 1x1 convolutions: the zeros between their results are written as late as possible.

The input gradient of a 1x1 convolution with a stride of ``s`` is zero but for every ``s``-th place, and so is all that
is computed from it place by place: sums with such a gradient, masks, 1x1 convolutions. Here these are computed for
the places that count, a quarter of all with a stride of 2, and the places are spread where something needs the zeros. A
larger convolution without stride of spread places is a ``ConvTranspose`` of them. Another one spreads them, with a
kernel of 1 for each channel: 0.2 ms for 1024 x 14 x 14 numbers, where ``Pad`` takes 0.7.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.bounds import largest
from pullback_export.graph.operators import BROADCASTING
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import made_by, other_operand

_DEPTH = 6


@dataclasses.dataclass(frozen=True)
class _Spread:
    """``source`` at every ``strides``-th place, with ``extra`` zeros behind the last one."""

    source: Value
    strides: tuple[int, ...]
    extra: tuple[int, ...]

    def of(self, graph: Region, source: Value) -> Value:
        """``source`` spread as this one is."""
        channels = source.dims[1]
        assert isinstance(channels, int)
        kernel = graph.constant(np.ones((channels, 1, 1, 1), np.float32))
        attributes = {"strides": [*self.strides], "output_padding": [*self.extra], "pads": [0] * 4, "group": channels}
        return graph.emit("ConvTranspose", [source, kernel], attributes)

    def is_like(self, other: _Spread) -> bool:
        return (self.strides, self.extra) == (other.strides, other.extra) and self.source.shape == other.source.shape


def spread_late(graph: Region, node: Node) -> Value | None:
    """The operators that spread places pass; see above."""
    if node.outputs[0].dtype != np.float32:
        return None
    if node.op_type == "ConvTranspose":
        return _first_at_the_places(graph, node)
    if node.op_type == "Add":
        return _sum(graph, node)
    if node.op_type == "Mul":
        return _masked(graph, node)
    return _convolved(graph, node) if node.op_type == "Conv" else None


def _first_at_the_places(graph: Region, node: Node) -> Value | None:
    """A strided 1x1 ``ConvTranspose`` as a convolution whose results are spread, where that makes others smaller."""
    found = _pointwise(node)
    if found is None or not _is_convolved(node.outputs[0], _DEPTH):
        return None
    x, kernel = node.inputs
    assert x is not None and kernel is not None
    return found.of(graph, graph.emit("Conv", [x, graph.emit("Transpose", [kernel], {"perm": [1, 0, 2, 3]})]))


def _sum(graph: Region, node: Node) -> Value | None:
    left, right = (_spread(value) for value in node.inputs)
    if left is None or right is None or not left.is_like(right):
        return None
    return left.of(graph, left.source + right.source)


def _masked(graph: Region, node: Node) -> Value | None:
    """With zeros and ones only: any other factor could be NaN where zeros are, and the product, too."""
    for value, factor in other_operand(node):
        spread = _spread(value)
        if spread is None or value.shape != node.outputs[0].shape or not _is_mask(factor):
            continue
        places = _at_places(graph, factor, spread, value, _DEPTH)
        if places is not None:
            return spread.of(graph, spread.source * places)
    return None


def _convolved(graph: Region, node: Node) -> Value | None:
    spread, kernel = _spread(node.inputs[0]), node.inputs[1]
    if spread is None or kernel is None or len(node.inputs) != 2 or not _is_dense(node):
        return None
    if kernel.dims[2:] == (1, 1):
        return spread.of(graph, graph.emit("Conv", [spread.source, kernel], node.attributes))
    taps = [int(size) for size in kernel.dims[2:] if isinstance(size, int)]
    pads = [size - 1 - pad for size, pad in zip([*taps, *taps], node.attributes.get("pads", [0] * 4), strict=True)]
    if min(pads) < 0:
        return None
    flipped = graph.emit("Slice", [kernel, *map(graph.constant, ([-1, -1], [-(2**62)] * 2, [2, 3], [-1, -1]))])
    attributes = {"strides": [*spread.strides], "output_padding": [*spread.extra], "pads": pads}
    swapped = graph.emit("Transpose", [flipped], {"perm": [1, 0, 2, 3]})
    result = graph.emit("ConvTranspose", [spread.source, swapped], attributes)
    result.refine(node.outputs[0].shape)
    return result


def _at_places(graph: Region, value: Value, spread: _Spread, whole: Value, depth: int) -> Value | None:
    """``value``, which broadcasts to ``whole``, at every ``strides``-th place; None where it has another shape."""
    if value.shape is None:
        return None
    if all(size == 1 for size in value.dims[-2:]):
        return value
    if value.shape != whole.shape:
        return None
    node = value.node
    if depth and node is not None and (node.op_type in BROADCASTING or node.op_type == "Cast"):
        parts = [_at_places(graph, item, spread, whole, depth - 1) for item in node.inputs if item is not None]
        if len(parts) == len(node.inputs) and all(part is not None for part in parts):
            return graph.emit(node.op_type, parts, node.attributes)
    if value.dtype != np.float32:
        return None
    # Exact, also for NaN, and in ONNX Runtime's blocked layout: the mean of one number.
    return graph.emit("AveragePool", [value], {"kernel_shape": [1, 1], "strides": [*spread.strides]})


def _is_convolved(value: Value, depth: int) -> bool:
    """Whether what is computed from ``value`` place by place goes through a convolution without stride."""
    for reader in value.uses():
        if not isinstance(reader, Node) or not depth:
            continue
        if reader.op_type == "Conv" and _is_dense(reader):
            return True
        if _passes(reader, value) and _is_convolved(reader.outputs[0], depth - 1):
            return True
    return False


def _passes(reader: Node, value: Value) -> bool:
    for item, other in other_operand(reader) if reader.op_type in ("Add", "Mul") else ():
        if item is not value:
            continue
        if reader.op_type == "Mul":
            return _is_mask(other)
        node = other.node
        return _spread(other) is not None or (node is not None and _pointwise(node) is not None)
    return False


def _is_mask(value: Value) -> bool:
    node = made_by(value, "Cast")
    return node is not None and node.inputs[0] is not None and node.inputs[0].dtype == bool


def _is_dense(node: Node) -> bool:
    """A convolution of all channels, without stride or dilation; a 1x1 one without padding."""
    kernel, attributes = node.inputs[1], node.attributes
    if kernel is None or kernel.rank != 4 or not all(isinstance(size, int) for size in kernel.dims):
        return False
    ones = {*attributes.get("strides", [1]), *attributes.get("dilations", [1]), attributes.get("group", 1)}
    grows = kernel.dims[2:] == (1, 1) and any(attributes.get("pads", [0]))
    return ones == {1} and not grows and "auto_pad" not in attributes


def _pointwise(node: Node) -> _Spread | None:
    """Of a strided 1x1 ``ConvTranspose`` with constant weights, for all channels at once."""
    if node.op_type != "ConvTranspose" or node.attributes.get("group", 1) != 1 or len(node.inputs) != 2:
        return None
    x, kernel = node.inputs
    if x is None or kernel is None or x.rank != 4 or kernel.dims[2:] != (1, 1) or largest(kernel) is None:
        return None
    return _as_spread(node, x)


def _spread(value: Value | None) -> _Spread | None:
    """Where ``value`` is something spread by :meth:`_Spread.of`."""
    node = made_by(value, "ConvTranspose")
    if node is None or len(node.inputs) != 2:
        return None
    source, kernel = node.inputs
    if source is None or kernel is None or kernel.const is None or kernel.dims[1:] != (1, 1, 1):
        return None
    if node.attributes.get("group", 1) != kernel.dims[0] or not bool((kernel.const == 1).all()):
        return None
    return _as_spread(node, source)


def _as_spread(node: Node, source: Value) -> _Spread | None:
    attributes: dict[str, Any] = dict(node.attributes)
    strides, extra = (
        tuple(attributes.get(name, [number] * 2)) for name, number in (("strides", 1), ("output_padding", 0))
    )
    if len(strides) != 2 or max(strides) < 2 or any(attributes.get("pads", [0])) or "output_shape" in attributes:
        return None
    return _Spread(source, strides, extra)
