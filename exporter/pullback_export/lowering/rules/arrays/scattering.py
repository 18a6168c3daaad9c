"""Values added to, or put at, given indices (tensorflow/core/kernels/scatter_nd_op.cc)."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.registry import lowers


@lowers("ScatterNd", complex_parts=True)
def scatter_nd(op: OpContext, indices: Value, updates: Value, shape: Value) -> Value:
    """Zeros of ``shape`` with ``updates`` added at ``indices``; equal indices add up."""
    zeros = op.Expand(op.const(0, _summed(updates)), shape)
    return op.cast(_scattered(op, zeros, indices, op.cast(updates, zeros.dtype), "add"), updates.dtype)


@lowers("ScatterNdNonAliasingAdd", "TensorScatterAdd", complex_parts=True)
def tensor_scatter_add(op: OpContext, x: Value, indices: Value, updates: Value) -> Value:
    """``x`` with ``updates`` added at ``indices``; equal indices add up."""
    return _scattered(op, x, indices, updates, "add")


@lowers("TensorScatterSub", complex_parts=True)
def tensor_scatter_sub(op: OpContext, x: Value, indices: Value, updates: Value) -> Value:
    """``x`` with ``updates`` subtracted at ``indices``; equal indices add up."""
    return _scattered(op, x, indices, -updates, "add")


@lowers("TensorScatterUpdate", complex_parts=True)
def tensor_scatter_update(op: OpContext, x: Value, indices: Value, updates: Value) -> Value:
    """``x`` with ``updates`` put at ``indices``; of equal indices the last one stays."""
    return _scattered(op, x, indices, updates, "none")


@lowers("TensorScatterMax")
def tensor_scatter_max(op: OpContext, x: Value, indices: Value, updates: Value) -> Value:
    """``x`` with the maximum of itself and ``updates`` at ``indices``."""
    return _scattered(op, x, indices, updates, "max")


@lowers("TensorScatterMin")
def tensor_scatter_min(op: OpContext, x: Value, indices: Value, updates: Value) -> Value:
    """``x`` with the minimum of itself and ``updates`` at ``indices``."""
    return _scattered(op, x, indices, updates, "min")


@lowers("Empty")
def empty(op: OpContext, shape: Value) -> Value:
    """A tensor whose contents do not count until they are written: zeros."""
    return op.full(shape, 0, op.output_dtype())


@lowers("InplaceUpdate")
def inplace_update(op: OpContext, x: Value, rows: Value, values: Value) -> Value:
    """``x`` with ``values`` for its ``rows``; of equal rows the last one stays."""
    return _scattered(op, x, op.Unsqueeze(op.cast(rows, np.int64), [1]), values, "none")


def _summed(value: Value) -> np.dtype[np.generic]:
    """Booleans are summed as integers (any of them true)."""
    return np.dtype(np.int32) if value.dtype == bool else value.dtype


def _scattered(op: OpContext, x: Value, indices: Value, updates: Value, reduction: str) -> Value:
    result: Value = op.ScatterND(x, indices, updates, reduction=reduction)
    return result
