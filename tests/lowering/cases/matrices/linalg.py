"""Rows for ``lowering/linalg.py`` and ``lowering/factorization.py``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed


def regular(*shape: int, free: tuple[int, ...] = (0,)) -> Arg:
    """Well-conditioned matrices: normal entries and a diagonal of mixed signs."""
    return Arg(shape, lambda rng, size: rng.normal(size=size) + _diagonal(size[-2:]), free=free)


def _diagonal(size: tuple[int, ...]) -> Any:
    return np.eye(*size) * np.where(np.arange(size[1]) % 2, -1.0, 1.0) * (2 + size[0] ** 0.5)


def positive(x: Any) -> Any:
    """A positive definite matrix for any ``x``."""
    return x @ tf.linalg.adjoint(x) + tf.eye(tf.shape(x)[-1], dtype=x.dtype)


def complex_(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of the complex numbers whose parts are the arguments, two by two."""
    return lambda *parts: function(*[tf.complex(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)])


def least_squares(a: Any, b: Any, l2: float = 0.0) -> Any:
    return tf.raw_ops.MatrixSolveLs(matrix=a, rhs=b, l2_regularizer=tf.constant(l2, tf.float64), fast=True)


def qr_reduced(x: Any) -> Any:
    return tf.linalg.qr(x)


def plain(*shape: int, free: tuple[int, ...] = (0,)) -> Arg:
    return Arg(shape, free=free)


SPD_ROWS = [
    Case(
        "cholesky",
        ("Cholesky", "MatrixTriangularSolve"),
        lambda x: tf.linalg.cholesky(positive(x)),
        (plain(3, 4, 4),),
        order=2,
    ),
    Case("cholesky_matrix", "Cholesky", lambda x: tf.linalg.cholesky(positive(x)), (plain(5, 5, free=()),), order=2),
    Case("cholesky_one", "Cholesky", lambda x: tf.linalg.cholesky(positive(x)), (plain(3, 1, 1),), order=2),
    Case("cholesky_loop", "Cholesky", lambda x: tf.linalg.cholesky(positive(x)), (plain(2, 2, 11, 11),), order=2),
    Case(
        "cholesky_free_size", "Cholesky", lambda x: tf.linalg.cholesky(positive(x)), (plain(2, 7, 7, free=(0, 1, 2)),)
    ),
    Case(
        "cholesky_lower_only",
        "Cholesky",
        tf.linalg.cholesky,
        (fixed([[[4.0, 9.0, -3.0], [2.0, 5.0, 7.0], [1.0, -1.0, 6.0]]]),),
        smooth=False,
    ),
    Case("cholesky_none", "Cholesky", lambda x: tf.linalg.cholesky(positive(x)), (plain(0, 3, 3),), smooth=False),
    Case(
        "cholesky_complex",
        "Cholesky",
        complex_(lambda x: tf.linalg.cholesky(positive(x))),
        (plain(2, 4, 4), plain(2, 4, 4)),
        order=2,
    ),
    Case(
        "cholesky_solve",
        "MatrixTriangularSolve",
        lambda x, b: tf.linalg.cholesky_solve(tf.linalg.cholesky(positive(x)), b),
        (plain(2, 4, 4), plain(2, 4, 3)),
        order=2,
    ),
]

# TensorFlow's gradient of a complex determinant omits a conjugate, and it has none of Lu.
SOLVE_ROWS = [
    Case("inverse", "MatrixInverse", tf.linalg.inv, (regular(3, 4, 4),), order=2),
    Case("inverse_matrix", "MatrixInverse", tf.linalg.inv, (regular(3, 3, free=()),), order=2),
    Case("inverse_one", "MatrixInverse", tf.linalg.inv, (regular(3, 1, 1),), order=2),
    Case(
        "inverse_adjoint",
        "MatrixInverse",
        partial(tf.linalg.inv, adjoint=True),
        (regular(2, 3, 4, 4, free=(0, 1)),),
        order=2,
    ),
    Case("inverse_loop", "MatrixInverse", tf.linalg.inv, (regular(2, 12, 12),), order=2),
    Case("inverse_free_size", "MatrixInverse", tf.linalg.inv, (regular(2, 7, 7, free=(0, 1, 2)),), order=2),
    Case(
        "inverse_pivots",
        "MatrixInverse",
        tf.linalg.inv,
        (
            fixed(
                [
                    [[0.0, 2.0, 1.0], [1.0, 0.0, 3.0], [4.0, 1.0, 0.0]],
                    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
                ]
            ),
        ),
        order=2,
    ),
    Case("inverse_none", "MatrixInverse", tf.linalg.inv, (plain(0, 3, 3),), smooth=False),
    Case("inverse_complex", "MatrixInverse", complex_(tf.linalg.inv), (regular(2, 4, 4), plain(2, 4, 4)), order=2),
    Case(
        "inverse_complex_adjoint",
        "MatrixInverse",
        complex_(partial(tf.linalg.inv, adjoint=True)),
        (regular(2, 7, 7), plain(2, 7, 7)),
        order=2,
    ),
    Case("solve", "MatrixSolve", tf.linalg.solve, (regular(3, 4, 4), plain(3, 4, 2)), order=2),
    Case(
        "solve_adjoint",
        "MatrixSolve",
        partial(tf.linalg.solve, adjoint=True),
        (regular(3, 4, 4), plain(3, 4, 1)),
        order=2,
    ),
    Case("solve_loop", "MatrixSolve", tf.linalg.solve, (regular(2, 10, 10), plain(2, 10, 3)), order=2),
    Case(
        "solve_free_size",
        "MatrixSolve",
        tf.linalg.solve,
        (regular(2, 7, 7, free=(0, 1, 2)), plain(2, 7, 3, free=(0, 1))),
        order=2,
    ),
    Case(
        "solve_complex",
        "MatrixSolve",
        complex_(partial(tf.linalg.solve, adjoint=True)),
        (regular(2, 3, 3), plain(2, 3, 3), plain(2, 3, 2), plain(2, 3, 2)),
        order=2,
    ),
    Case("determinant", "MatrixDeterminant", tf.linalg.det, (regular(3, 4, 4),), order=2),
    Case("determinant_matrix", "MatrixDeterminant", tf.linalg.det, (regular(3, 3, free=()),), order=2),
    Case("determinant_loop", "MatrixDeterminant", tf.linalg.det, (regular(2, 2, 9, 9),), order=2),
    Case("determinant_free_size", "MatrixDeterminant", tf.linalg.det, (regular(2, 7, 7, free=(0, 1, 2)),), order=2),
    Case(
        "determinant_singular",
        "MatrixDeterminant",
        tf.linalg.det,
        (fixed([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]]),),
        order=0,
    ),
    Case(
        "determinant_complex",
        "MatrixDeterminant",
        complex_(tf.linalg.det),
        (regular(2, 4, 4), plain(2, 4, 4)),
        order=2,
        smooth=False,
    ),
    Case("log_determinant", "LogMatrixDeterminant", tf.linalg.slogdet, (regular(3, 5, 5),), order=2),
    Case("log_determinant_loop", "LogMatrixDeterminant", tf.linalg.slogdet, (regular(3, 9, 9),), order=2),
    Case(
        "log_determinant_singular",
        "LogMatrixDeterminant",
        tf.linalg.slogdet,
        (fixed([[[1.0, 2.0], [2.0, 4.0]]]),),
        order=0,
    ),
    Case(
        "log_determinant_complex",
        "LogMatrixDeterminant",
        complex_(tf.linalg.slogdet),
        (regular(3, 4, 4), plain(3, 4, 4)),
        order=2,
        smooth=False,
    ),
    Case("lu", "Lu", lambda x: tf.linalg.lu(x), (regular(3, 4, 4),), order=0),
    Case(
        "lu_pivots",
        "Lu",
        lambda x: tf.linalg.lu(x),
        (fixed([[[0.0, 2.0, 1.0], [1.0, 0.0, 3.0], [4.0, 1.0, 0.0]]]),),
        order=0,
    ),
    Case("lu_loop", "Lu", lambda x: tf.linalg.lu(x), (plain(3, 8, 8),), order=0),
    Case("lu_int64", "Lu", lambda x: tf.linalg.lu(x, output_idx_type=tf.int64), (regular(4, 4, free=()),), order=0),
    Case("lu_complex", "Lu", complex_(lambda x: tf.linalg.lu(x)), (regular(2, 3, 3), plain(2, 3, 3)), order=0),
    Case(
        "triangular", "MatrixTriangularSolve", tf.linalg.triangular_solve, (regular(3, 4, 4), plain(3, 4, 2)), order=2
    ),
    Case(
        "triangular_upper",
        "MatrixTriangularSolve",
        partial(tf.linalg.triangular_solve, lower=False),
        (regular(3, 5, 5), plain(3, 5, 2)),
        order=2,
    ),
    Case(
        "triangular_adjoint",
        "MatrixTriangularSolve",
        partial(tf.linalg.triangular_solve, adjoint=True),
        (regular(3, 7, 7), plain(3, 7, 2)),
        order=2,
    ),
    Case(
        "triangular_upper_adjoint",
        "MatrixTriangularSolve",
        partial(tf.linalg.triangular_solve, lower=False, adjoint=True),
        (regular(6, 6, free=()), plain(6, 3, free=())),
        order=2,
    ),
    Case(
        "triangular_broadcast",
        "MatrixTriangularSolve",
        tf.linalg.triangular_solve,
        (regular(4, 4, free=()), plain(3, 4, 2)),
        order=2,
    ),
    Case(
        "triangular_free_size",
        "MatrixTriangularSolve",
        tf.linalg.triangular_solve,
        (regular(2, 9, 9, free=(0, 1, 2)), plain(2, 9, 3, free=(0, 1))),
        order=2,
    ),
    Case(
        "triangular_complex",
        "MatrixTriangularSolve",
        complex_(partial(tf.linalg.triangular_solve, adjoint=True)),
        (regular(2, 4, 4), plain(2, 4, 4), plain(2, 4, 2), plain(2, 4, 2)),
        order=2,
    ),
    Case("least_squares", "MatrixSolveLs", partial(least_squares, l2=0.1), (plain(3, 5, 3), plain(3, 5, 2)), order=2),
    Case(
        "least_squares_wide", "MatrixSolveLs", partial(least_squares, l2=0.1), (plain(3, 3, 5), plain(3, 3, 2)), order=2
    ),
    Case("least_squares_plain", "MatrixSolveLs", least_squares, (regular(3, 6, 3), plain(3, 6, 2)), order=2),
    Case(
        "tridiagonal_solve",
        "TridiagonalSolve",
        lambda d, b: tf.linalg.tridiagonal_solve(d, b, diagonals_format="compact"),
        (Arg((2, 3, 6), lambda rng, size: rng.normal(size=size) + np.array([[0.0], [4.0], [0.0]])), plain(2, 6, 2)),
        order=2,
    ),
    Case(
        "tridiagonal_solve_pivots",
        "TridiagonalSolve",
        lambda d, b: tf.linalg.tridiagonal_solve(d, b, diagonals_format="compact"),
        (plain(2, 3, 6), plain(2, 6, 2)),
        order=2,
    ),
    Case(
        "tridiagonal_solve_unpivoted",
        "TridiagonalSolve",
        lambda d, b: tf.linalg.tridiagonal_solve(d, b, diagonals_format="compact", partial_pivoting=False),
        (Arg((2, 3, 8), lambda rng, size: rng.normal(size=size) + np.array([[0.0], [4.0], [0.0]])), plain(2, 8, 2)),
        order=2,
    ),
    Case(
        "banded",
        "BandedTriangularSolve",
        lambda a, b: tf.linalg.banded_triangular_solve(a, b),
        (Arg((2, 3, 6), lambda rng, size: rng.normal(size=size) + np.array([[3.0], [0.0], [0.0]])), plain(2, 6, 2)),
        order=2,
    ),
    Case(
        "banded_upper_adjoint",
        "BandedTriangularSolve",
        lambda a, b: tf.linalg.banded_triangular_solve(a, b, lower=False, adjoint=True),
        (Arg((2, 2, 6), lambda rng, size: rng.normal(size=size) + np.array([[0.0], [3.0]])), plain(2, 6, 2)),
    ),
    Case(
        "banded_upper",
        "BandedTriangularSolve",
        lambda a, b: tf.linalg.banded_triangular_solve(a, b, lower=False),
        (Arg((2, 2, 6), lambda rng, size: rng.normal(size=size) + np.array([[0.0], [3.0]])), plain(2, 6, 2)),
        order=2,
    ),
]

QR_ROWS = [
    Case("qr", "Qr", qr_reduced, (plain(3, 4, 4),), order=2),
    Case("qr_deep", "Qr", qr_reduced, (plain(3, 6, 3),), order=2),
    Case("qr_wide", "Qr", qr_reduced, (plain(3, 3, 5),), order=2),
    Case("qr_loop", "Qr", qr_reduced, (plain(2, 2, 9, 8),), order=1),
    Case("qr_one_column", "Qr", qr_reduced, (plain(3, 4, 1),), order=2),
    Case("qr_matrix", "Qr", qr_reduced, (plain(4, 3, free=()),), order=2),
    Case("qr_full_deep", "Qr", partial(tf.linalg.qr, full_matrices=True), (plain(3, 5, 3),), order=0),
    Case("qr_full", "Qr", partial(tf.linalg.qr, full_matrices=True), (plain(3, 3, 4),), order=1),
    Case(
        "qr_triangular",
        "Qr",
        qr_reduced,
        (fixed([[[2.0, 1.0, 3.0], [0.0, -1.0, 2.0], [0.0, 0.0, -3.0]]]),),
        smooth=False,
    ),
    Case("qr_free_size", "Qr", qr_reduced, (plain(2, 7, 8, free=(0, 1, 2)),), order=0),
    Case("qr_complex", "Qr", complex_(qr_reduced), (plain(2, 4, 3), plain(2, 4, 3)), order=1),
]

CASES = [*SPD_ROWS, *SOLVE_ROWS, *QR_ROWS]
