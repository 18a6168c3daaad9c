"""Real elementary functions that ONNX lacks, or ONNX Runtime for float64, from operators that it has in both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """``c0 x**n + ... + cn`` by Horner's rule."""
    total = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        total = total * x + coefficient
    return total


def rational(x: Value, numerator: Sequence[float], denominator: Sequence[float]) -> Value:
    """The quotient of two polynomials."""
    return polynomial(x, numerator) / polynomial(x, denominator)


def piecewise(op: OpContext, x: Value, pieces: Sequence[tuple[float, Value]], otherwise: Value) -> Value:
    """The first value whose bound is above ``x``, else ``otherwise``; NaN takes ``otherwise``."""
    for bound, value in reversed(pieces):
        otherwise = op.Where(x < bound, value, otherwise)
    return otherwise


def in_float64(op: OpContext, function: Callable[..., Value], *xs: Value) -> Value:
    """``function`` of the operands as float64, in the dtype of the first: rare functions need one formula only."""
    return op.cast(function(op, *[op.cast(x, np.float64) for x in xs]), xs[0].dtype)


def zero_where(op: OpContext, zero: Any, x: Any) -> Any:
    """0 where ``zero`` is 0, else ``x``; both real or both complex."""
    if isinstance(x, ComplexValue):
        condition = zero.real.equals(0) & zero.imag.equals(0)
        return each(lambda part: op.where(condition, op.const(0, part.dtype), part), x)
    return op.where(zero.equals(0), op.const(0, x.dtype), x)


def infinite(op: OpContext, x: Value, condition: Value, sign: int = 1) -> Value:
    """``x``, and infinity where ``condition`` holds."""
    return op.where(condition, op.const(sign * math.inf, x.dtype), x)


def undefined(op: OpContext, x: Value, condition: Value) -> Value:
    """``x``, and NaN where ``condition`` holds."""
    return op.where(condition, op.const(math.nan, x.dtype), x)


def expm1(op: OpContext, x: Value) -> Value:
    """``exp(x) - 1 = tanh(x/2) (exp(x) + 1)``, which loses no digits near 0."""
    return op.Tanh(x * 0.5) * (op.Exp(x) + 1)


def log1p(op: OpContext, x: Value) -> Value:
    """``log(1 + x)``, plus what the sum ``1 + x`` rounded away: that matters for small ``x`` only."""
    small = op.Clip(x, op.const(-0.5, x.dtype), op.const(1, x.dtype))
    total = small + 1
    return op.Log(x + 1) + (small - (total - 1)) / total


def sigmoid(op: OpContext, x: Value, exact: bool = False) -> Value:
    """``1 / (1 + exp(-x))``. The operator of that name is three times as fast for float32, but 0 below -18."""
    return op.Sigmoid(x) if x.dtype == np.float32 and not exact else 1.0 / (op.Exp(-x) + 1)


def softplus(op: OpContext, x: Value) -> Value:
    """``log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))``.

    The operator of that name is six times slower for float32, and 0 below -37 for float64.
    """
    small = op.Exp(-op.Abs(x))
    total = small + 1
    return op.Relu(x) + (op.Log(total) + (small - (total - 1)) / total)


def log_softmax(op: OpContext, x: Value, axis: int) -> Value:
    """``x - log(sum(exp(x)))`` along ``axis``, NaN where an element is: ONNX Runtime's double kernel gives numbers."""
    if x.dtype != np.float64:
        return op.LogSoftmax(x, axis=axis)
    below = x - op.ReduceMax(x, [axis], keepdims=1)
    return below - op.Log(op.ReduceSum(op.Exp(below), [axis], keepdims=1))


def tan(op: OpContext, x: Value) -> Value:
    """``sin(x) / cos(x)``."""
    return op.Tan(x) if x.dtype == np.float32 else op.Sin(x) / op.Cos(x)


def cosh(op: OpContext, x: Value) -> Value:
    """``(exp(x) + exp(-x)) / 2`` with ``exp(x) = exp(x/2)**2``, so that it overflows only where ``cosh`` does."""
    if x.dtype == np.float32:
        return op.Cosh(x)
    root = op.Exp(op.Abs(x) * 0.5)
    return root * 0.5 * root + 0.5 / root / root


def sinh(op: OpContext, x: Value) -> Value:
    """``tanh(x) cosh(x)``, which loses no digits near 0."""
    return op.Sinh(x) if x.dtype == np.float32 else op.Tanh(x) * cosh(op, x)


def asinh(op: OpContext, x: Value) -> Value:
    """``sign(x) log1p(a + a**2 / (1 + sqrt(1 + a**2)))``, ``a = |x|``."""
    if x.dtype == np.float32:
        return op.Asinh(x)
    a = op.Abs(x)
    bounded = op.Min(a, op.const(1e150, x.dtype))
    return op.Sign(x) * log1p(op, a + a * (bounded / (1 + op.Sqrt(1 + bounded * bounded))))


def acosh(op: OpContext, x: Value) -> Value:
    """``log1p(t + sqrt(t (t + 2)))``, ``t = x - 1``; NaN below 1."""
    if x.dtype == np.float32:
        return op.Acosh(x)
    t = x - 1
    return log1p(op, t + op.Sqrt(t) * op.Sqrt(t + 2))


def atanh(op: OpContext, x: Value) -> Value:
    """``sign(x) log1p(2a / (1 - a)) / 2``, ``a = |x|``; NaN beyond 1."""
    if x.dtype == np.float32:
        return op.Atanh(x)
    a = op.Abs(x)
    return op.Sign(x) * 0.5 * log1p(op, 2 * a / (1 - a))


_ATAN_P = (
    -8.750608600031904122785e-1,
    -1.615753718733365076637e1,
    -7.500855792314704667340e1,
    -1.228866684490136173410e2,
    -6.485021904942025371773e1,
)
_ATAN_Q = (
    1.0,
    2.485846490142306297962e1,
    1.650270098316988542046e2,
    4.328810604912902668951e2,
    4.853903996359136964868e2,
    1.945506571482613964425e2,
)


def _atan_reduced(op: OpContext, x: Value) -> Value:
    """Cephes: ``atan(x) = x + x z P(z) / Q(z)``, ``z = x**2``, for ``|x| <= 0.66``."""
    z = x * x
    return x + x * (z * polynomial(z, _ATAN_P) / polynomial(z, _ATAN_Q))


def atan(op: OpContext, x: Value) -> Value:
    """``atan(a) = pi/4 + atan((a - 1) / (a + 1))`` above 0.66 and ``pi/2 - atan(1/a)`` above 2.4, ``a = |x|``."""
    if x.dtype == np.float32:
        return op.Atan(x)
    a = op.Abs(x)
    middle, large = a > 0.66, a > 2.414213562373095
    reduced = op.Where(large, -1.0 / a, op.Where(middle, (a - 1) / (a + 1), a))
    offset = (op.cast(middle, x.dtype) + op.cast(large, x.dtype)) * (math.pi / 4)
    return op.Sign(x) * (offset + _atan_reduced(op, reduced))


def asin(op: OpContext, x: Value) -> Value:
    """``2 atan(x / (1 + sqrt(1 - x**2)))``; NaN beyond 1."""
    return op.Asin(x) if x.dtype == np.float32 else 2 * atan(op, x / (1 + op.Sqrt((1 - x) * (1 + x))))


def acos(op: OpContext, x: Value) -> Value:
    """``2 atan(sqrt((1 - x) / (1 + x)))``; NaN beyond 1."""
    return op.Acos(x) if x.dtype == np.float32 else 2 * atan(op, op.Sqrt((1 - x) / (1 + x)))


def sign_bit(x: Value) -> Value:
    """Whether the sign bit of ``x`` is set, also that of ``-0.0``."""
    return (x < 0) | (1.0 / x < 0)


def atan2(op: OpContext, y: Value, x: Value) -> Value:
    """The angle of the point (x, y) in (-pi, pi], with the signs of zeros as in C; (0, 0) and infinities too."""
    largest = op.const(np.finfo(x.dtype).max, x.dtype)
    a, b = op.Min(op.Abs(x), largest), op.Min(op.Abs(y), largest)
    low, high = op.Min(a, b), op.Max(a, b)
    ratio = low / (high + op.cast(high.equals(0), x.dtype))
    angle = atan(op, ratio)
    angle = op.Where(b > a, math.pi / 2 - angle, angle)
    angle = op.Where(sign_bit(x), math.pi - angle, angle)
    return op.Where(sign_bit(y), -angle, angle)


def hypot(op: OpContext, x: Value, y: Value) -> Value:
    """``sqrt(x**2 + y**2)`` without overflow: the larger times ``sqrt(1 + ratio**2)``."""
    a, b = op.Abs(x), op.Abs(y)
    high = op.Max(a, b)
    ratio = op.Min(a, b) / (high + op.cast(high.equals(0), x.dtype))
    return high * op.Sqrt(1 + ratio * ratio)
