"""Rounding, division with remainder, and neighbouring floats."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.registry import lowers


@lowers("Floor")
def floor(op: OpContext, x: Value) -> Value:
    """The largest integer not above ``x``."""
    return op.Floor(x)


@lowers("Ceil")
def ceil(op: OpContext, x: Value) -> Value:
    """The smallest integer not below ``x``."""
    return op.Ceil(x)


@lowers("Round", "Rint")
def round_(op: OpContext, x: Value) -> Value:
    """The nearest integer, the even one of two."""
    if x.dtype.kind != "f":
        raise op.unsupported(
            "TensorFlow's kernel returns wrong values for integers; cast to float first, or remove the rounding"
        )
    return op.Round(x)


@lowers("FloorDiv")
def floor_div(op: OpContext, x: Value, y: Value) -> Value:
    """``floor(x / y)``, also of integers of either sign."""
    if x.dtype.kind == "f":
        return op.Floor(x / y)
    if x.sizes is not None and y.sizes is not None and (x.const is None or y.const is None):
        return op.Div(x - op.Mod(x, y), y)  # sizes are far from the ends of the range, where this would overflow
    quotient = op.Div(x, y)
    if x.dtype.kind == "u":
        return quotient
    remainder = x - quotient * y
    below = op.Xor(remainder < 0, y < 0) & ~remainder.equals(0)
    return quotient - op.cast(below, x.dtype)


@lowers("TruncateDiv")
def truncate_div(op: OpContext, x: Value, y: Value) -> Value:
    """``x / y`` towards zero."""
    quotient = x / y
    return op.Sign(quotient) * op.Floor(op.Abs(quotient)) if x.dtype.kind == "f" else quotient


@lowers("FloorMod")
def floor_mod(op: OpContext, x: Value, y: Value) -> Value:
    """The remainder with the sign of ``y``: ``x - y floor(x / y)``, exactly."""
    if x.dtype.kind != "f":
        return op.Mod(x, y)
    remainder = op.Mod(x, y, fmod=1)
    other_sign = op.Xor(remainder < 0, y < 0) & ~remainder.equals(0)
    return op.where(other_sign, remainder + y, remainder)


@lowers("Mod", "TruncateMod")
def truncate_mod(op: OpContext, x: Value, y: Value) -> Value:
    """The remainder with the sign of ``x``, as ``%`` and ``fmod`` in C."""
    return op.Mod(x, y, fmod=1)


@lowers("NextAfter")
def next_after(op: OpContext, x: Value, y: Value) -> Value:
    """The float next to ``x`` in the direction of ``y``; ``y`` where they are equal.

    Rump, Zimmermann, Boldo, Melquiond (2009): the neighbours of ``x`` are ``x +- max(phi |x|, tiny)`` rounded, with
    ``phi = u (1 + 2u)`` and ``u`` half the spacing at 1; below the normal range the spacing is ``tiny``.
    """
    info = np.finfo(x.dtype)
    unit, tiny = float(info.eps) / 2, op.const(info.smallest_subnormal, x.dtype)
    size = op.Abs(x)
    step = op.Where(size < float(info.tiny) * 4, tiny, size * (unit * (1 + 2 * unit)))
    finite = op.Min(size, op.const(info.max, x.dtype)) * op.Sign(x)
    moved = op.Where(y > x, x + step, x - step)
    moved = op.Where(op.IsInf(x), finite, moved)
    return op.Where(x.equals(y), y, moved)
