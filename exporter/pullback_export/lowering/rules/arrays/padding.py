"""Padding with a constant or with mirror images, and the gradients."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.size_vectors import Element, elements, named_sizes, vector
from pullback_export.lowering.registry import lowers

_END, _BEGIN = 2**63 - 1, -(2**63) + 1


def _pairs(op: OpContext, paddings: Value) -> tuple[list[Element], list[Element]]:
    """What is added before and after each axis."""
    flat = elements(op, op.reshape(paddings, [paddings.dims[0] * 2]))
    return flat[0::2], flat[1::2]


@lowers("Pad", complex_parts=True)
def pad(op: OpContext, x: Value, paddings: Value) -> Value:
    """``x`` with zeros before and after each axis."""
    before, after = _pairs(op, paddings)
    return op.Pad(x, vector(op, before + after)) if before else x


@lowers("PadV2", complex_parts=True)
def pad_v2(op: OpContext, x: Value, paddings: Value, number: Value) -> Value:
    """``x`` with ``number`` before and after each axis."""
    before, after = _pairs(op, paddings)
    return op.Pad(x, vector(op, before + after), number) if before else x


@lowers("MirrorPad", complex_parts=True)
def mirror_pad(op: OpContext, x: Value, paddings: Value) -> Value:
    """Mirror images on both sides: ``REFLECT`` without the border element, ``SYMMETRIC`` with it."""
    before, after = _sizes(op, paddings)
    offset = _offset(op)
    if offset and all(isinstance(size, int) for size in before + after):
        return op.Pad(x, op.sizes(before + after), mode="reflect")
    for axis, (left, right) in enumerate(zip(before, after, strict=True)):
        parts = [x]
        if left != 0:
            parts.insert(0, _first(op, x, axis, left, offset))
        if right != 0:
            parts.append(_last(op, x, axis, right, offset))
        if left != 0 or right != 0:
            shape = tuple(size + (left + right) if at == axis else size for at, size in enumerate(x.dims))
            x = op.Concat(*parts, axis=axis)
            x.refine(shape)
    return x


@lowers("MirrorPadGrad", complex_parts=True)
def mirror_pad_grad(op: OpContext, dy: Value, paddings: Value) -> Value:
    """The inside of ``dy`` plus both mirror images, folded back onto the elements they came from."""
    before, after = _sizes(op, paddings)
    offset = _offset(op)
    for axis, (left, right) in enumerate(zip(before, after, strict=True)):
        if left == 0 and right == 0:
            continue
        size = dy.dims[axis] - (left + right)
        inside = op.Slice(dy, op.sizes([left]), _end_before(op, dy.dims[axis], right), [axis])
        inside.refine(tuple(size if at == axis else length for at, length in enumerate(dy.dims)))
        total = inside
        if left != 0:
            image = _first(op, dy, axis, left, 0)
            total = total + _placed(op, image, axis, [offset, size - (left + offset)], inside)
        if right != 0:
            image = _last(op, dy, axis, right, 0)
            total = total + _placed(op, image, axis, [size - (right + offset), offset], inside)
        dy = total
    return dy


def _offset(op: OpContext) -> int:
    """How many border elements a mirror image omits."""
    return 1 if op.attr("mode") == "REFLECT" else 0


def _first(op: OpContext, x: Value, axis: int, count: Size, skipped: int) -> Value:
    """``count`` elements of ``axis``, backwards, from the beginning without the ``skipped``; ``count`` may be 0."""
    if isinstance(count, int) and not skipped:
        return op.Slice(x, [count - 1], [_BEGIN], [axis], [-1])
    part = op.Slice(x, [skipped], op.sizes([count + skipped]), [axis])
    return op.Slice(part, [-1], [_BEGIN], [axis], [-1])


def _last(op: OpContext, x: Value, axis: int, count: Size, skipped: int) -> Value:
    """The same from the end."""
    if isinstance(count, int) and not skipped:
        return op.Slice(x, [-1], [-count - 1], [axis], [-1])
    end = x.dims[axis] - skipped
    part = op.Slice(x, op.sizes([end - count]), op.sizes([end]), [axis])
    return op.Slice(part, [-1], [_BEGIN], [axis], [-1])


def _end_before(op: OpContext, size: Size, right: Size) -> Value:
    """The end of a slice without the last ``right`` elements of an axis of ``size``."""
    if isinstance(right, int):
        return op.const([-right if right else _END], np.int64)
    return op.sizes([size - right])


def _placed(op: OpContext, image: Value, axis: int, margins: list[Size], like: Value) -> Value:
    pads: list[Element] = [0] * (2 * image.rank)
    pads[axis], pads[image.rank + axis] = margins
    result: Value = op.Pad(image, vector(op, pads))
    result.refine(like.shape)
    return result


def _sizes(op: OpContext, paddings: Value) -> tuple[list[Size], list[Size]]:
    """What is added before and after each axis; numbers that depend on the data have names."""
    flat = named_sizes(op, op.reshape(paddings, [paddings.dims[0] * 2]), "padding")
    return flat[0::2], flat[1::2]
