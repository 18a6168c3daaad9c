"""The logarithm of the gamma function, its derivatives and the Hurwitz zeta function, of float64 values."""

from __future__ import annotations

import math

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import infinite, polynomial, undefined

# Lanczos with g = 7.
_LANCZOS = np.array(
    [
        676.5203681218851,
        -1259.1392167224028,
        771.32342877765313,
        -176.61502916214059,
        12.507343278686905,
        -0.13857109526572012,
        9.9843695780195716e-6,
        1.5056327351493116e-7,
    ]
)
# B(2k) / 2k of the asymptotic series of the digamma function, highest order first.
_DIGAMMA = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
# (2j)! / B(2j) of the Euler-Maclaurin sum.
_ZETA = (
    12.0,
    -720.0,
    30240.0,
    -1209600.0,
    47900160.0,
    -1.8924375803183791606e9,
    7.47242496e10,
    -2.950130727918164224e12,
    1.1646782814350067249e14,
    -4.5979787224074726105e15,
    1.8152105401943546773e17,
    -7.1661652561756670113e18,
)
_LARGEST_SHIFT = 4096


def _to_nearest(op: OpContext, x: Value) -> Value:
    """``x`` less the nearest integer, so that ``sin(pi x)`` and ``tan(pi x)`` keep their digits."""
    return x - op.Round(x)


def lgamma(op: OpContext, x: Value) -> Value:
    """``log|gamma(x)|``; below 1/2 by ``gamma(x) gamma(1 - x) = pi / sin(pi x)``; infinite at 0, -1, -2, ..."""
    reflected = x < 0.5
    z = op.Where(reflected, 1 - x, x)
    series = op.ReduceSum(op.const(_LANCZOS) / (op.Unsqueeze(z, [-1]) + np.arange(8.0)), [-1], keepdims=0)
    result = (z - 0.5) * (op.Log(z + 6.5) - 1) - 7 + op.Log(math.sqrt(2 * math.pi) * (series + 0.99999999999980993))
    mirror = op.Log(math.pi / op.Abs(op.Sin(math.pi * _to_nearest(op, x)))) - result
    return infinite(op, op.Where(reflected, mirror, result), op.IsInf(x))


def digamma(op: OpContext, x: Value) -> Value:
    """The derivative of ``lgamma``: the asymptotic series 10 steps further up; reflected below 0, NaN at 0, -1, ..."""
    reflected = x <= 0
    z = op.Where(reflected, 1 - x, x)
    steps = op.ReduceSum(1.0 / (op.Unsqueeze(z, [-1]) + np.arange(10.0)), [-1], keepdims=0)
    s = z + 10
    inverse = 1.0 / (s * s)
    result = op.Log(s) - 0.5 / s - inverse * polynomial(inverse, _DIGAMMA) - steps
    angle = math.pi * _to_nearest(op, x)
    result = op.Where(reflected, result - math.pi * op.Cos(angle) / op.Sin(angle), result)
    return undefined(op, result, reflected & op.Floor(x).equals(x))


def zeta(op: OpContext, x: Value, q: Value) -> Value:
    """``sum of (q + k)**-x``: ten terms above 0 (and all below it), the rest by Euler and Maclaurin, as in Cephes.

    Infinite at ``x = 1`` and, for even ``x``, at ``q = 0, -1, ...``; NaN below ``x = 1``, and for ``q <= 0`` unless
    ``x`` is an integer and ``q`` is not.
    """
    negative = q <= 0
    shift = op.Where(negative & (q > -_LARGEST_SHIFT), op.Ceil(-q), op.const(0.0))
    longest = op.ReduceMax(op.Concat(op.Reshape(shift, [-1]), op.const([0.0]), axis=0), keepdims=0)
    steps = op.cast(op.Range(op.const(0, np.int64), op.cast(longest, np.int64) + 10, op.const(1, np.int64)), np.float64)
    terms = op.Pow(op.Unsqueeze(q, [-1]) + steps, op.Unsqueeze(-x, [-1]))
    counted = steps < op.Unsqueeze(shift, [-1]) + 10
    total = op.ReduceSum(op.Where(counted, terms, op.const(0.0)), [-1], keepdims=0)
    last = q + shift + 9
    b = op.Pow(last, -x)
    total = total + b * last / (x - 1) - 0.5 * b
    factor, power = x, b / last
    for j, denominator in enumerate(_ZETA):
        total = total + factor * power / denominator
        factor = factor * (x + (2 * j + 1)) * (x + (2 * j + 2))
        power = power / last / last
    total = op.Where(b.equals(0), op.ReduceSum(op.Where(counted, terms, op.const(0.0)), [-1], keepdims=0), total)
    pole = negative & op.Floor(q).equals(q)
    even = (x * 0.5).equals(op.Round(x * 0.5))
    total = undefined(op, total, (x < 1) | (negative & (pole | ~op.Floor(x).equals(x) | (q <= -_LARGEST_SHIFT))))
    return infinite(op, total, x.equals(1) | (pole & even & (x > 1)))


def polygamma(op: OpContext, n: Value, x: Value) -> Value:
    """``(-1)**(n+1) n! zeta(n + 1, x)``, the n-th derivative of ``digamma``; NaN unless ``n`` is 0, 1, 2, ..."""
    if n.fill is not None and n.fill > 0 and n.fill == int(n.fill):
        return zeta(op, n + 1, x) * (math.gamma(n.fill + 1) * (1 if n.fill % 2 else -1))
    odd = op.cast(_to_nearest(op, n * 0.5).equals(0), np.float64)
    result = (1 - 2 * odd) * op.Exp(lgamma(op, n + 1)) * zeta(op, n + 1, x)
    result = op.Where(n.equals(0), digamma(op, x), result)
    return undefined(op, result, (n < 0) | ~op.Floor(n).equals(n))
