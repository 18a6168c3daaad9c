"""Matrix products and linear algebra of ``keras.ops``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from tests.lowering.case import Arg, Case


def plain(*shape: int, free: tuple[int, ...] = (0,)) -> Arg:
    return Arg(shape, free=free)


def fixed_size(*shape: int) -> Arg:
    return Arg(shape, free=())


def regular(*shape: int, free: tuple[int, ...] = (0,)) -> Arg:
    """Well-conditioned matrices."""
    return Arg(shape, lambda rng, size: rng.normal(size=size) + np.eye(*size[-2:]) * (2 + size[-1] ** 0.5), free=free)


def positive(x: Any) -> Any:
    return ops.matmul(x, ops.swapaxes(x, -1, -2)) + ops.eye(x.shape[-1], dtype=x.dtype)


def row(
    name: str, function: Callable[..., Any], *args: Arg, order: int = 2, smooth: bool = True, **options: Any
) -> Case:
    return Case(f"keras_{name}", (), function, args, order=order, smooth=smooth, **options)


def svd(x: Any) -> Any:
    """What does not depend on signs."""
    u, s, vt = ops.svd(x, full_matrices=False)
    return s, ops.matmul(u * ops.arange(1, 4, dtype=x.dtype), vt), u * u


def eigh(x: Any) -> Any:
    return ops.eigh(x + ops.swapaxes(x, -1, -2))


def eig(x: Any) -> Any:
    """What does not depend on the order and the phases: sums over all eigenvalues."""
    values, _ = ops.eig(x)
    return ops.real(ops.sum(values * values)), ops.real(ops.sum(ops.exp(values)))


# Keras chooses the branch of inner by tf.cond on ranks: both branches are traced, so the operands must have one shape,
# and the gradient of the branch that is not taken fails in TensorFlow.
ROWS: dict[str, list[Case]] = {
    "matmul": [
        row("matmul", ops.matmul, plain(3, 4, 5), fixed_size(5, 2)),
        row("matmul_batch", ops.matmul, plain(3, 4, 5), plain(3, 5, 2)),
        row("matmul_vector", ops.matmul, plain(3, 5), fixed_size(5)),
        row("matmul_vectors", ops.matmul, fixed_size(5), fixed_size(5)),
    ],
    "dot": [
        row("dot", ops.dot, plain(3, 4), fixed_size(4, 5)),
        row("dot_stack", ops.dot, plain(3, 2, 4), fixed_size(4, 5)),
        row("dot_vector", ops.dot, plain(3, 2, 4), fixed_size(4)),
        row("dot_scalar", ops.dot, plain(3, 4), fixed_size()),
    ],
    "vdot": [row("vdot", ops.vdot, plain(3, 4), plain(3, 4))],
    "inner": [row("inner", ops.inner, fixed_size(3, 4), fixed_size(3, 4), order=0)],
    "outer": [row("outer", ops.outer, plain(3), fixed_size(2, 2))],
    "cross": [
        row("cross", ops.cross, plain(4, 3), plain(4, 3)),
        row("cross_plane", ops.cross, plain(4, 2), plain(4, 2)),
        row("cross_mixed", ops.cross, plain(4, 3), plain(4, 2)),
    ],
    "tensordot": [
        row("tensordot", partial(ops.tensordot, axes=2), plain(3, 4, 5), fixed_size(4, 5, 2)),
        row(
            "tensordot_axes",
            partial(ops.tensordot, axes=[[2, 0], [0, 2]]),
            plain(3, 2, 5, free=(1,)),
            fixed_size(5, 4, 3),
        ),
    ],
    "einsum": [
        row("einsum", partial(ops.einsum, "bij,jk->bik"), plain(3, 2, 4), fixed_size(4, 5)),
        row("einsum_ellipsis", partial(ops.einsum, "...ij,...jk->...ik"), plain(3, 2, 4), plain(3, 4, 5)),
        row("einsum_trace", partial(ops.einsum, "bii->b"), plain(3, 4, 4)),
        row("einsum_three", partial(ops.einsum, "bi,ij,bj->b"), plain(3, 4), fixed_size(4, 5), plain(3, 5)),
    ],
    "trace": [
        row("trace", ops.trace, plain(4, 4, free=())),
        row("trace_axes", partial(ops.trace, axis1=1, axis2=2), plain(3, 4, 4)),
    ],
    "cholesky": [
        row("cholesky", lambda x: ops.cholesky(positive(x)), plain(3, 4, 4)),
        row("cholesky_upper", lambda x: ops.cholesky(positive(x), upper=True), plain(3, 4, 4)),
    ],
    "cholesky_inverse": [
        row("cholesky_inverse", lambda x: ops.cholesky_inverse(ops.cholesky(positive(x))), fixed_size(4, 4)),
        row("cholesky_inverse_upper", partial(ops.cholesky_inverse, upper=True), regular(4, 4, free=())),
    ],
    "det": [row("det", ops.det, regular(3, 4, 4))],
    "inv": [row("inv", ops.inv, regular(3, 4, 4)), row("inv_large", ops.inv, regular(2, 9, 9))],
    "logdet": [row("logdet", lambda x: ops.logdet(positive(x)), plain(3, 4, 4))],
    "slogdet": [row("slogdet", ops.slogdet, regular(3, 4, 4))],
    "solve": [
        row("solve", ops.solve, regular(3, 4, 4), plain(3, 4, 2)),
        row("solve_vector", ops.solve, regular(3, 4, 4), plain(3, 4)),
    ],
    "solve_triangular": [
        row("solve_triangular", ops.solve_triangular, regular(3, 4, 4), plain(3, 4, 2)),
        row("solve_triangular_lower", partial(ops.solve_triangular, lower=True), regular(3, 4, 4), plain(3, 4)),
    ],
    "lu_factor": [row("lu_factor", ops.lu_factor, regular(4, 4, free=()), order=0)],
    "qr": [
        row("qr", ops.qr, plain(3, 5, 3)),
        row("qr_wide", ops.qr, plain(3, 3, 5)),
        row("qr_complete", partial(ops.qr, mode="complete"), plain(3, 4, 4)),
    ],
    "eigh": [row("eigh", eigh, plain(3, 4, 4)), row("eigh_large", eigh, plain(2, 9, 9), order=1)],
    "eig": [row("eig", eig, fixed_size(4, 4), order=1)],
    "svd": [
        row("svd", svd, plain(3, 5, 3)),
        row("svd_wide", svd, plain(3, 3, 4)),
        row("svd_values", partial(ops.svd, compute_uv=False), plain(3, 4, 4)),
    ],
    "pinv": [row("pinv", ops.pinv, plain(3, 5, 3))],
    "lstsq": [
        row("lstsq", ops.lstsq, fixed_size(5, 3), fixed_size(5, 2)),
        row("lstsq_wide", ops.lstsq, fixed_size(3, 5), fixed_size(3)),
    ],
    "matrix_rank": [row("matrix_rank", ops.matrix_rank, regular(3, 4, 4), order=0)],
    "norm": [
        row("norm", ops.norm, plain(3, 4)),
        row("norm_axis", partial(ops.norm, axis=-1), plain(3, 4)),
        row("norm_one", partial(ops.norm, ord=1, axis=1), plain(3, 4), order=1),
        row("norm_three", partial(ops.norm, ord=3, axis=-1, keepdims=True), plain(3, 4)),
        row("norm_infinity", partial(ops.norm, ord=np.inf, axis=1), plain(3, 4), order=1),
        row("norm_minus_infinity", partial(ops.norm, ord=-np.inf, axis=1), plain(3, 4), order=1),
        row("norm_matrix_one", partial(ops.norm, ord=1, axis=(1, 2)), plain(3, 4, 5), order=1),
        row("norm_matrix_infinity", partial(ops.norm, ord=np.inf, axis=(-1, -2)), plain(3, 4, 5), order=1),
        row("norm_matrix_minus_one", partial(ops.norm, ord=-1, axis=(1, 2)), plain(3, 4, 5), order=1),
        row("norm_frobenius", partial(ops.norm, ord="fro", axis=(1, 2)), plain(3, 4, 5)),
        row("norm_nuclear", partial(ops.norm, ord="nuc", axis=(1, 2)), plain(3, 4, 5)),
        row("norm_spectral", partial(ops.norm, ord=2, axis=(1, 2), keepdims=True), plain(3, 4, 5)),
        row("norm_smallest", partial(ops.norm, ord=-2, axis=(1, 2)), plain(3, 4, 5)),
    ],
}
