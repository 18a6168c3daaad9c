"""Rows for ``lowering/spectrum.py``: eigenvalues and singular values."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed


def plain(*shape: int, free: tuple[int, ...] = (0,)) -> Arg:
    return Arg(shape, free=free)


def symmetric(x: Any) -> Any:
    return x + tf.linalg.adjoint(x)


def eigh(x: Any) -> Any:
    return tf.linalg.eigh(symmetric(x))


def complex_eigh(a: Any, b: Any) -> Any:
    values, vectors = tf.linalg.eigh(symmetric(tf.complex(a, b)))
    return tf.math.real(values), vectors @ tf.linalg.adjoint(vectors * tf.constant([1.0, 2.0, 3.0, 4.0], values.dtype))


EIGH_ROWS = [
    Case("eigh", "SelfAdjointEigV2", eigh, (plain(3, 4, 4),), order=2),
    Case("eigh_two", "SelfAdjointEigV2", eigh, (plain(5, 2, 2),), order=2),
    Case("eigh_one", "SelfAdjointEigV2", eigh, (plain(3, 1, 1),)),
    Case("eigh_three", "SelfAdjointEigV2", eigh, (plain(2, 2, 3, 3),), order=2),
    Case("eigh_matrix", "SelfAdjointEigV2", eigh, (plain(5, 5, free=()),), order=2),
    Case("eigh_loop", "SelfAdjointEigV2", eigh, (plain(2, 12, 12),)),
    Case("eigh_free_size", "SelfAdjointEigV2", eigh, (plain(2, 8, 8, free=(0, 1, 2)),)),
    Case("eigh_values", "SelfAdjointEigV2", lambda x: tf.linalg.eigvalsh(symmetric(x)), (plain(3, 5, 5),), order=2),
    Case("eigh_none", "SelfAdjointEigV2", eigh, (plain(0, 3, 3),), smooth=False),
    Case(
        "eigh_diagonal",
        "SelfAdjointEigV2",
        tf.linalg.eigh,
        (fixed([np.diag([3.0, -1.0, 2.0]), np.diag([1.0, 2.0, 5.0])]),),
        smooth=False,
    ),
    Case(
        "eigh_lower_only",
        "SelfAdjointEigV2",
        tf.linalg.eigh,
        (fixed([[[1.0, 9.0, 9.0], [2.0, 3.0, 9.0], [4.0, 5.0, 6.0]]]),),
        smooth=False,
    ),
    Case(
        "eigh_blocks",
        "SelfAdjointEigV2",
        tf.linalg.eigh,
        (fixed([[[2.0, 1.0, 0.0, 0.0], [1.0, 3.0, 0.0, 0.0], [0.0, 0.0, -1.0, 4.0], [0.0, 0.0, 4.0, 5.0]]]),),
        smooth=False,
    ),
    Case("eigh_zero", "SelfAdjointEigV2", tf.linalg.eigh, (fixed(np.zeros((1, 3, 3))),), order=0),
    Case("eigh_complex", "SelfAdjointEigV2", complex_eigh, (plain(2, 4, 4), plain(2, 4, 4)), smooth=False),
]


def svd(full: bool = False) -> Callable[..., Any]:
    """Functions of s, u and v that do not depend on signs."""

    def function(x: Any) -> Any:
        s, u, v = tf.linalg.svd(x, full_matrices=full)
        size = min(x.shape[-2:])
        weighted = u[..., :size] * tf.cast(tf.range(1, size + 1), x.dtype)
        return s, u * u, weighted @ tf.linalg.adjoint(v[..., :size])

    return function


def svd_complex(a: Any, b: Any) -> Any:
    s, u, v = tf.linalg.svd(tf.complex(a, b))
    return tf.math.real(s), u @ tf.linalg.adjoint(v), tf.abs(u)


SVD_ROWS = [
    Case("svd", "Svd", svd(), (plain(3, 4, 4),), order=2),
    Case("svd_one_column", "Svd", svd(), (plain(3, 4, 1),), order=2),
    Case("svd_two", "Svd", svd(), (plain(4, 2, 2),), order=2),
    Case("svd_odd", "Svd", svd(), (plain(2, 3, 3),), order=2),
    Case("svd_deep", "Svd", svd(), (plain(3, 6, 3),), order=2),
    Case("svd_wide", "Svd", svd(), (plain(3, 3, 5),), order=2),
    Case("svd_matrix", "Svd", svd(), (plain(5, 4, free=()),), order=2),
    Case("svd_loop", "Svd", svd(), (plain(2, 2, 12, 11),)),
    Case(
        "svd_large",
        "Svd",
        svd(),
        (Arg((1, 24, 24), lambda rng, size: rng.normal(size=size) + 4 * np.diag(np.arange(24.0))),),
    ),
    Case("svd_full", "Svd", svd(True), (plain(3, 4, 4),)),
    Case("svd_full_deep", "Svd", svd(True), (plain(3, 5, 4),)),
    Case("svd_full_wide", "Svd", svd(True), (plain(3, 4, 5),)),
    Case("svd_values", "Svd", partial(tf.linalg.svd, compute_uv=False), (plain(3, 5, 4),), order=2),
    Case("svd_none", "Svd", svd(), (plain(0, 3, 3),), smooth=False),
    Case(
        "svd_rank_deficient",
        "Svd",
        lambda x: tf.linalg.svd(x)[0],
        (fixed([[[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]] * 3]),),
        order=0,
    ),
    Case("svd_pinv", "Svd", tf.linalg.pinv, (plain(3, 5, 3),), order=2),
    Case("svd_complex", "Svd", svd_complex, (plain(2, 4, 3), plain(2, 4, 3)), smooth=False),
]


def eig(x: Any) -> Any:
    """``(1 + x)**-1`` and magnitudes of eigenvectors: no order and no phase changes them."""
    values, vectors = tf.linalg.eig(x)
    function = vectors @ tf.linalg.diag(1 / (1 + values)) @ tf.linalg.inv(vectors)
    return tf.math.real(function), tf.reduce_sum(tf.abs(vectors) ** 4, axis=-1)


def eig_symmetric_functions(x: Any) -> Any:
    """Sums over all eigenvalues, which no order changes."""
    values = tf.linalg.eigvals(x)
    return tf.math.real(tf.reduce_sum(values * values * values)), tf.math.real(tf.reduce_sum(tf.exp(values)))


def real_spectrum(*shape: int) -> Arg:
    """Real eigenvalues that are well apart."""
    return Arg(shape, lambda rng, size: 0.1 * rng.normal(size=size) + np.diag(1.5 * np.arange(1.0, size[-1] + 1)))


ROUNDING: dict[str, Any] = {
    "tolerance": {"float32": 5e-5},
    "reason": "the gradient divides by differences of eigenvalues, which float32 rounds in TensorFlow as well as here",
}
EIG_ROWS = [
    Case("eig", "Eig", eig, (real_spectrum(3, 4, 4),), smooth=False),
    Case("eig_two", "Eig", eig, (real_spectrum(3, 2, 2),), smooth=False),
    Case("eig_one", "Eig", eig, (real_spectrum(3, 1, 1),), smooth=False),
    Case("eig_loop", "Eig", eig, (real_spectrum(2, 9, 9),), smooth=False, **ROUNDING),
    Case("eig_pairs", "Eig", eig_symmetric_functions, (plain(3, 5, 5),), smooth=False),
    Case(
        "eig_cycle",
        "Eig",
        eig_symmetric_functions,
        (fixed([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]),),
        smooth=False,
    ),
    Case(
        "eig_complex", "Eig", lambda a, b: eig(tf.complex(a, b)), (real_spectrum(2, 4, 4), plain(2, 4, 4)), smooth=False
    ),
    Case(
        "eig_free_size",
        "Eig",
        eig,
        (Arg((2, 8, 8), real_spectrum(1, 1).draw, free=(0, 1, 2)),),
        smooth=False,
        **ROUNDING,
    ),
]

CASES = [*EIGH_ROWS, *SVD_ROWS, *EIG_ROWS]
