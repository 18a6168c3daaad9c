"""Comparisons, logic and selection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, real_of
from pullback_export.lowering.numerics import complex_elementary
from pullback_export.lowering.registry import lowers


def _equal(x: Any, y: Any) -> Value:
    if isinstance(x, ComplexValue):
        return x.real.equals(y.real) & x.imag.equals(y.imag)
    result: Value = x.equals(y)
    return result


@lowers("Equal")
def equal(op: OpContext, x: Any, y: Any) -> Value:
    """``x == y``; NaN equals nothing."""
    return _equal(x, y)


@lowers("NotEqual")
def not_equal(op: OpContext, x: Any, y: Any) -> Value:
    """``not x == y``."""
    return ~_equal(x, y)


@lowers("Less")
def less(op: OpContext, x: Value, y: Value) -> Value:
    """``x < y``."""
    return x < y


@lowers("LessEqual")
def less_equal(op: OpContext, x: Value, y: Value) -> Value:
    """``x <= y``."""
    return x <= y


@lowers("Greater")
def greater(op: OpContext, x: Value, y: Value) -> Value:
    """``x > y``."""
    return x > y


@lowers("GreaterEqual")
def greater_equal(op: OpContext, x: Value, y: Value) -> Value:
    """``x >= y``."""
    return x >= y


@lowers("ApproximateEqual")
def approximate_equal(op: OpContext, x: Value, y: Value) -> Value:
    """``|x - y| < tolerance``."""
    return op.Abs(x - y) < float(op.attr("tolerance"))


@lowers("LogicalAnd")
def logical_and(op: OpContext, x: Value, y: Value) -> Value:
    """``x and y``."""
    return x & y


@lowers("LogicalOr")
def logical_or(op: OpContext, x: Value, y: Value) -> Value:
    """``x or y``."""
    return x | y


@lowers("LogicalNot")
def logical_not(op: OpContext, x: Value) -> Value:
    """``not x``."""
    return ~x


@lowers("IsNan")
def is_nan(op: OpContext, x: Value) -> Value:
    """Whether ``x`` is NaN."""
    return op.IsNaN(x)


@lowers("IsInf")
def is_inf(op: OpContext, x: Value) -> Value:
    """Whether ``x`` is infinite, of either sign."""
    return op.IsInf(x)


@lowers("IsFinite")
def is_finite(op: OpContext, x: Value) -> Value:
    """Whether ``x`` is neither infinite nor NaN, for both of which ``x - x`` is NaN."""
    return (x - x).equals(0)


@lowers("SelectV2")
def select(op: OpContext, condition: Value, x: Any, y: Any) -> Any:
    """``x`` where ``condition`` holds, else ``y``, broadcast."""
    if isinstance(x, ComplexValue):
        return complex_elementary.where(op, condition, x, y)
    return op.where(condition, x, y)


@lowers("Select")
def select_rows(op: OpContext, condition: Value, x: Any, y: Any) -> Any:
    """``x`` where ``condition`` holds, else ``y``; a vector of conditions chooses whole rows."""
    rank = real_of(x).rank
    if condition.rank == 1 and rank > 1:
        condition = op.reshape(condition, [condition.dims[0], *[1] * (rank - 1)])
    return select(op, condition, x, y)


@lowers("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(op: OpContext, x: Value, y: Value) -> Value:
    """The operation on each bit."""
    return {"BitwiseAnd": op.BitwiseAnd, "BitwiseOr": op.BitwiseOr, "BitwiseXor": op.BitwiseXor}[op.type](x, y)


@lowers("Invert")
def invert(op: OpContext, x: Value) -> Value:
    """Each bit flipped."""
    return op.BitwiseNot(x)


def _unsigned(op: OpContext, function: Callable[..., Value], *xs: Value) -> Value:
    """``function`` of the same bits as unsigned integers, which is what ONNX shifts."""
    dtype = xs[0].dtype
    return op.cast(function(*[op.cast(x, f"uint{8 * dtype.itemsize}") for x in xs]), dtype)


def _places(op: OpContext, y: Value) -> Value:
    """A shift distance, kept from 0 to the width less 1 as TensorFlow does."""
    wide = np.dtype(np.int64)
    last = op.const(8 * y.dtype.itemsize - 1, wide)
    return op.cast(op.Min(op.Max(op.cast(y, wide), op.const(0, wide)), last), y.dtype)


@lowers("LeftShift")
def left_shift(op: OpContext, x: Value, y: Value) -> Value:
    """``x << y``."""
    return _unsigned(op, lambda a, b: op.BitShift(a, b, direction="LEFT"), x, _places(op, y))


@lowers("RightShift")
def right_shift(op: OpContext, x: Value, y: Value) -> Value:
    """``x >> y``; the sign bit fills up: the bits of a negative number are flipped before and after."""

    def shift(value: Value) -> Value:
        return _unsigned(op, lambda a, b: op.BitShift(a, b, direction="RIGHT"), value, _places(op, y))

    if x.dtype.kind == "u":
        return shift(x)
    signs = -op.cast(x < 0, x.dtype)
    return op.BitwiseXor(shift(op.BitwiseXor(x, signs)), signs)


@lowers("PopulationCount")
def population_count(op: OpContext, x: Value) -> Value:
    """The number of bits that are set, counted in pairs, fours and bytes of 64 bits."""
    unsigned = op.cast(op.cast(x, f"uint{8 * x.dtype.itemsize}"), np.uint64)

    def right(value: Value, places: int) -> Value:
        return op.BitShift(value, op.const(places, np.uint64), direction="RIGHT")

    def bits(value: Value, mask: int) -> Value:
        return op.BitwiseAnd(value, op.const(mask, np.uint64))

    pairs = unsigned - bits(right(unsigned, 1), 0x5555555555555555)
    fours = bits(pairs, 0x3333333333333333) + bits(right(pairs, 2), 0x3333333333333333)
    counts = bits(fours + right(fours, 4), 0x0F0F0F0F0F0F0F0F)
    return op.cast(right(counts * op.const(0x0101010101010101, np.uint64), 56), np.uint8)
