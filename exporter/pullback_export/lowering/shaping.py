"""Shapes, and ops that rearrange a tensor without computing."""

from __future__ import annotations

from typing import Any

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.graph import Value
from pullback_export.lowering.registry import lowers


def _real(x: Any) -> Value:
    """The tensor whose shape stands for a complex one."""
    return x if isinstance(x, Value) else x.real


@lowers("Shape")
def shape(op: OpContext, x: Any) -> Value:
    """Sizes of all axes."""
    return op.cast(op.shape_of(_real(x)), op.output_dtype())


@lowers("ShapeN")
def shape_n(op: OpContext, *xs: Any) -> list[Value]:
    """Sizes of all axes of each input."""
    return [op.cast(op.shape_of(_real(x)), op.output_dtype()) for x in xs]


@lowers("Reshape", complex_parts=True)
def reshape(op: OpContext, x: Value, shape: Value) -> Value:
    """``x`` with another shape. In TensorFlow a 0 is a size, in ONNX it copies one."""
    allow_zero = shape.sizes is None or any(isinstance(size, int) and size == 0 for size in shape.sizes)
    return op.Reshape(x, shape, allowzero=1 if allow_zero else None)


@lowers("Transpose", complex_parts=True)
def transpose(op: OpContext, x: Value, perm: Value) -> Value:
    """Axes in the order ``perm``, which must not depend on the data."""
    return op.transpose(x, op.constant_of(perm, "the permutation").tolist())


@lowers("Fill")
def fill(op: OpContext, sizes: Value, number: Value) -> Value:
    """A tensor of shape ``sizes`` that repeats ``number``."""
    return op.Expand(number, sizes)


@lowers("ZerosLike")
def zeros_like(op: OpContext, x: Value) -> Value:
    """Zeros in the shape of ``x``."""
    return op.full_like(x, 0)


@lowers("OnesLike")
def ones_like(op: OpContext, x: Value) -> Value:
    """Ones in the shape of ``x``."""
    return op.full_like(x, 1)


@lowers("Size")
def size(op: OpContext, x: Any) -> Value:
    """Number of elements."""
    return op.cast(op.Size(_real(x)), op.output_dtype())


@lowers("Range")
def range_(op: OpContext, start: Value, limit: Value, delta: Value) -> Value:
    """``start, start + delta, ...`` up to but without ``limit``."""
    return op.Range(start, limit, delta)


@lowers("Tile", complex_parts=True)
def tile(op: OpContext, x: Value, multiples: Value) -> Value:
    """``x`` repeated ``multiples`` times along each axis."""
    return op.Tile(x, multiples)
