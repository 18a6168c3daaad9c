"""Blocks of an image that move to the batch axis and back (tensorflow/core/kernels/spacetobatch_op.cc)."""

from __future__ import annotations

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.size_vectors import Element, elements, minus, vector
from pullback_export.lowering.registry import lowers


@lowers("SpaceToBatchND", complex_parts=True)
def space_to_batch_nd(op: OpContext, x: Value, block: Value, paddings: Value) -> Value:
    """Zeros around the axes ``1..m``, then every ``block``-th element of them goes to the same row of the batch."""
    return _to_batch(op, x, op.constant_of(block, "the block").tolist(), _flat(op, paddings))


@lowers("SpaceToBatch", complex_parts=True)
def space_to_batch(op: OpContext, x: Value, paddings: Value) -> Value:
    """``SpaceToBatchND`` of images with square blocks."""
    return _to_batch(op, x, [int(op.attr("block_size"))] * 2, _flat(op, paddings))


def _flat(op: OpContext, pairs: Value) -> list[Element]:
    return elements(op, op.reshape(pairs, [pairs.dims[0] * 2]))


def _to_batch(op: OpContext, x: Value, block: list[int], pairs: list[Element]) -> Value:
    count = len(block)
    rest: list[Element] = [0] * (x.rank - 1 - count)
    padded = op.Pad(x, vector(op, [0, *pairs[0::2], *rest, 0, *pairs[1::2], *rest]))
    batch, spatial, inner = padded.dims[0], padded.dims[1 : 1 + count], padded.dims[1 + count :]
    split: list[Size] = [batch]
    for size, step in zip(spatial, block, strict=True):
        split += [size // step, step]
    steps, places = [2 + 2 * axis for axis in range(count)], [1 + 2 * axis for axis in range(count)]
    order = [*steps, 0, *places, *range(1 + 2 * count, 1 + 2 * count + len(inner))]
    moved = op.transpose(op.reshape(padded, [*split, *inner]), order)
    return op.reshape(moved, [batch * product(block), *(split[1::2]), *inner])


@lowers("BatchToSpaceND", complex_parts=True)
def batch_to_space_nd(op: OpContext, x: Value, block: Value, crops: Value) -> Value:
    """The inverse of ``SpaceToBatchND``: rows of the batch are interleaved, then the borders are cut off."""
    return _from_batch(op, x, op.constant_of(block, "the block").tolist(), _flat(op, crops))


@lowers("BatchToSpace", complex_parts=True)
def batch_to_space(op: OpContext, x: Value, crops: Value) -> Value:
    """``BatchToSpaceND`` of images with square blocks."""
    return _from_batch(op, x, [int(op.attr("block_size"))] * 2, _flat(op, crops))


def _from_batch(op: OpContext, x: Value, block: list[int], pairs: list[Element]) -> Value:
    count = len(block)
    batch = x.dims[0] // product(block)
    spatial, inner = x.dims[1 : 1 + count], x.dims[1 + count :]
    split = op.reshape(x, [*block, batch, *spatial, *inner])
    order = [count]
    for axis in range(count):
        order += [count + 1 + axis, axis]
    moved = op.transpose(split, [*order, *range(2 * count + 1, split.rank)])
    whole = [size * step for size, step in zip(spatial, block, strict=True)]
    image = op.reshape(moved, [batch, *whole, *inner])
    ends = [minus(op, size, crop) for size, crop in zip(whole, pairs[1::2], strict=True)]
    result: Value = op.Slice(image, vector(op, pairs[0::2]), vector(op, ends), list(range(1, 1 + count)))
    return result
