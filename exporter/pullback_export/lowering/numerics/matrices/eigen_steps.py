"""What the eigenvalue algorithms of symmetric and of general matrices have in common, in the steps of Eigen."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import conj, each, real_of
from pullback_export.lowering.numerics.matrices.batches import adjoint, column, indices, repeat, transpose_matrix
from pullback_export.lowering.numerics.matrices.factorization import Reflections, reflect, reflector

# Eigen gives up after so many sweeps for each row.
SWEEPS = 30


def reduced(op: OpContext, a: Any) -> tuple[Any, Reflections]:
    """``q^H a q`` without entries below its first subdiagonal, and the reflections that ``q`` is made of.

    Of a symmetric ``a`` it is tridiagonal. ``a`` is ``(batch, n, n)`` with ``n > 1``.
    """

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        v, tau = reflector(op, column(op, state[0], k), k + 1)
        left = reflect(op, state[0], v, conj(tau))
        both = adjoint(op, reflect(op, adjoint(op, left), v, conj(tau)))
        return [both], [v, each(lambda part: op.Squeeze(part, [1]), tau)]

    (t,), (v, tau) = repeat(op, real_of(a).dims[1] + (-1), [a], step)
    return t, Reflections(v, tau, t)


def last_block(op: OpContext, gap: Value) -> tuple[Value, Value]:
    """``start`` and ``end``, ``(batch, 1)``, of the last block that is not reduced; ``gap``: the subdiagonal is 0.

    ``end`` is after the last entry that is not zero, ``start`` after the last zero before it.
    """
    place = op.Unsqueeze(indices(op, gap.dims[1]), [0])
    one, nothing = op.const(1, np.int64), op.const(0, np.int64)
    end = op.ReduceMax(op.Where(gap, nothing, place + one), [1], keepdims=1)
    before = gap & (place < end - 1)
    return op.ReduceMax(op.Where(before, place + one, nothing), [1], keepdims=1), end


def columns_in(op: OpContext, order: Value, vectors: Any) -> Any:
    """The columns of ``vectors (batch, n, n)`` in the order of ``order (batch, n)``."""
    index = op.Unsqueeze(order, [2])
    rows = each(lambda part: op.GatherND(op.transpose(part, [0, 2, 1]), index, batch_dims=1), vectors)
    return transpose_matrix(op, rows)
