"""Eigenvalues of general matrices by the complex QR algorithm, in the steps of Eigen's ``ComplexEigenSolver``.

Reduction to Hessenberg's form, QR sweeps with the shift of ``comqr``, eigenvectors of the triangle by substitution, and
the order of ascending magnitude. TensorFlow 2.21 returns the eigenvalues in an order that depends on the dtype and the
size; functions in which the order has no meaning agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, conj, each, real_of
from pullback_export.lowering.numerics.matrices.batches import (
    absolute,
    adjoint,
    as_index,
    column,
    indices,
    quotient,
    repeat,
    repeat_while,
    squared,
    times,
    unsqueeze,
    where,
)
from pullback_export.lowering.numerics.matrices.eigen_steps import SWEEPS, columns_in, last_block, reduced
from pullback_export.lowering.numerics.matrices.factorization import orthogonal


def eig(op: OpContext, a: Any) -> tuple[ComplexValue, ComplexValue]:
    """Eigenvalues ``(batch, n)`` in the order of their magnitude, and unit eigenvectors as columns."""
    n = real_of(a).dims[1]
    start = a if isinstance(a, ComplexValue) else ComplexValue(a, op.full_like(a, 0))
    t, u = _hessenberg(op, start)
    if n != 1:
        nothing = op.full([real_of(a).dims[0], 1], 0, np.int64)
        t, u, _, _ = repeat_while(op, n * SWEEPS, [_deflated(op, t), u, nothing, nothing], _sweep)
    values = _diagonal(op, t)
    vectors = u @ _triangle_vectors(op, t)
    vectors = quotient(op, vectors, op.Sqrt(op.ReduceSum(squared(op, vectors), [1], keepdims=1)))
    _, order = op.TopK(absolute(op, values), op.sizes([n]), axis=1, largest=0, sorted=1, outputs=2)
    return each(lambda part: op.GatherElements(part, order, axis=1), values), columns_in(op, order, vectors)


def _hessenberg(op: OpContext, a: ComplexValue) -> tuple[Any, Any]:
    """``t`` without entries below its first subdiagonal, and ``u`` with ``a = u t u^H``."""
    n = a.real.dims[1]
    if n == 1:
        return a, ComplexValue(op.full_like(a.real, 1), op.full_like(a.real, 0))
    t, reflections = reduced(op, a)
    rows, columns = _places(op, t)
    return times(t, op.cast(rows <= columns + 1, a.real.dtype)), orthogonal(op, reflections, n)


def _places(op: OpContext, t: Any) -> tuple[Value, Value]:
    """Row and column numbers, ``(n, 1)`` and ``(1, n)``."""
    place = indices(op, real_of(t).dims[1])
    return op.Unsqueeze(place, [1]), op.Unsqueeze(place, [0])


def _diagonal(op: OpContext, t: Any, below: int = 0) -> Any:
    """``t_(i + below, i)`` at i; where there is none, 0."""
    rows, columns = _places(op, t)
    chosen = op.cast(rows.equals(columns + below), real_of(t).dtype)
    return each(lambda part: op.ReduceSum(part * chosen, [1], keepdims=0), t)


def _manhattan(op: OpContext, x: Any) -> Value:
    return op.Abs(x.real) + op.Abs(x.imag)


def _deflated(op: OpContext, t: Any) -> Any:
    """Subdiagonal entries that are negligible next to their diagonal neighbours are set to zero."""
    dtype = real_of(t).dtype
    size = _manhattan(op, _diagonal(op, t))
    n = size.dims[1]
    following = op.Gather(size, op.Mod(indices(op, n) + 1, op.sizes([n])), axis=1)
    small = _manhattan(op, _diagonal(op, t, 1)) <= (size + following) * float(np.finfo(dtype).eps)
    rows, columns = _places(op, t)
    gone = op.cast(op.Unsqueeze(small, [1]), dtype) * op.cast(rows.equals(columns + 1), dtype)
    return times(t, 1 - gone)


def _sweep(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
    """One QR sweep over the last unreduced block ``start .. end`` of each matrix; ``count``: sweeps with it."""
    t, u, old_end, count = state
    n = real_of(t).dims[1]
    start, end = last_block(op, _manhattan(op, _diagonal(op, t, 1)).equals(0))
    count = op.Where(end.equals(old_end), count + 1, op.const(1, np.int64))
    shift = _shift(op, t, end, count)

    def rotate(op: OpContext, k: Any, inner: list[Any]) -> tuple[list[Any], list[Any]]:
        t, u = inner
        at = as_index(op, k)
        active = (start <= at) & (end > at)
        first = start.equals(at)
        before = op.Max(at - 1, op.const(0, np.int64))
        here, left = column(op, t, at), column(op, t, before)
        upper = where(op, first, _item(op, here, at) - shift, _item(op, left, at))
        lower = where(op, first, _item(op, here, at + 1), _item(op, left, at + 1))
        g = _rotation(op, upper, lower, active, at, real_of(t))
        t = adjoint(op, g) @ t @ g
        rows, columns = _places(op, t)
        bulge = rows.equals(at + 1) & columns.equals(at - 1)
        cleared = op.cast(op.Unsqueeze(active & ~first, [2]), real_of(t).dtype) * op.cast(bulge, real_of(t).dtype)
        return [times(t, 1 - cleared), u @ g], []

    (t, u), _ = repeat(op, n + (-1), [t, u], rotate)
    t = _deflated(op, t)
    left_over = op.ReduceSum(op.cast(_manhattan(op, _diagonal(op, t, 1)) > 0, np.int64), keepdims=0)
    return [t, u, end, count], [left_over > 0]


def _item(op: OpContext, x: Any, at: Value) -> Any:
    """``x[:, at]`` as ``(batch, 1)``."""
    return each(lambda part: op.Gather(part, op.Reshape(at, [1]), axis=1), x)


def _rotation(op: OpContext, p: Any, q: Any, active: Value, at: Value, like: Value) -> ComplexValue:
    """The unitary matrix whose adjoint turns rows ``at`` and ``at + 1``, so that ``(p, q)`` becomes ``(r, 0)``."""
    dtype = like.dtype
    one, zero = op.const(1, dtype), op.const(0, dtype)
    size_p, size_q = absolute(op, p), absolute(op, q)
    whole = absolute(op, ComplexValue(size_p, size_q))
    nothing = whole.equals(0)
    whole = op.Where(nothing, one, whole)
    signed = op.Where(p.real < 0, -whole, whole)
    phase = where(op, size_p.equals(0), one, quotient(op, p, op.Where(size_p.equals(0), one, size_p)))
    c = op.Where(active & ~nothing, size_p / signed, one)
    s = each(lambda part: op.Where(active, -part / signed, zero), conj(phase) * q)
    rows, columns = _places(op, like)
    diagonal = rows.equals(columns)
    turned = op.cast(diagonal & (rows.equals(at) | rows.equals(at + 1)), dtype)
    above = op.cast(rows.equals(at) & columns.equals(at + 1), dtype)
    below = op.cast(rows.equals(at + 1) & columns.equals(at), dtype)
    c, real, imag = (op.Unsqueeze(item, [2]) for item in (c, s.real, s.imag))
    return ComplexValue(op.cast(diagonal, dtype) + (c - 1) * turned + real * (above - below), -imag * (above + below))


def _shift(op: OpContext, t: Any, end: Value, count: Value) -> Any:
    """The eigenvalue of the last 2 x 2 block that is closer to its last entry; sweeps 10 and 20 take another number."""
    dtype = real_of(t).dtype
    one = op.const(1, dtype)
    low = op.Max(end - 1, op.const(0, np.int64))

    def entry(i: Value, j: Value) -> Any:
        return each(lambda part: op.GatherND(part, op.Concat(i, j, axis=1), batch_dims=1), t)

    block = [entry(low, low), entry(low, end), entry(end, low), entry(end, end)]
    total = op.Sum(*[absolute(op, item) for item in block])
    total = op.Where(total.equals(0), one, total)
    a, b, c, d = (quotient(op, item, total) for item in block)
    product = b * c
    difference = a - d
    root = _root(op, difference * difference + each(lambda part: part * 4.0, product))
    determinant = a * d - product
    first, second = (each(lambda part: part * 0.5, item) for item in (a + d + root, a + d - root))
    larger = _manhattan(op, first) > _manhattan(op, second)
    safe_first = where(op, larger, first, one)
    safe_second = where(op, larger | _manhattan(op, second).equals(0), one, second)
    new_second = where(op, larger, quotient(op, determinant, safe_first), second)
    new_first = where(op, larger | _manhattan(op, second).equals(0), first, quotient(op, determinant, safe_second))
    nearer = _manhattan(op, new_first - d) < _manhattan(op, new_second - d)
    shift = times(where(op, nearer, new_first, new_second), total)
    exceptional = op.Abs(block[2].real) + op.Abs(entry(low, op.Max(low - 1, op.const(0, np.int64))).real)
    rare = (count.equals(10) | count.equals(20)) & (end > 1)
    return unsqueeze(op, where(op, op.Squeeze(rare, [1]), exceptional, shift), 1)


def _root(op: OpContext, w: Any) -> ComplexValue:
    """The principal square root."""
    zero, one = op.const(0, w.real.dtype), op.const(1, w.real.dtype)
    half = op.Sqrt((absolute(op, w) + op.Abs(w.real)) * 0.5)
    other = op.Abs(w.imag) / (2 * op.Where(half.equals(0), one, half))
    right = w.real >= 0
    imag = op.Where(right, other, half)
    return ComplexValue(op.Where(right, half, other), op.Where(w.imag < zero, -imag, imag))


def _triangle_vectors(op: OpContext, t: Any) -> Any:
    """Eigenvectors ``x`` of the upper triangle of ``t`` as columns: ``x_kk = 1``, and upwards row by row
    ``x_ik = -(sum over j > i of t_ij x_jk) / (t_ii - t_kk)``.
    """
    batch, n, _ = real_of(t).dims
    dtype = real_of(t).dtype
    values = _diagonal(op, t)
    norm = op.Sqrt(op.ReduceSum(squared(op, t), [1, 2], keepdims=0))
    least = op.Unsqueeze(op.Max(norm, op.const(np.finfo(dtype).tiny, dtype)) * float(np.finfo(dtype).eps), [1])
    rows, columns = _places(op, t)
    strict = times(t, op.cast(rows < columns, dtype))
    eye = op.full([batch, n, n], 0, dtype) + op.cast(rows.equals(columns), dtype)
    last = op.graph.emit("Squeeze", [op.sizes([n + (-1)]), op.const([0])])

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        (x,) = state
        i = last - as_index(op, k)
        row = each(lambda part: op.Gather(part, op.Reshape(i, [1]), axis=1), strict)
        products = each(lambda part: op.Squeeze(part, [1]), row @ x)
        gap = _item(op, values, i) - values
        level = absolute(op, gap).equals(0)
        gap = ComplexValue(op.Where(level, least, gap.real), gap.imag)
        solved = times(quotient(op, -products, gap), op.cast(columns > i, dtype))
        return [x + times(unsqueeze(op, solved, 1), op.cast(rows.equals(i), dtype))], []

    return repeat(op, n, [ComplexValue(eye, op.full_like(eye, 0))], step)[0][0]
