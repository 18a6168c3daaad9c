"""Operators on bits. Those of a float come by arithmetic: ONNX has no operator for them before opset 26."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import sign_bit
from pullback_export.lowering.registry import lowers


def _magnitude_bits(op: OpContext, x: Value) -> Value:
    """``(exponent - lowest) * 2**m + |x| * 2**(m - exponent)`` with ``m`` bits of mantissa, as int64; NaN quiet."""
    info = np.finfo(x.dtype)
    top = op.const(info.max, x.dtype)
    a = op.cast(op.Min(op.Abs(x), top), np.float64)
    guess = op.Floor(op.Log(a) * (1 / math.log(2)))
    two = op.const(2.0)
    up = op.cast(a >= op.Pow(two, guess + 1), np.float64)
    down = op.cast(a < op.Pow(two, guess), np.float64)
    exponent = op.Max(guess + up - down, op.const(float(info.minexp)))
    mantissa = a * op.Pow(two, -exponent) * 2.0**info.nmant
    bits = op.cast(exponent - info.minexp, np.int64) * (1 << info.nmant) + op.cast(mantissa, np.int64)
    infinity = (info.maxexp - info.minexp + 1) << info.nmant
    bits = op.Where(op.IsInf(x), op.const(infinity, np.int64), bits)
    return op.Where(op.IsNaN(x), op.const(infinity + (1 << info.nmant >> 1), np.int64), bits)


@lowers("Bitcast")
def bitcast(op: OpContext, x: Any) -> Any:
    """The same bits as another dtype: of a float as an integer of its width, or where that changes nothing."""
    if op.tf_op.inputs[0].dtype == op.tf_op.outputs[0].dtype:
        return x
    dtype = op.output_dtype()
    if not isinstance(x, Value) or dtype.itemsize != x.dtype.itemsize or dtype.kind not in "iu":
        raise op.unsupported(f"the bits of {op.tf_op.inputs[0].dtype.name} as {op.tf_op.outputs[0].dtype.name}")
    if x.dtype.kind in "iu":
        return op.cast(x, dtype)
    lowest = op.const(-(1 << 63 if x.dtype == np.float64 else 1 << 31), np.int64)
    bits = _magnitude_bits(op, x)
    return op.cast(op.Where(sign_bit(x), bits + lowest, bits), dtype)


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
