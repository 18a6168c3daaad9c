"""``ConvTranspose`` where a convolution is followed by zeros between its results, or by a crop."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import made_by, only_reader


def cropped(graph: Region, node: Node) -> Value | None:
    """A slice at the ends of the spatial axes of a ``ConvTranspose``: it need not compute what is cut off."""
    source = node.inputs[0] if node.op_type == "Slice" else None
    convolution = made_by(source, "ConvTranspose")
    if source is None or convolution is None:
        return None
    cuts = _cuts(node, source)
    if cuts is None or only_reader(source) is not node or "pads" not in convolution.attributes:
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
