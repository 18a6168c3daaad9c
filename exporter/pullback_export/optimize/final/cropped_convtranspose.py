"""``ConvTranspose`` where a convolution is followed by zeros between its results, or by a crop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.graph import Graph, Node, Value
from pullback_export.lowering.context import OpContext
from pullback_export.optimize.final.engine import Readers

_CHANNELS_LAST = [0, 2, 3, 1]


def spread_convolution(op: OpContext, y: Value, strides: Sequence[int], sizes: Sequence[Size]) -> Value | None:
    """``y``, channels last and of a pointwise convolution, at every ``strides``-th place of zeros of shape ``sizes``.

    That is the adjoint of a strided 1x1 convolution: one ``ConvTranspose``, where spreading alone would take longer
    than the convolution. None where ``y`` is something else.
    """
    before = y.node.inputs[0] if y.node is not None and y.node.op_type == "Transpose" else None
    node = before.node if before is not None else None
    if node is None or y.node is None or y.node.attributes["perm"] != _CHANNELS_LAST or not _is_pointwise(node):
        return None
    steps = list(strides[1:3])
    extra = [
        size - (count - 1) * step - 1 if isinstance(size, int) and isinstance(count, int) else -1
        for size, count, step in zip(sizes[1:3], y.dims[1:3], steps, strict=True)
    ]
    if strides[0] != 1 or strides[3] != 1 or not all(0 <= more < step for more, step in zip(extra, steps, strict=True)):
        return None
    x, kernel = node.inputs
    assert x is not None and kernel is not None
    weights = op.transpose(kernel, [1, 0, 2, 3])
    dx = op.transpose(op.ConvTranspose(x, weights, strides=steps, output_padding=extra), _CHANNELS_LAST)
    dx.shape = tuple(sizes)
    return dx


def _is_pointwise(node: Node) -> bool:
    """A convolution with 1x1 kernels, one group and no bias."""
    if node.op_type != "Conv" or len(node.inputs) != 2 or node.inputs[1] is None:
        return False
    plain = node.attributes.get("group", 1) == 1 and not any(node.attributes.get("pads", []))
    return plain and node.inputs[1].dims[2:] == (1, 1) and set(node.attributes.get("strides", [1])) == {1}


def cropped(graph: Graph, node: Node, readers: Readers) -> Value | None:
    """A slice at the ends of the spatial axes of a ``ConvTranspose``: it need not compute what is cut off."""
    source = node.inputs[0] if node.op_type == "Slice" else None
    convolution = source.node if source is not None else None
    if source is None or convolution is None or convolution.op_type != "ConvTranspose":
        return None
    cuts = _cuts(node, source)
    if cuts is None or readers.only(source) is not node or "pads" not in convolution.attributes:
        return None
    count = source.rank - 2
    pads = list(convolution.attributes["pads"])
    padding = list(convolution.attributes.get("output_padding", [0] * count))
    for axis, (first, last) in enumerate(cuts):
        spared = min(padding[axis], last)
        padding[axis] -= spared
        pads[axis] += first
        pads[count + axis] += last - spared
    attributes = {**convolution.attributes, "pads": pads, "output_padding": padding}
    return graph.emit("ConvTranspose", convolution.inputs, attributes)


def _cuts(node: Node, source: Value) -> list[tuple[int, int]] | None:
    """How many elements a slice drops before and after on each spatial axis; None for other slices."""
    bounds = [value.const if value is not None else None for value in node.inputs[1:]]
    if len(bounds) < 3 or any(bound is None for bound in bounds):
        return None
    starts, ends, axes, *steps = [np.asarray(bound).tolist() for bound in bounds]
    if any(step != 1 for step in (steps[0] if steps else [])):
        return None
    cuts = [(0, 0)] * (source.rank - 2)
    for start, end, axis in zip(starts, ends, axes, strict=True):
        size, axis = source.dims[axis], axis % source.rank
        if axis < 2 or not isinstance(size, int):
            return None
        first, last, _ = slice(start, end).indices(size)
        if last <= first:
            return None
        cuts[axis - 2] = first, size - last
    return cuts
