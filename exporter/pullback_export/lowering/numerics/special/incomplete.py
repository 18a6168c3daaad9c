"""Incomplete gamma and beta integrals (Cephes, as in TensorFlow): loops that end when every element converged."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import log1p, undefined
from pullback_export.lowering.numerics.matrices.batches import repeat_while
from pullback_export.lowering.numerics.special.gamma import digamma, lgamma

EPSILON = float(np.finfo(np.float64).eps)
_BIG = 1 / float(np.finfo(np.float64).eps)
# Below it Eigen's ``main_igamma_term`` is 0: TensorFlow's kernels flush numbers that are not normal.
_SMALLEST_EXPONENT = float(np.log(np.finfo(np.float64).tiny))


def _any(op: OpContext, condition: Value) -> Value:
    """Whether any element holds; false for none."""
    flat = op.Reshape(op.cast(condition, np.int32), [-1])
    return op.cast(op.ReduceMax(op.Concat(flat, op.const([0], np.int32), axis=0), keepdims=0), bool)


def _like(op: OpContext, shape: Value, number: float) -> Value:
    """``number`` in the shape of ``shape``, as loop states need it."""
    return shape * 0 + number


def _series(op: OpContext, a: Value, x: Value) -> tuple[Value, Value]:
    """``1 + x/(a+1) + x**2/((a+1)(a+2)) + ...`` and its derivative with respect to ``a``."""

    def step(op: OpContext, k: Any, state: list[Value]) -> tuple[list[Value], list[Value]]:
        r, term, total, dterm, dtotal = state
        r = r + 1
        ratio = x / r
        dterm = ratio * dterm - ratio / r * term
        term = term * ratio
        total, dtotal = total + term, dtotal + dterm
        going = (term > EPSILON * total) | (op.Abs(dterm) > EPSILON * op.Abs(dtotal))
        return [r, term, total, dterm, dtotal], [_any(op, going)]

    one, zero = _like(op, a + x, 1), _like(op, a + x, 0)
    _, _, total, _, dtotal = repeat_while(op, 2000, [a + zero, one, one, zero, zero], step)
    return total, dtotal


def _fraction(op: OpContext, a: Value, x: Value) -> tuple[Value, Value]:
    """Legendre's continued fraction ``1/(x+1-a- 1(1-a)/(x+3-a- ...))`` and its derivative with respect to ``a``."""

    def step(op: OpContext, k: Any, state: list[Value]) -> tuple[list[Value], list[Value]]:
        c, p2, p1, q2, q1, dp2, dp1, dq2, dq1, value, dvalue = state
        c = c + 1
        y, z = c + 1 - a, x + 2 - a + 2 * c
        yc = y * c
        p, q = p1 * z - p2 * yc, q1 * z - q2 * yc
        dp = dp1 * z - p1 - dp2 * yc + p2 * c
        dq = dq1 * z - q1 - dq2 * yc + q2 * c
        ratio = p / q
        dratio = (dp - ratio * dq) / q
        going = (op.Abs(ratio - value) > EPSILON * op.Abs(ratio)) | (op.Abs(dratio - dvalue) > EPSILON)
        scale = op.Where(op.Abs(p) > _BIG, op.const(1 / _BIG), op.const(1.0))
        scaled = [part * scale for part in (p1, p, q1, q, dp1, dp, dq1, dq)]
        return [c, *scaled, ratio, dratio], [_any(op, going)]

    zero = _like(op, a + x, 0)
    one = zero + 1
    q1 = (x + 2 - a) * x
    value = (x + 1) / q1
    start = [zero, one, x + 1 + zero, x + zero, q1, zero, zero, zero, zero - x, value, value * x / q1]
    *_, total, dtotal = repeat_while(op, 2000, start, step)
    return total, dtotal


def _gamma_parts(op: OpContext, a: Value, x: Value) -> tuple[Value, Value, Value, Value]:
    """Whether to use the fraction, ``x**a exp(-x) / gamma(a)``, and the sum (``/ a``) or fraction with its derivative.

    Each element that takes the other way runs on harmless operands.
    """
    upper = (x > 1) & (x > a)
    one = op.const(1.0)
    total, dtotal = _series(op, op.Where(upper, one, a), op.Where(upper, one, x))
    value, dvalue = _fraction(op, op.Where(upper, a, one), op.Where(upper, op.Min(x, op.const(1e300)), op.const(2.0)))
    exponent = a * op.Log(x) - x - lgamma(op, a)
    weight = op.Where(exponent > _SMALLEST_EXPONENT, op.Exp(exponent), op.const(0.0))
    return upper, weight, op.Where(upper, value, total / a), op.Where(upper, dvalue, dtotal / a)


def _outside(a: Value, x: Value) -> Value:
    """Where the integrals are not defined, NaN included."""
    return ~((x >= 0) & (a > 0))


def igamma(op: OpContext, a: Value, x: Value) -> Value:
    """``integral of t**(a-1) exp(-t) from 0 to x / gamma(a)``."""
    upper, weight, value, _ = _gamma_parts(op, a, x)
    part = op.Where(weight.equals(0), weight, weight * value)
    result = op.Where(upper, 1 - part, part)
    return undefined(op, op.Where(x.equals(0), op.const(0.0), result), _outside(a, x))


def igammac(op: OpContext, a: Value, x: Value) -> Value:
    """``1 - igamma(a, x)``."""
    upper, weight, value, _ = _gamma_parts(op, a, x)
    part = op.Where(weight.equals(0), weight, weight * value)
    result = op.Where(upper, part, 1 - part)
    return undefined(op, op.Where(x.equals(0), op.const(1.0), result), _outside(a, x))


def igamma_grad_a(op: OpContext, a: Value, x: Value) -> Value:
    """The derivative of ``igamma`` with respect to ``a``."""
    upper, weight, value, dvalue = _gamma_parts(op, a, x)
    dlog = op.Log(x) - digamma(op, op.Where(upper, a, a + 1))
    part = op.Where(weight.equals(0), weight, weight * (value * dlog + dvalue))
    result = op.Where(upper, -part, part)
    return undefined(op, op.Where(x.equals(0), op.const(0.0), result), _outside(a, x))


def gamma_sample_grad(op: OpContext, a: Value, x: Value) -> Value:
    """``-(d igamma / da) / (d igamma / dx)``; 0 where the density underflows, as Eigen's kernel has it."""
    upper, weight, value, dvalue = _gamma_parts(op, a, x)
    dlog = op.Log(x) - digamma(op, op.Where(upper, a, a + 1))
    part = op.Where(weight.equals(0), weight, (value * dlog + dvalue) * x)
    result = op.Where(upper, part, -part)
    return undefined(op, op.Where(x.equals(0), op.const(0.0), result), _outside(a, x))


def _beta_fraction(op: OpContext, a: Value, b: Value, x: Value) -> Value:
    """The continued fraction of the incomplete beta integral, by Lentz's method, for ``x < (a + 1) / (a + b + 2)``."""
    tiny = 1e-300

    def guarded(op: OpContext, value: Value) -> Value:
        return op.Where(op.Abs(value) < tiny, op.const(tiny), value)

    def half(op: OpContext, d: Value, c: Value, numerator: Value) -> tuple[Value, Value, Value]:
        d = 1.0 / guarded(op, 1 + numerator * d)
        c = guarded(op, 1 + numerator / c)
        return d, c, d * c

    def step(op: OpContext, k: Any, state: list[Value]) -> tuple[list[Value], list[Value]]:
        m, d, c, value = state
        m = m + 1
        d, c, even = half(op, d, c, m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)))
        d, c, odd = half(op, d, c, -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)))
        return [m, d, c, value * even * odd], [_any(op, op.Abs(even * odd - 1) > 2 * EPSILON)]

    zero = _like(op, a + b + x, 0)
    d = 1.0 / guarded(op, 1 - (a + b) * x / (a + 1))
    *_, value = repeat_while(op, 2000, [zero, d + zero, zero + 1, d + zero], step)
    return cast(Value, value)


def betainc(op: OpContext, a: Value, b: Value, x: Value) -> Value:
    """On the far side of the mean by ``1 - betainc(b, a, 1 - x)``."""
    swapped = x > (a + 1) / (a + b + 2)
    inside = (x > 0) & (x < 1) & (a > 0) & (b > 0)
    near = op.Where(inside, op.Where(swapped, 1 - x, x), op.const(0.5))
    p = op.Where(inside, op.Where(swapped, b, a), op.const(1.0))
    q = op.Where(inside, op.Where(swapped, a, b), op.const(1.0))
    logarithm = p * op.Log(near) + q * log1p(op, -near) + lgamma(op, p + q) - lgamma(op, p) - lgamma(op, q)
    part = op.Exp(logarithm) * _beta_fraction(op, p, q, near) / p
    result = op.Where(swapped, 1 - part, part)
    result = op.Where(x.equals(0), op.const(0.0), op.Where(x.equals(1), op.const(1.0), result))
    return undefined(op, result, ~((x >= 0) & (x <= 1) & (a > 0) & (b > 0)))
