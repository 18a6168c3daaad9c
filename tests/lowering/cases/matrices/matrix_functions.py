"""Rows for ``lowering/matrix_functions.py``, and matrix functions that TensorFlow composes."""

from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case


def stable(*shape: int) -> Arg:
    """Matrices with eigenvalues in the right half plane."""
    return Arg(shape, lambda rng, size: 0.5 * rng.normal(size=size) + np.eye(size[-1]) * (2 + size[-1] ** 0.5))


def complex_square_root(a: Any, b: Any) -> Any:
    return tf.linalg.sqrtm(tf.complex(a, b))


CASES = [
    Case("square_root", "MatrixSquareRoot", tf.linalg.sqrtm, (stable(2, 3, 3),), order=2),
    Case("square_root_two", "MatrixSquareRoot", tf.linalg.sqrtm, (stable(3, 2, 2),), order=2),
    Case("square_root_loop", "MatrixSquareRoot", tf.linalg.sqrtm, (stable(2, 8, 8),), order=0),
    Case("square_root_complex", "MatrixSquareRoot", complex_square_root, (stable(2, 3, 3), Arg((2, 3, 3))), order=0),
    Case("matrix_exponential", "MatrixSolve", tf.linalg.expm, (Arg((2, 3, 3)),), free=(True,)),
    Case(
        "log_det_spd",
        "Cholesky",
        lambda x: tf.linalg.logdet(x @ tf.linalg.matrix_transpose(x) + 3 * tf.eye(4, dtype=x.dtype)),
        (Arg((2, 4, 4)),),
        order=2,
    ),
    Case("matrix_rank", "Svd", tf.linalg.matrix_rank, (stable(3, 4, 4),), order=0),
]
