"""Padding with a constant or with mirror images, and the gradients."""

from __future__ import annotations

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.size_vectors import Element, elements, known, minus, vector
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
    before, after = _numbers(op, paddings)
    if op.attr("mode") == "REFLECT":
        return op.Pad(x, before + after, mode="reflect")
    for axis, (left, right) in enumerate(zip(before, after, strict=True)):
        parts = [x]
        if left:
            parts.insert(0, op.Slice(x, [left - 1], [_BEGIN], [axis], [-1]))
        if right:
            parts.append(op.Slice(x, [-1], [-right - 1], [axis], [-1]))
        if left or right:
            shape = tuple(size + (left + right) if at == axis else size for at, size in enumerate(x.dims))
            x = op.Concat(*parts, axis=axis)
            x.refine(shape)
    return x


@lowers("MirrorPadGrad", complex_parts=True)
def mirror_pad_grad(op: OpContext, dy: Value, paddings: Value) -> Value:
    """The inside of ``dy`` plus both mirror images, folded back onto the elements they came from."""
    before, after = _numbers(op, paddings)
    offset = 1 if op.attr("mode") == "REFLECT" else 0
    for axis, (left, right) in enumerate(zip(before, after, strict=True)):
        if not left and not right:
            continue
        size = dy.dims[axis] - (left + right)
        inside = op.Slice(dy, [left], [-right if right else _END], [axis])
        inside.refine(tuple(size if at == axis else length for at, length in enumerate(dy.dims)))
        total = inside
        if left:
            image = op.Slice(dy, [left - 1], [_BEGIN], [axis], [-1])
            total = total + _placed(op, image, axis, [offset, minus(op, size, left + offset)], inside)
        if right:
            image = op.Slice(dy, [-1], [-right - 1], [axis], [-1])
            total = total + _placed(op, image, axis, [minus(op, size, right + offset), offset], inside)
        dy = total
    return dy


def _placed(op: OpContext, image: Value, axis: int, margins: list[Element], like: Value) -> Value:
    pads: list[Element] = [0] * (2 * image.rank)
    pads[axis], pads[image.rank + axis] = margins
    result: Value = op.Pad(image, vector(op, pads))
    result.refine(like.shape)
    return result


def _numbers(op: OpContext, paddings: Value) -> tuple[list[int], list[int]]:
    before, after = _pairs(op, paddings)
    sizes = known(before + after)
    if sizes is None or not all(isinstance(size, int) for size in sizes):
        raise op.unsupported("the mirror paddings depend on the data; use constants")
    numbers = [size for size in sizes if isinstance(size, int)]
    return numbers[: len(before)], numbers[len(before) :]
