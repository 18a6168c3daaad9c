"""Eigenvalue and singular value decompositions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.lowering.complex import ComplexValue
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.matrices import as_batch, unbatch
from pullback_export.lowering.registry import lowers
from pullback_export.lowering.symmetric_eigen import eigh


@lowers("SelfAdjointEigV2")
def self_adjoint_eig(op: OpContext, a: Any) -> list[Any]:
    """Ascending eigenvalues and eigenvectors, from the lower triangle; in TensorFlow's dtype, complex for complex."""
    wanted = bool(op.attr("compute_v"))
    values, vectors = eigh(op, as_batch(op, a), wanted)
    values = unbatch(op, values, a)
    if isinstance(a, ComplexValue):
        none = op.const(np.zeros(0), a.real.dtype)
        return [ComplexValue(values, op.full_like(values, 0)), unbatch(op, vectors, a) if wanted else ComplexValue(none, none)]
    return [values, unbatch(op, vectors, a) if wanted else op.const(np.zeros(0), a.dtype)]
