"""Functions of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of
from pullback_export.lowering.numerics.matrices.batches import absolute, as_batch, identity, repeat_while, unbatch
from pullback_export.lowering.numerics.matrices.factorization import inverse
from pullback_export.lowering.registry import lowers

# Each step divides large eigenvalues of M by four, so that this reaches every matrix that has digits left.
STEPS = 60


@lowers("MatrixSquareRoot")
def matrix_square_root(op: OpContext, a: Any) -> Any:
    """The principal square root, by the product form of the Denman-Beavers iteration: ``M -> (2 I + M + M**-1) / 4``
    and ``X -> X (I + M**-1) / 2`` from ``M = X = a`` until M is the identity. No meaning where ``a`` has none, that is
    for negative eigenvalues.
    """
    batch = as_batch(op, a)
    n, dtype = real_of(a).dims[-1], real_of(a).dtype
    eye = op.Unsqueeze(identity(op, n, dtype), [0])
    limit = float(np.finfo(dtype).eps) * 4

    def plus(x: Any, factor: float) -> Any:
        return ComplexValue(x.real + eye * factor, x.imag) if isinstance(x, ComplexValue) else x + eye * factor

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        m, x = state
        inverted = inverse(op, m)
        new_m = each(lambda part: part * 0.25, plus(m + inverted, 2.0))
        new_x = each(lambda part: part * 0.5, x @ plus(inverted, 1.0))
        distance = op.ReduceSum(op.ReduceMax(absolute(op, plus(new_m, -1.0)), [1, 2], keepdims=0), keepdims=0)
        return [new_m, new_x], [distance > limit]

    return unbatch(op, repeat_while(op, STEPS, [batch, batch], step)[1], a)
