"""Elements and rows picked by index (tensorflow/core/kernels/gather_functor.h, gather_nd_op.cc)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.convert import ResourceHandle, as_constant, check_dtype
from pullback_export.lowering.graph import Value
from pullback_export.lowering.registry import lowers


@lowers("Gather", complex_parts=True)
def gather(op: OpContext, x: Value, indices: Value) -> Value:
    """``x[indices]``. An index out of range is an error in TensorFlow."""
    return _gathered(op, x, indices, 0, 0)


@lowers("GatherV2", complex_parts=True)
def gather_v2(op: OpContext, x: Value, indices: Value, axis: Value) -> Value:
    """``x[..., indices, ...]`` along ``axis``, the first ``batch_dims`` axes of both taken together."""
    at = int(op.constant_of(axis, "the axis")) % x.rank
    return _gathered(op, x, indices, at, int(op.attr("batch_dims")))


@lowers("ResourceGather", complex_parts=True)
def resource_gather(op: OpContext, handle: ResourceHandle, indices: Value) -> Value:
    """Rows of a variable, as it is at export."""
    table = _contents(op, handle)
    return _gathered(op, table, indices, 0, int(op.attr("batch_dims")))


def _contents(op: OpContext, handle: ResourceHandle) -> Any:
    check_dtype(op.tf_op.outputs[0].dtype)
    value = tf.raw_ops.ReadVariableOp(resource=handle.tensor, dtype=op.tf_op.get_attr("dtype"))
    return as_constant(op.graph, value.numpy())


def _gathered(op: OpContext, x: Value, indices: Value, axis: int, batch: int) -> Value:
    batch = batch + indices.rank if batch < 0 else batch
    if indices.dtype not in (np.int32, np.int64):
        indices = op.cast(indices, np.int64)
    if batch == 0:
        result: Value = op.Gather(x, indices, axis=axis)
        return result
    between = list(range(batch, axis))
    front = op.transpose(x, [*range(batch), axis, *between, *range(axis + 1, x.rank)])
    picked = op.GatherND(front, op.Unsqueeze(indices, [indices.rank]), batch_dims=batch)
    inner = list(range(batch, indices.rank))
    moved = [len(inner) + position for position in between]
    rest = range(indices.rank + len(between), picked.rank)
    return op.transpose(picked, [*range(batch), *moved, *inner, *rest])


@lowers("GatherNd", complex_parts=True)
def gather_nd(op: OpContext, x: Value, indices: Value) -> Value:
    """``x[indices[..., 0], indices[..., 1], ...]``; an empty index vector takes the whole of ``x``."""
    return _gathered_nd(op, x, indices)


@lowers("ResourceGatherNd", complex_parts=True)
def resource_gather_nd(op: OpContext, handle: ResourceHandle, indices: Value) -> Value:
    """``GatherNd`` of a variable, as it is at export."""
    return _gathered_nd(op, _contents(op, handle), indices)


def _gathered_nd(op: OpContext, x: Value, indices: Value) -> Value:
    if indices.dims[-1] == 0:
        target = op.Concat(op.sizes(indices.dims[:-1]), op.shape_of(x), axis=0)
        result: Value = op.Expand(x, target)
        return result
    result = op.GatherND(x, indices)
    return result
