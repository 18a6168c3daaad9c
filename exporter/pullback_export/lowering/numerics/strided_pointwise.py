"""``ConvTranspose`` in the place of a pointwise convolution whose results are spread among zeros."""

from __future__ import annotations

from collections.abc import Sequence

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Node, Value
from pullback_export.lowering.context import OpContext

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
    dx.refine(tuple(sizes))
    return dx


def _is_pointwise(node: Node) -> bool:
    """A convolution with 1x1 kernels, one group and no bias."""
    if node.op_type != "Conv" or len(node.inputs) != 2 or node.inputs[1] is None:
        return False
    plain = node.attributes.get("group", 1) == 1 and not any(node.attributes.get("pads", []))
    return plain and node.inputs[1].dims[2:] == (1, 1) and set(node.attributes.get("strides", [1])) == {1}
