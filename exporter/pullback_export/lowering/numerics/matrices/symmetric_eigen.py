"""Eigenvalues and eigenvectors of symmetric and Hermitian matrices, by the steps of Eigen's ``SelfAdjointEigenSolver``.

An eigenvector is determined up to its sign only. TensorFlow calls Eigen, so the same steps (Householder's reduction to
a tridiagonal matrix, QR sweeps with Wilkinson's shift, one block at a time from the end) give the same signs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import each, real_of
from pullback_export.lowering.numerics.matrices.batches import (
    absolute,
    adjoint,
    as_index,
    beside,
    column,
    indices,
    repeat,
    repeat_while,
    times,
    unsqueeze,
)
from pullback_export.lowering.numerics.matrices.eigen_steps import SWEEPS, columns_in, last_block, reduced
from pullback_export.lowering.numerics.matrices.factorization import orthogonal


def eigh(op: OpContext, a: Any, vectors: bool) -> tuple[Value, Any]:
    """Ascending eigenvalues ``(batch, n)`` and, where wanted, eigenvectors as columns ``(batch, n, n)``, else None.

    Only the lower triangle of ``a`` is read.
    """
    n = real_of(a).dims[1]
    full, scale = _scaled(op, a)
    diagonal, below, q = _tridiagonal(op, full, vectors)
    state = [diagonal, _deflated(op, diagonal, below), *([q] if vectors else [])]
    if n != 1:
        state = repeat_while(op, n * SWEEPS, state, _sweep)
    values, order = op.TopK(state[0], op.sizes([n]), axis=1, largest=0, sorted=1, outputs=2)
    values = values * op.Squeeze(scale, [2])
    if not vectors:
        return values, None
    return values, columns_in(op, order, state[2])


def _scaled(op: OpContext, a: Any) -> tuple[Any, Value]:
    """The whole matrix from its lower triangle, divided by its largest entry."""
    place = indices(op, real_of(a).dims[1])
    dtype = real_of(a).dtype
    rows, columns = op.Unsqueeze(place, [1]), op.Unsqueeze(place, [0])
    lower = times(a, op.cast(rows >= columns, dtype))
    largest = op.ReduceMax(absolute(op, lower), [1, 2], keepdims=1)
    scale = op.Where(largest.equals(0), 1, largest)
    strict = times(a, op.cast(rows > columns, dtype))
    return each(lambda part: part / scale, lower + adjoint(op, strict)), scale


def _tridiagonal(op: OpContext, a: Any, vectors: bool) -> tuple[Value, Value, Any]:
    """Diagonal ``(batch, n)``, subdiagonal ``(batch, n)`` with a zero at its end, and ``q`` with ``a = q t q^H``."""
    batch, n, _ = real_of(a).dims
    dtype = real_of(a).dtype
    eye = op.Unsqueeze(op.cast(op.Unsqueeze(indices(op, n), [1]).equals(op.Unsqueeze(indices(op, n), [0])), dtype), [0])
    if n == 1:
        return op.Squeeze(real_of(a), [2]), op.full([batch, 1], 0, dtype), each(lambda part: op.full_like(part, 1), a)
    t, reflections = reduced(op, a)
    diagonal = op.ReduceSum(real_of(t) * eye, [2], keepdims=0)
    place = indices(op, n)
    shifted = op.cast(op.Unsqueeze(place, [1]).equals(op.Unsqueeze(place, [0]) + 1), dtype)
    below = op.ReduceSum(real_of(t) * op.Unsqueeze(shifted, [0]), [1], keepdims=0)
    return diagonal, below, orthogonal(op, reflections, n) if vectors else None


def _deflated(op: OpContext, diagonal: Value, below: Value) -> Value:
    """Subdiagonal entries that are negligible next to their diagonal neighbours are set to zero."""
    limits = np.finfo(diagonal.dtype)
    size = op.Abs(diagonal)
    following = _shifted(op, size)
    relative = below * float(1 / limits.eps)
    negligible = (op.Abs(below) < float(limits.tiny)) | (relative * relative <= size + following)
    return op.Where(negligible, op.const(0, diagonal.dtype), below)


def _shifted(op: OpContext, x: Value) -> Value:
    """``x_(k+1)`` at k, and the first entry at the end."""
    return op.Gather(x, op.Mod(indices(op, x.dims[1]) + 1, op.sizes([x.dims[1]])), axis=1)


def _sweep(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
    """One QR sweep over the last unreduced block ``start .. end`` of each matrix; matrices that are done stay."""
    diagonal, below = state[0], state[1]
    start, end = last_block(op, below.equals(0))
    shift = _wilkinson(op, diagonal, below, end)
    x = op.GatherElements(diagonal, start, axis=1) - shift
    z = op.GatherElements(below, start, axis=1)
    n = diagonal.dims[1]

    def rotate(op: OpContext, k: Any, inner: list[Any]) -> tuple[list[Any], list[Any]]:
        x, z, d, e, before = inner[:5]
        d1, e1 = (op.Gather(item, op.Reshape(as_index(op, k) + 1, [1]), axis=1) for item in (diagonal, below))
        active = (start <= k) & (end > k) & ~z.equals(0)
        c, s = _givens(op, x, z, active)
        sd, dn = s * d + c * e, s * e + c * d1
        new_d = c * (c * d - s * e) - s * (c * e - s * d1)
        new_e = c * sd - s * dn
        new_before = op.Where(active & (start < k), c * before - s * z, before)
        chasing = active & (end > as_index(op, k) + 1)
        following = [
            op.Where(active, new_e, x),
            op.Where(chasing, -s * e1, z),
            s * sd + c * dn,
            op.Where(chasing, c * e1, e1),
            new_e,
        ]
        scans = [op.Squeeze(new_d, [1]), op.Squeeze(new_before, [1])]
        if len(inner) > 5:
            this, other = inner[5], column(op, state[2], as_index(op, k) + 1)
            following.append(times(this, s) + times(other, c))
            scans.append(times(this, c) - times(other, s))
        return following, scans

    first = [op.Slice(item, [0], [1], [1]) for item in (diagonal, below)]
    begin = [x, z, *first, op.full_like(x, 0)]
    if len(state) > 2:
        begin.append(column(op, state[2], 0))
    last, scans = repeat(op, n + (-1), begin, rotate)
    new_diagonal = op.Concat(op.transpose(scans[0], [1, 0]), last[2], axis=1)
    old = op.Slice(op.transpose(scans[1], [1, 0]), [1], [2**31 - 1], [1])
    new_below = op.Concat(old, last[4], op.full_like(last[4], 0), axis=1)
    new_below.refine(below.shape)
    new_below = _deflated(op, new_diagonal, new_below)
    result = [new_diagonal, new_below]
    if len(state) > 2:
        rotated = each(lambda part: op.transpose(part, [1, 2, 0]), scans[2])
        result.append(beside(op, rotated, unsqueeze(op, last[5], 2)))
    going = op.ReduceSum(op.cast(~new_below.equals(0), np.int64), keepdims=0) > 0
    return result, [going]


def _wilkinson(op: OpContext, diagonal: Value, below: Value, end: Value) -> Value:
    """The eigenvalue of the last two rows of the block that is closer to the last diagonal entry."""
    before = op.Max(end - 1, op.const(0, np.int64))
    last = op.GatherElements(diagonal, end, axis=1)
    half = (op.GatherElements(diagonal, before, axis=1) - last) * 0.5
    e = op.GatherElements(below, before, axis=1)
    size = op.Sqrt(half * half + e * e)
    reach = half + op.Where(half > 0, size, -size)
    nothing = reach.equals(0)
    step = op.Where(half.equals(0), op.Abs(e), e * (e / op.Where(nothing, 1, reach)))
    return last - step


def _givens(op: OpContext, x: Value, z: Value, active: Value) -> tuple[Value, Value]:
    """Cosine and sine of the rotation that maps ``(x, z)`` to ``(r, 0)``; (1, 0) where it is not active."""
    one, zero = op.const(1, x.dtype), op.const(0, x.dtype)
    wide = op.Abs(x) > op.Abs(z)
    below = op.Where(active, op.Where(wide, x, z), one)
    ratio = op.Where(wide, z, x) / below
    size = op.Sqrt(1 + ratio * ratio)
    inverse = 1 / op.Where(below < 0, -size, size)
    c = op.Where(active, op.Where(wide, inverse, ratio * inverse), one)
    s = op.Where(active, -op.Where(wide, ratio * inverse, inverse), zero)
    return c, s
