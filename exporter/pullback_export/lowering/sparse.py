"""Sparse tensors as three dense ones: indices, values and shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.lowering.complex import each, real_of
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.graph import Value
from pullback_export.lowering.matrices import adjoint, conj, unsqueeze
from pullback_export.lowering.registry import lowers


@lowers("SparseTensorDenseMatMul")
def sparse_dense_matmul(op: OpContext, indices: Value, values: Any, shape: Value, b: Any) -> Any:
    """``y_i += a_ij b_j`` over the stored entries, adjoint operands where asked for; entries may repeat."""
    turned = bool(op.attr("adjoint_a"))
    b = adjoint(op, b) if op.attr("adjoint_b") else b
    rows, columns = (op.Gather(indices, op.const([at], np.int64), axis=1) for at in ((1, 0) if turned else (0, 1)))
    index = op.cast(op.Reshape(columns, [-1]), np.int64)
    parts = unsqueeze(op, conj(values) if turned else values, 1) * each(lambda part: op.Gather(part, index, axis=0), b)
    rows_of_result = op.Slice(shape, [1 if turned else 0], [2 if turned else 1], [0])
    target = op.Concat(op.cast(rows_of_result, np.int64), op.sizes([real_of(b).dims[1]]), axis=0)
    zeros = op.full(target, 0, real_of(b).dtype)
    return each(lambda part: op.ScatterND(zeros, op.cast(rows, np.int64), part, reduction="add"), parts)


@lowers("SparseToDense")
def sparse_to_dense(op: OpContext, indices: Value, shape: Value, values: Value, default: Value) -> Value:
    """``default`` everywhere but at ``indices`` (a matrix, or a vector of positions, or one position)."""
    background = op.Expand(default, op.cast(shape, np.int64))
    index = op.cast(indices, np.int64)
    if index.rank < 2:
        index = op.Reshape(index, [-1, 1] if index.rank == 1 else [1, 1])
    count = op.Slice(op.shape_of(index), [0], [1], [0])
    return op.ScatterND(background, index, op.Expand(values, count) if values.rank == 0 else values)
