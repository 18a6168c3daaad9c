"""Singular values and vectors by one-sided Jacobi rotations, which find small values to full relative accuracy.

Singular vectors are determined up to a sign (complex: a phase) that u and v share; TensorFlow's choice differs.
Functions that do not depend on it, which are those that have a meaning, agree with their derivatives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of
from pullback_export.lowering.numerics.matrices.batches import (
    absolute,
    adjoint,
    beside,
    conj,
    identity,
    quotient,
    repeat,
    repeat_while,
    squared,
    times,
    transpose_matrix,
    unsqueeze,
    where,
)
from pullback_export.lowering.numerics.matrices.factorization import qr

SWEEPS = 40


def singular_values(op: OpContext, a: Any) -> Value:
    """Descending singular values ``(batch, min(m, n))`` of matrices ``(batch, m, n)``."""
    m, n = _size(a)
    work = a if m >= n else adjoint(op, a)
    size = min(m, n)
    return _sorted(op, _norms(op, _orthogonalized(op, work, max(m, n))), size)[0]


def svd(op: OpContext, a: Any, full: bool) -> tuple[Value, Any, Any]:
    """``s, u, v`` with ``a = u diag(s) v^H``, s descending; ``full``: u and v are square."""
    m, n = _size(a)
    if m < n:
        s, v, u = svd(op, adjoint(op, a), full)
        return s, u, v
    both = _orthogonalized(op, _above(op, a, _identities(op, a)), m)
    work, turned = _slice(op, both, 0, m, 1), _slice(op, both, m, m + n, 1)
    s, order = _sorted(op, _norms(op, work), n)
    work, v = (_take_columns(op, item, order) for item in (work, turned))
    q, r = qr(op, work, full)
    diagonal = each(lambda part: op.ReduceSum(part * identity(op, n, s.dtype), [1], keepdims=0), _slice(op, r, 0, n, 1))
    length = absolute(op, diagonal)
    nothing = length.equals(0)
    one = op.const(1, s.dtype)
    phase = quotient(op, diagonal, op.Where(nothing, one, length))
    added = op.cast(nothing, s.dtype)
    phase = ComplexValue(phase.real + added, phase.imag) if isinstance(phase, ComplexValue) else phase + added
    if m == n or not full:
        return s, q * unsqueeze(op, phase, 1), v
    unchanged = op.full([s.dims[0], m - n], 1, s.dtype)
    rest = ComplexValue(unchanged, op.full_like(unchanged, 0)) if isinstance(phase, ComplexValue) else unchanged
    return s, q * beside(op, unsqueeze(op, phase, 1), unsqueeze(op, rest, 1)), v


def _size(a: Any) -> tuple[int, int]:
    """Rows and columns, which must be known."""
    _, m, n = real_of(a).dims
    assert isinstance(m, int)
    assert isinstance(n, int)
    return m, n


def _identities(op: OpContext, a: Any) -> Any:
    batch, _, n = real_of(a).dims
    eye = op.full([batch, n, n], 0, real_of(a).dtype) + op.Unsqueeze(identity(op, n, real_of(a).dtype), [0])
    return ComplexValue(eye, op.full_like(eye, 0)) if isinstance(a, ComplexValue) else eye


def _above(op: OpContext, a: Any, b: Any) -> Any:
    if isinstance(a, ComplexValue):
        return ComplexValue(op.Concat(a.real, b.real, axis=1), op.Concat(a.imag, b.imag, axis=1))
    return op.Concat(a, b, axis=1)


def _slice(op: OpContext, x: Any, start: int, stop: int, axis: int) -> Any:
    return each(lambda part: op.Slice(part, [start], [stop], [axis]), x)


def _norms(op: OpContext, x: Any) -> Value:
    return op.Sqrt(op.ReduceSum(squared(op, x), [1], keepdims=0))


def _sorted(op: OpContext, norms: Value, count: int) -> tuple[Value, Value]:
    values, order = op.TopK(norms, [count], axis=1, largest=1, sorted=1, outputs=2)
    return values, order


def _take_columns(op: OpContext, x: Any, order: Value) -> Any:
    index = op.Unsqueeze(order, [2])
    rows = each(lambda part: op.GatherND(op.transpose(part, [0, 2, 1]), index, batch_dims=1), x)
    return transpose_matrix(op, rows)


def _orthogonalized(op: OpContext, x: Any, m: int) -> Any:
    """``x`` times a unitary matrix, such that the columns of its first ``m`` rows are orthogonal to each other."""
    n = real_of(x).dims[2]
    assert isinstance(n, int)
    if n == 1:
        return x
    even = n + n % 2
    padded = each(lambda part: op.Pad(part, [0, 0, 0, 0, 0, even - n]), x)
    result = repeat_while(op, SWEEPS, [padded], lambda op, k, state: _sweep(op, state[0], m))[0]
    return _slice(op, result, 0, n, 2) if even != n else result


def _sweep(op: OpContext, x: Any, m: int) -> tuple[list[Any], list[Any]]:
    """Every pair of columns once, half of all columns at a time (the rounds of a tournament)."""
    n = real_of(x).dims[2]
    assert isinstance(n, int)
    half = n // 2
    left, right = list(range(half)), list(range(half, n))
    order = np.array([left[0], *right[:1], *left[1:-1], *right[1:], left[-1]] if half > 1 else [0, 1])

    def play(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        x, worst = state
        a, b, off = _rotated(op, _slice(op, x, 0, half, 2), _slice(op, x, half, n, 2), m)
        joined = beside(op, a, b)
        return [each(lambda part: op.Gather(part, order, axis=2), joined), op.Max(worst, off)], []

    (x, worst), _ = repeat(op, n - 1, [x, op.const(0, real_of(x).dtype)], play)
    return [x], [worst > 0]


def _rotated(op: OpContext, a: Any, b: Any, m: int) -> tuple[Any, Any, Value]:
    """Pairs of columns turned until they are orthogonal, and whether (1 or 0) any pair was not so yet."""
    limits = np.finfo(real_of(a).dtype)
    top_a, top_b = (_slice(op, item, 0, m, 1) for item in (a, b))
    alpha, beta = (op.ReduceSum(squared(op, item), [1], keepdims=1) for item in (top_a, top_b))
    inner = each(lambda part: op.ReduceSum(part, [1], keepdims=1), conj(top_a) * top_b)
    gamma = absolute(op, inner)
    active = gamma > op.Sqrt(alpha) * op.Sqrt(beta) * float(limits.eps * max(4.0, math.sqrt(m))) + float(limits.tiny)
    one, zero = op.const(1, alpha.dtype), op.const(0, alpha.dtype)
    safe = op.Where(active, gamma, one)
    phase = quotient(op, inner, safe)
    zeta = (beta - alpha) / (2 * safe)
    tangent = 1 / (op.Abs(zeta) + op.Sqrt(1 + zeta * zeta))
    tangent = op.Where(active, op.Where(zeta < 0, -tangent, tangent), zero)
    cosine = 1 / op.Sqrt(1 + tangent * tangent)
    sine = tangent * cosine
    turned = b * where(op, active, conj(phase), one)
    off = op.cast(op.ReduceSum(op.cast(active, np.int64), keepdims=0) > 0, alpha.dtype)
    return times(a, cosine) - times(turned, sine), times(a, sine) + times(turned, cosine), off
