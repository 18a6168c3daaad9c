"""Sparse tensors as three dense ones: indices, values and shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import each, real_of
from pullback_export.lowering.numerics.matrices.batches import adjoint, conj, unsqueeze
from pullback_export.lowering.registry import lowers


@lowers("SparseTensorDenseMatMul")
def sparse_dense_matmul(op: OpContext, indices: Value, values: Any, shape: Value, b: Any) -> Any:
    """``y_i += a_ij b_j`` over the stored entries, adjoint operands where requested; entries may repeat."""
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


@lowers("SparseTensorDenseAdd", complex_parts=True)
def sparse_dense_add(op: OpContext, indices: Value, values: Value, shape: Value, b: Value) -> Value:
    """``b`` with ``values`` added at ``indices``; entries may repeat."""
    result: Value = op.ScatterND(b, op.cast(indices, np.int64), values, reduction="add")
    return result


@lowers("SparseReduceSum")
def sparse_reduce_sum(op: OpContext, indices: Value, values: Value, shape: Value, axes: Value) -> Value:
    """The sum over ``axes`` as a dense tensor; no axes: over all of them."""
    zeros = op.Expand(op.const(0, values.dtype), op.cast(shape, np.int64))
    dense = op.ScatterND(zeros, indices, values, reduction="add")
    over = op.constant_of(axes, "the axes").ravel().tolist()
    result: Value = op.ReduceSum(dense, over or list(range(dense.rank)), keepdims=int(op.attr("keep_dims")))
    return result


@lowers("SparseReorder")
def sparse_reorder(op: OpContext, indices: Value, values: Any, shape: Value) -> list[Any]:
    """The entries in row-major order of their indices; equal indices stay in their order."""
    keys = _positions(op, indices, shape, _rank(op, indices))
    count = op.Slice(op.shape_of(indices), [0], [1], [0])
    order = op.TopK(keys, count, axis=0, largest=0, sorted=1, outputs=2)[1]
    return [op.Gather(indices, order, axis=0), each(lambda part: op.Gather(part, order, axis=0), values)]


@lowers("SparseSoftmax")
def sparse_softmax(op: OpContext, indices: Value, values: Value, shape: Value) -> Value:
    """The softmax of the stored entries of each row, the last axis; what is not stored does not count."""
    rows = op.Unsqueeze(_positions(op, indices, shape, _rank(op, indices) - 1), [1])
    leading = op.Slice(op.cast(shape, np.int64), [0], [-1], [0])
    count = op.ReduceProd(leading, [0], keepdims=1)
    lowest = op.Expand(op.const(np.finfo(values.dtype).min, values.dtype), count)
    largest = op.ScatterND(lowest, rows, values, reduction="max")
    powers = op.Exp(values - op.GatherND(largest, rows))
    totals = op.ScatterND(op.Expand(op.const(0, values.dtype), count), rows, powers, reduction="add")
    return powers / op.GatherND(totals, rows)


@lowers("SparseDenseCwiseMul", "SparseDenseCwiseDiv", "SparseDenseCwiseAdd")
def sparse_dense_cwise(op: OpContext, indices: Value, values: Value, shape: Value, dense: Value) -> Value:
    """``values * d``, ``values / d`` or ``values + d``, where ``d`` is ``dense``, broadcast, at ``indices``."""
    there = op.GatherND(op.Expand(dense, op.cast(shape, np.int64)), indices)
    kind = op.type.removeprefix("SparseDenseCwise")
    return values * there if kind == "Mul" else values / there if kind == "Div" else values + there


def _rank(op: OpContext, indices: Value) -> int:
    rank = indices.dims[1]
    if not isinstance(rank, int):
        raise op.unsupported("the rank of the sparse tensor is unknown; give its dense_shape a fixed length")
    return rank


def _positions(op: OpContext, indices: Value, shape: Value, axes: int) -> Value:
    """The row-major position that the first ``axes`` of each index make, as a vector."""
    sizes = op.cast(shape, np.int64)
    if axes == 0:
        return op.full(op.Slice(op.shape_of(indices), [0], [1], [0]), 0, np.int64)
    total = op.Gather(indices, np.array(0), axis=1)
    for axis in range(1, axes):
        total = total * op.Gather(sizes, np.array(axis)) + op.Gather(indices, np.array(axis), axis=1)
    return total
