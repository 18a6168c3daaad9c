"""Factorizations and solutions of batches of matrices ``(batch, n, n)``, real or complex, free n included.

Each is the textbook algorithm in steps over rows or columns, every step dense over the whole batch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import minimum
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of
from pullback_export.lowering.numerics.matrices.batches import (
    absolute,
    as_index,
    beside,
    column,
    conj,
    identity,
    indices,
    outer,
    quotient,
    repeat,
    scalar_size,
    squared,
    times,
    unsqueeze,
    where,
)


@dataclasses.dataclass(frozen=True)
class Elimination:
    """Gauss's elimination with row pivoting. ``order``: the row that was the k-th pivot, ``(batch, n)``."""

    reduced: Any
    order: Value
    pivots: Any
    factors: Any
    rows: Any


def eliminate(op: OpContext, a: Any, complete: bool) -> Elimination:
    """Clears column k below the k-th pivot, the entry of largest magnitude (the first of equals) among the rows that
    were no pivot yet; ``complete``: in all other rows (Gauss-Jordan). Rows stay where they are. The columns beyond
    the square part are carried along. A pivot of 0 clears nothing.
    """
    dims = real_of(a).dims
    n = dims[1]
    place = unsqueeze(op, indices(op, n), 0)

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        a, free = state
        col = column(op, a, k)
        best = op.ArgMax(op.Where(free > 0, absolute(op, col), -1), axis=1, keepdims=1)
        chosen = place.equals(best)
        pivot = each(lambda part: op.GatherND(part, best, batch_dims=1), col)
        pivot_row = each(lambda part: op.GatherND(part, best, batch_dims=1), a)
        singular = absolute(op, pivot).equals(0)
        safe = where(op, singular, op.const(1, free.dtype), pivot)
        factor = quotient(op, col, unsqueeze(op, safe, 1))
        after = op.Where(chosen, op.const(0, free.dtype), free)
        kept = 1 - op.cast(chosen, free.dtype) if complete else after
        factor = where(op, kept > 0, factor, op.const(0, free.dtype))
        return [a - outer(op, factor, pivot_row), after], [op.Squeeze(best, [1]), pivot, factor, pivot_row]

    free = op.full([dims[0], n], 1, real_of(a).dtype)
    (reduced, _), (order, pivots, factors, rows) = repeat(op, n, [a, free], step)
    return Elimination(
        reduced=reduced,
        order=op.transpose(order, [1, 0]),
        pivots=each(lambda part: op.transpose(part, [1, 0]), pivots),
        factors=each(lambda part: op.transpose(part, [1, 2, 0]), factors),
        rows=each(lambda part: op.transpose(part, [1, 0, 2]), rows),
    )


def take_rows(op: OpContext, a: Any, order: Value) -> Any:
    """``a[b, order[b, i]]``."""
    return each(lambda part: op.GatherND(part, op.Unsqueeze(order, [2]), batch_dims=1), a)


def solve(op: OpContext, a: Any, b: Any) -> Any:
    """``a**-1 b`` for square ``a`` and ``b`` of shape ``(batch, n, m)``. A singular matrix gives infinity or NaN."""
    done = eliminate(op, beside(op, a, b), complete=True)
    n = real_of(a).dims[2]
    right = each(lambda part: _from_column(op, part, n, real_of(b)), done.reduced)
    return quotient(op, take_rows(op, right, done.order), unsqueeze(op, done.pivots, 2))


def inverse(op: OpContext, a: Any) -> Any:
    """``a**-1``."""
    n = real_of(a).dims[1]
    eye = op.expand_to(op.Unsqueeze(identity(op, n, real_of(a).dtype), [0]), real_of(a))
    return solve(op, a, ComplexValue(eye, op.full_like(eye, 0)) if isinstance(a, ComplexValue) else eye)


def _from_column(op: OpContext, x: Value, start: Size, like: Value) -> Value:
    result = op.graph.emit("Slice", [x, op.sizes([start]), op.const([2**31 - 1]), op.const([2])])
    result.refine(like.shape)
    return result


def permutation_sign(op: OpContext, order: Value, dtype: Any) -> Value:
    """+1 or -1 for an even or odd number of inversions."""
    later = op.Unsqueeze(order, [1])
    inverted = op.cast(later < op.Unsqueeze(order, [2]), dtype)
    n = order.dims[1]
    index = indices(op, n)
    upper = op.cast(op.Unsqueeze(index, [0]) > op.Unsqueeze(index, [1]), dtype)
    count = op.ReduceSum(inverted * upper, [1, 2], keepdims=0)
    return 1 - 2 * op.Mod(count, op.const(2, dtype), fmod=1)


def cholesky(op: OpContext, a: Any) -> Any:
    """Lower ``l`` with ``l l^H = a``. Only the lower triangle of ``a`` is read; NaN where ``a`` is not positive."""
    n = real_of(a).dims[1]
    place = indices(op, n)

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        (a,) = state
        below = unsqueeze(op, op.cast(place >= k, real_of(a).dtype), 0)
        col = times(column(op, a, k), below)
        corner = each(lambda part: op.Gather(part, as_index(op, k), axis=1), real_of(col))
        col = each(lambda part: part / unsqueeze(op, op.Sqrt(corner), 1), col)
        return [a - outer(op, col, conj(col))], [col]

    _, (columns,) = repeat(op, n, [a], step)
    return each(lambda part: op.transpose(part, [1, 2, 0]), columns)


def triangular_inverse(op: OpContext, t: Any, lower: bool) -> Any:
    """Inverse of the lower or upper triangle of ``(..., n, n)``; the other one is not read.

    Blocks on the diagonal are inverted in pairs, ``[[A, 0], [C, B]]**-1 = [[A', 0], [-B' C A', B']]``, of size 1, 2,
    4, ...: two products for each doubling. A zero on the diagonal gives infinity or NaN.
    """
    n = real_of(t).dims[-1]
    dtype = real_of(t).dtype
    eye = identity(op, n, dtype)
    diagonal = each(lambda part: op.ReduceSum(part * eye, [-1], keepdims=1), t)
    start = quotient(op, ComplexValue(eye, op.full_like(eye, 0)) if isinstance(t, ComplexValue) else eye, diagonal)
    index = indices(op, n)
    rows, columns = op.Unsqueeze(index, [1]), op.Unsqueeze(index, [0])
    if not lower:
        rows, columns = columns, rows

    def step(op: OpContext, x: Any, size: Any) -> Any:
        block = columns / size
        pair = (rows / size).equals(block + 1) & op.Mod(block, op.const(2, np.int64)).equals(0)
        coupling = times(t, op.cast(pair, dtype))
        return x - x @ coupling @ x

    if isinstance(n, int):
        x, size = start, 1
        while size < n:
            x, size = step(op, x, size), 2 * size
        return x
    levels = op.Ceil(op.Log(op.cast(op.sizes([n]), np.float64)) / np.log(2) - 1e-9)
    trips = op.Squeeze(op.cast(levels, np.int64), [0])

    def grow(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        x, size = state
        return [step(op, x, size), size * 2], []

    return repeat(op, trips, [start, op.const(1, np.int64)], grow)[0][0]


@dataclasses.dataclass(frozen=True)
class Reflections:
    """Householder's ``I - tau v v^H``, stacked: ``v (steps, batch, m)``, ``tau (steps, batch)``."""

    v: Any
    tau: Any
    triangle: Any


def householder(op: OpContext, a: Any) -> Reflections:
    """Reflections that make ``(batch, m, n)`` upper triangular, as Eigen's ``makeHouseholder`` chooses them: the new
    diagonal is ``-sign(c) |column|``, and a column that is zero below the diagonal is left as it is.
    """
    _, m, n = real_of(a).dims

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        v, tau = reflector(op, column(op, state[0], k), k)
        return [reflect(op, state[0], v, conj(tau))], [v, each(lambda part: op.Squeeze(part, [1]), tau)]

    (triangle,), (v, tau) = repeat(op, minimum(m, n), [a], step)
    return Reflections(v, tau, triangle)


def reflector(op: OpContext, col: Any, k: Any) -> tuple[Any, Any]:
    """``v`` and ``tau`` such that ``(I - conj(tau) v v^H) col`` is zero below row ``k`` and unchanged above."""
    dtype = real_of(col).dtype
    place = indices(op, real_of(col).dims[1])
    at = unsqueeze(op, op.cast(place.equals(k), dtype), 0)
    tail = times(col, unsqueeze(op, op.cast(place > k, dtype), 0))
    corner = each(lambda part: op.ReduceSum(part * at, [1], keepdims=1), col)
    rest = op.ReduceSum(squared(op, tail), [1], keepdims=1)
    size = op.Sqrt(squared(op, corner) + rest)
    tiny = float(np.finfo(dtype).tiny)
    still = rest <= tiny
    if isinstance(corner, ComplexValue):
        still = still & (corner.imag * corner.imag <= tiny)
    beta = op.Where(real_of(corner) >= 0, -size, size)
    reach = corner - (ComplexValue(beta, op.full_like(beta, 0)) if isinstance(corner, ComplexValue) else beta)
    one = op.const(1, dtype)
    v = quotient(op, tail, where(op, still, one, reach))
    v = ComplexValue(v.real + at, v.imag) if isinstance(v, ComplexValue) else v + at
    tau = each(lambda part: op.Where(still, 0, -part / op.Where(still, one, beta)), reach)
    return v, tau


def reflect(op: OpContext, a: Any, v: Any, tau: Any) -> Any:
    """``(I - tau v v^H) a`` with ``v (batch, m)`` and ``tau (batch, 1)``."""
    products = unsqueeze(op, conj(v), 1) @ a
    return a - unsqueeze(op, tau * v, 2) @ products


def orthogonal(op: OpContext, reflections: Reflections, columns: Size) -> Any:
    """The first ``columns`` columns of ``H_0 H_1 ... H_(steps - 1)``."""
    v, tau = reflections.v, reflections.tau
    steps, batch, m = real_of(v).dims
    dtype = real_of(v).dtype
    eye = op.cast(op.Unsqueeze(indices(op, m), [1]).equals(op.Unsqueeze(indices(op, columns), [0])), dtype)
    start: Any = op.full([batch, m, columns], 0, dtype) + op.Unsqueeze(eye, [0])
    if isinstance(v, ComplexValue):
        start = ComplexValue(start, op.full([batch, m, columns], 0, dtype))
    last = scalar_size(op, steps) - 1

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        at = last - k if isinstance(k, Value) else op.const(steps - 1 - k, np.int64)
        vk, tk = (each(lambda part: op.Gather(part, at, axis=0), x) for x in (v, tau))
        return [reflect(op, state[0], vk, unsqueeze(op, tk, 1))], []

    return repeat(op, steps, [start], step)[0][0]


def qr(op: OpContext, a: Any, full: bool) -> tuple[Any, Any]:
    """``q r = a``: q is ``(batch, m, m)`` where ``full``, else ``(batch, m, min(m, n))``."""
    _, m, n = real_of(a).dims
    reflections = householder(op, a)
    columns = m if full else minimum(m, n)
    index_m, index_n = indices(op, m), indices(op, n)
    upper = op.cast(op.Unsqueeze(index_m, [1]) <= op.Unsqueeze(index_n, [0]), real_of(a).dtype)
    r = times(reflections.triangle, upper)
    if not full and columns != m:
        r = each(lambda part: _first_rows(op, part, columns), r)
    return orthogonal(op, reflections, columns), r


def _first_rows(op: OpContext, x: Value, count: Size) -> Value:
    result = op.graph.emit("Slice", [x, op.const([0]), op.sizes([count]), op.const([1])])
    result.refine((x.dims[0], count, x.dims[2]))
    return result
