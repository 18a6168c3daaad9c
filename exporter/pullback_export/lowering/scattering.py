"""Values added to, or put at, given indices (tensorflow/core/kernels/scatter_nd_op.cc)."""

from __future__ import annotations

import numpy as np

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.dims import product
from pullback_export.lowering.graph import Value
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


def _summed(value: Value) -> np.dtype[np.generic]:
    """Booleans are summed as integers (any of them true)."""
    return np.dtype(np.int32) if value.dtype == bool else value.dtype


def _scattered(op: OpContext, x: Value, indices: Value, updates: Value, reduction: str) -> Value:
    if indices.dims[-1] == 0:
        return _everywhere(op, x, indices, updates, reduction)
    result: Value = op.ScatterND(x, indices, updates, reduction=reduction)
    return result


def _everywhere(op: OpContext, x: Value, indices: Value, updates: Value, reduction: str) -> Value:
    """Index vectors of length 0: every update has the shape of ``x`` and goes to the whole of it."""
    flat = op.reshape(updates, [product(indices.dims[:-1]), *x.dims])
    if reduction == "none":
        last: Value = op.Gather(flat, op.const(-1, np.int64), axis=0)
        return last
    both = op.Concat(op.Unsqueeze(x, [0]), flat, axis=0)
    name = {"add": "ReduceSum", "max": "ReduceMax", "min": "ReduceMin"}[reduction]
    result: Value = getattr(op, name)(both, [0], keepdims=0)
    return result
