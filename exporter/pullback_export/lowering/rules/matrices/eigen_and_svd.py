"""Eigenvalue and singular value decompositions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, real_of
from pullback_export.lowering.numerics.matrices.batches import as_batch, unbatch
from pullback_export.lowering.numerics.matrices.schur import eig
from pullback_export.lowering.numerics.matrices.singular import singular_values, svd
from pullback_export.lowering.numerics.matrices.symmetric_eigen import eigh
from pullback_export.lowering.registry import lowers


@lowers("SelfAdjointEigV2")
def self_adjoint_eig(op: OpContext, a: Any) -> list[Any]:
    """Ascending eigenvalues and eigenvectors, from the lower triangle; in TensorFlow's dtype, complex for complex."""
    wanted = bool(op.attr("compute_v"))
    values, vectors = eigh(op, as_batch(op, a), wanted)
    values = unbatch(op, values, a)
    if isinstance(a, ComplexValue):
        none = op.const(np.zeros(0), a.real.dtype)
        complex_values = ComplexValue(values, op.full_like(values, 0))
        return [complex_values, unbatch(op, vectors, a) if wanted else ComplexValue(none, none)]
    return [values, unbatch(op, vectors, a) if wanted else op.const(np.zeros(0), a.dtype)]


@lowers("Svd")
def svd_rule(op: OpContext, a: Any) -> list[Any]:
    """Descending singular values, and u and v with ``a = u diag(s) v^H``, whose common signs are not TensorFlow's."""
    if not all(isinstance(size, int) for size in real_of(a).dims[-2:]):
        raise op.unsupported("the size of the matrix is free; fix it in the input's shape")
    batch = as_batch(op, a)
    if op.attr("compute_uv"):
        s, u, v = svd(op, batch, bool(op.attr("full_matrices")))
        u, v = unbatch(op, u, a), unbatch(op, v, a)
    else:
        s = singular_values(op, batch)
        none = op.const(np.zeros(0), s.dtype)
        u = v = ComplexValue(none, none) if isinstance(a, ComplexValue) else none
    s = unbatch(op, s, a)
    return [ComplexValue(s, op.full_like(s, 0)) if isinstance(a, ComplexValue) else s, u, v]


@lowers("Eig")
def eig_rule(op: OpContext, a: Any) -> list[Any]:
    """Eigenvalues of general matrices in the order of their magnitude, which is not TensorFlow's, and eigenvectors of
    length 1.
    """
    values, vectors = eig(op, as_batch(op, a))
    none = op.const(np.zeros(0), values.real.dtype)
    return [unbatch(op, values, a), unbatch(op, vectors, a) if op.attr("compute_v") else ComplexValue(none, none)]
