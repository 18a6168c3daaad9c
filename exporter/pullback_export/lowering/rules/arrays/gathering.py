"""Elements and rows picked by index (tensorflow/core/kernels/gather_functor.h, gather_nd_op.cc)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.handles import ResourceHandle, as_constant, contents
from pullback_export.lowering.registry import lowers
from pullback_export.precision import check_dtype


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
    return as_constant(op.graph, contents(value))


def _gathered(op: OpContext, x: Value, indices: Value, axis: int, batch: int) -> Value:
    batch = batch + indices.rank if batch < 0 else batch
    if indices.dtype not in (np.int32, np.int64):
        indices = op.cast(indices, np.int64)
    indices = _without_negative(op, indices, op.Reshape(op.sizes([x.dims[axis]]), []))
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
    depth = indices.dims[-1]
    if isinstance(depth, int):
        indices = _without_negative(op, indices, op.sizes(x.dims[:depth]))
    result = op.GatherND(x, indices)
    return result


def _without_negative(op: OpContext, indices: Value, sizes: Value) -> Value:
    """``indices`` with the size of the axis, which is refused, for those below zero; ``sizes`` fits their shape.

    To ONNX they would count from the end; TensorFlow refuses them. Only where a caller decides on them: what a loop or
    an operator counts is never negative.
    """
    if not _is_given(indices):
        return indices
    return op.Where(indices < 0, op.cast(sizes, indices.dtype), indices)


def _is_given(indices: Value) -> bool:
    """Whether inputs of the whole graph decide on ``indices``, other than by what is counted."""
    waiting, seen = [indices], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen or value.const is not None or value.sizes is not None or _is_counted(value):
            continue
        seen.add(id(value))
        if value.node is None and value.graph is value.graph.root:
            return True
        waiting += [item for item in value.node.inputs if item is not None] if value.node is not None else []
    return False


def _is_counted(value: Value) -> bool:
    node = value.node
    if node is None:
        return False
    return node.op_type in ("ArgMax", "ArgMin", "NonZero") or (node.op_type == "TopK" and value is node.outputs[1])
