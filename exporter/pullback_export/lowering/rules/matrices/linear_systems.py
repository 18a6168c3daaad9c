"""Determinants, inverses, solutions of linear systems and the LU, Cholesky and QR factorizations."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of
from pullback_export.lowering.numerics.matrices.batches import (
    absolute,
    adjoint,
    as_batch,
    identity,
    indices,
    quotient,
    times,
    unbatch,
    unsqueeze,
)
from pullback_export.lowering.numerics.matrices.factorization import (
    cholesky,
    eliminate,
    inverse,
    permutation_sign,
    qr,
    solve,
    take_rows,
    triangular_inverse,
)
from pullback_export.lowering.registry import lowers


@lowers("MatrixInverse", "BatchMatrixInverse")
def matrix_inverse(op: OpContext, a: Any) -> Any:
    """``a**-1``, of the adjoint where requested. A singular matrix, which stops TensorFlow, gives infinity or NaN."""
    result = unbatch(op, inverse(op, as_batch(op, a)), a)
    return adjoint(op, result) if op.attr("adjoint") else result


@lowers("MatrixSolve", "BatchMatrixSolve")
def matrix_solve(op: OpContext, a: Any, b: Any) -> Any:
    """``a**-1 b``, with the adjoint of ``a`` where requested."""
    matrix = adjoint(op, a) if op.attr("adjoint") else a
    return unbatch(op, solve(op, as_batch(op, matrix), as_batch(op, b)), b)


@lowers("MatrixDeterminant", "BatchMatrixDeterminant")
def matrix_determinant(op: OpContext, a: Any) -> Any:
    """Product of the pivots times the sign of their order; 0 for a singular matrix, 1 for an empty one."""
    done = eliminate(op, as_batch(op, a), complete=False)
    sign = permutation_sign(op, done.order, real_of(a).dtype)
    return unbatch(op, times(_product(op, done.pivots), sign), a)


@lowers("LogMatrixDeterminant")
def log_matrix_determinant(op: OpContext, a: Any) -> list[Any]:
    """Sign (complex: phase) and log magnitude of the determinant; ``(0, -inf)`` for a singular matrix."""
    done = eliminate(op, as_batch(op, a), complete=False)
    sizes = absolute(op, done.pivots)
    zero = sizes.equals(0)
    phases = quotient(op, done.pivots, op.Where(zero, 1, sizes))
    sign = times(_product(op, phases), permutation_sign(op, done.order, real_of(a).dtype))
    log = op.ReduceSum(op.Log(sizes), [1], keepdims=0)
    if isinstance(sign, ComplexValue):
        return [unbatch(op, sign, a), ComplexValue(unbatch(op, log, a), op.full_like(unbatch(op, log, a), 0))]
    return [unbatch(op, sign, a), unbatch(op, log, a)]


def _product(op: OpContext, x: Any) -> Any:
    """Product over axis 1; of complex numbers one by one."""
    if not isinstance(x, ComplexValue):
        return op.ReduceProd(x, [1], keepdims=0)
    count = x.real.dims[1]
    if not isinstance(count, int):
        raise op.unsupported(
            "the determinant of complex matrices of free size is not supported; fix the size in the input's shape"
        )
    items = [each(partial(_at, op, at, 1), x) for at in range(count)]
    total = items[0]
    for item in items[1:]:
        total = total * item
    return total


def _at(op: OpContext, index: int, axis: int, x: Value) -> Value:
    item: Value = op.Gather(x, op.const(index, np.int64), axis=axis)
    return item


@lowers("Lu")
def lu(op: OpContext, a: Any) -> list[Any]:
    """``a[p] = l u`` with row pivoting: the factors in one matrix without the unit diagonal of ``l``, and ``p``."""
    batch = as_batch(op, a)
    done = eliminate(op, batch, complete=False)
    place = indices(op, real_of(a).dims[-1])
    upper = op.cast(op.Unsqueeze(place, [1]) <= op.Unsqueeze(place, [0]), real_of(a).dtype)
    factors = take_rows(op, done.factors, done.order)
    packed = times(done.rows, upper) + times(factors, 1 - upper)
    return [unbatch(op, packed, a), op.cast(unbatch(op, done.order, a), op.output_dtype(1))]


@lowers("Cholesky", "BatchCholesky")
def cholesky_rule(op: OpContext, a: Any) -> Any:
    """Lower ``l`` with ``l l^H = a``; reads the lower triangle. NaN where ``a`` is not positive definite."""
    return unbatch(op, cholesky(op, as_batch(op, a)), a)


@lowers("MatrixTriangularSolve", "BatchMatrixTriangularSolve")
def matrix_triangular_solve(op: OpContext, a: Any, b: Any) -> Any:
    """``a**-1 b`` of the lower or upper triangle, or with its adjoint; leading axes broadcast."""
    solution = triangular_inverse(op, a, bool(op.attr("lower")))
    return (adjoint(op, solution) if op.attr("adjoint") else solution) @ b


@lowers("Qr")
def qr_rule(op: OpContext, a: Any) -> list[Any]:
    """``q r = a`` by reflections, with Eigen's signs; ``full_matrices`` completes q to a square matrix."""
    q, r = qr(op, as_batch(op, a), bool(op.attr("full_matrices")))
    return [unbatch(op, q, a), unbatch(op, r, a)]


@lowers("MatrixSolveLs")
def matrix_solve_ls(op: OpContext, a: Any, b: Any, l2: Value) -> Any:
    """Least squares by the normal equations, ``(a^H a + l2 I)**-1 a^H b``, or ``a^H (a a^H + l2 I)**-1 b`` if wide."""
    if not op.attr("fast"):
        raise op.unsupported(
            "fast=False, which finds the rank of the matrix, has no gradient in TensorFlow; use fast=True"
        )
    m, n = real_of(a).dims[-2:]
    if not isinstance(m, int) or not isinstance(n, int):
        raise op.unsupported("the size of the matrix is free; fix it in the input's shape")
    turned = adjoint(op, a)
    gramian = turned @ a if m >= n else a @ turned
    ridge = identity(op, min(m, n), real_of(a).dtype) * op.cast(l2, real_of(a).dtype)
    gramian = ComplexValue(gramian.real + ridge, gramian.imag) if isinstance(gramian, ComplexValue) else gramian + ridge
    half = triangular_inverse(op, unbatch(op, cholesky(op, as_batch(op, gramian)), gramian), True)
    if m >= n:
        return adjoint(op, half) @ (half @ (turned @ b))
    return turned @ (adjoint(op, half) @ (half @ b))


@lowers("TridiagonalSolve")
def tridiagonal_solve(op: OpContext, diagonals: Any, b: Any) -> Any:
    """Solution of ``lower_i x_(i-1) + main_i x_i + upper_i x_(i+1) = b_i``; the rows of ``diagonals`` are upper, main
    and lower. The matrix is written out and eliminated with row pivoting.
    """
    if op.attr("perturb_singular"):
        raise op.unsupported(
            "perturb_singular=True, which TensorFlow supports on GPUs only; use perturb_singular=False"
        )
    rank = real_of(diagonals).rank
    n = real_of(diagonals).dims[-1]
    place = indices(op, n)
    distance = op.Unsqueeze(place, [0]) - op.Unsqueeze(place, [1])
    total: Any = None
    for band, offset in ((0, 1), (1, 0), (2, -1)):
        values = unsqueeze(op, each(partial(_at, op, band, rank - 2), diagonals), -1)
        item = times(values, op.cast(distance.equals(offset), real_of(b).dtype))
        total = item if total is None else total + item
    return unbatch(op, solve(op, as_batch(op, total), as_batch(op, b)), b)


@lowers("BandedTriangularSolve")
def banded_triangular_solve(op: OpContext, bands: Any, b: Any) -> Any:
    """``a**-1 b`` for a triangular matrix given by its diagonals: from the main one downwards (``lower``, aligned left)
    or from the topmost to the main one (aligned right).
    """
    lower = bool(op.attr("lower"))
    count, n = real_of(bands).dims[-2:]
    if not isinstance(count, int):
        raise op.unsupported("the number of bands is free; fix that size in the input's shape")
    rank = real_of(bands).rank
    place = indices(op, n)
    distance = op.Unsqueeze(place, [1]) - op.Unsqueeze(place, [0])
    total: Any = None
    for band in range(count):
        offset = band if lower else band - count + 1
        values = unsqueeze(op, each(partial(_at, op, band, rank - 2), bands), -1)
        item = times(values, op.cast(distance.equals(offset), real_of(b).dtype))
        total = item if total is None else total + item
    solution = triangular_inverse(op, total, lower)
    return (adjoint(op, solution) if op.attr("adjoint") else solution) @ b
