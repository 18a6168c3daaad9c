"""Set operations on rows: the last axis of each operand lists the elements of a set, in any order and repeated or not.

Results are sparse, each row in ascending order, as https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/
kernels/set_kernels.cc gives them.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.registry import lowers


@lowers("DenseToDenseSetOperation")
def dense_to_dense_set_operation(op: OpContext, one: Value, other: Value) -> list[Value]:
    """``a-b``, ``b-a``, ``intersection`` or ``union`` of the rows of two tensors with equal leading axes."""
    kind, dtype = op.attr("set_operation"), op.output_dtype(1)
    if one.dtype.kind not in "iu":
        raise op.unsupported(f"sets of {one.dtype.name}; sets of integers are exported")
    first, second = (_rows(op, value) for value in ((other, one) if kind == "b-a" else (one, other)))
    candidates = op.Concat(first, second, axis=1) if kind == "union" else first
    ordered, chosen = _ascending(op, candidates)
    if kind != "union":
        found = op.Unsqueeze(ordered, [2]).equals(op.Unsqueeze(second, [1]))
        among = op.ReduceSum(op.cast(found, np.int64), [2], keepdims=0) > 0
        chosen = chosen & (among if kind == "intersection" else ~among)
    counted = op.cast(chosen, np.int64)
    places = op.Transpose(op.NonZero(chosen), perm=[1, 0])
    values = op.cast(op.GatherND(ordered, places), dtype)
    position = op.GatherND(op.CumSum(counted, op.const(1, np.int64)) - 1, places)
    leading = op.Slice(op.shape_of(one), [0], [-1], [0])
    row = op.Slice(places, [0], [1], [1])
    indices = op.Concat(*_leading_indices(op, row, leading, one.rank - 1), op.Unsqueeze(position, [1]), axis=1)
    lengths = op.Concat(op.ReduceSum(counted, [1], keepdims=0), [0], axis=0)  # of no rows, the largest is 0
    return [indices, values, op.Concat(leading, op.ReduceMax(lengths, [0], keepdims=1), axis=0)]


@lowers("SetSize")
def set_size(op: OpContext, indices: Value, values: Value, shape: Value) -> Value:
    """How many different elements the set of each row has, int32."""
    rank = indices.dims[1]
    if not isinstance(rank, int) or values.dtype.kind not in "iu":
        raise op.unsupported("sets of integers whose number of axes is known are exported")
    leading = op.Slice(op.cast(shape, np.int64), [0], [rank - 1], [0])
    row = op.Unsqueeze(op.const(0, np.int64), [0])
    rows = op.Expand(op.Unsqueeze(row, [1]), op.Concat(op.Slice(op.shape_of(indices), [0], [1], [0]), [1], axis=0))
    for axis in range(rank - 1):
        size = op.Slice(leading, [axis], [axis + 1], [0])
        rows = rows * size + op.Slice(indices, [axis], [axis + 1], [1])
    pairs = op.Concat(rows, op.cast(op.Unsqueeze(values, [1]), np.int64), axis=1)
    no_row = op.const([[-1, 0]], np.int64)  # ``Unique`` of nothing is not left to kernels
    different = op.Unique(op.Concat(no_row, pairs, axis=0), axis=0, sorted=1)
    row = op.Slice(different, [0], [1], [1]) + 1
    count = op.ReduceProd(leading, [0], keepdims=1) + 1
    sizes = op.ScatterND(op.full(count, 0, np.int64), row, op.full_like(op.Squeeze(row, [1]), 1), reduction="add")
    result: Value = op.cast(op.Reshape(op.Slice(sizes, [1], [2**62], [0]), leading, allowzero=1), np.int32)
    return result


def _rows(op: OpContext, value: Value) -> Value:
    """``(rows, elements)``, int64."""
    rank = value.rank
    if rank == 2:
        return op.cast(value, np.int64)
    shape = op.shape_of(value)
    rows = op.ReduceProd(op.Slice(shape, [0], [-1], [0]), [0], keepdims=1)
    flat = op.Reshape(value, op.Concat(rows, op.Slice(shape, [rank - 1], [rank], [0]), axis=0), allowzero=1)
    return op.cast(flat, np.int64)


def _ascending(op: OpContext, rows: Value) -> tuple[Value, Value]:
    """Each row in ascending order, and where an element is another one than that before it."""
    count = op.Slice(op.shape_of(rows), [1], [2], [0])
    ordered = op.TopK(rows, count, axis=1, largest=0, sorted=1, outputs=2)[0]
    start = op.Slice(ordered, [0], [1], [1])
    changes = ~op.Slice(ordered, [1], [2**62], [1]).equals(op.Slice(ordered, [0], [-1], [1]))
    return ordered, op.Concat(start.equals(start), changes, axis=1)


def _leading_indices(op: OpContext, row: Value, leading: Value, axes: int) -> list[Value]:
    """The indices of the leading axes, each ``(n, 1)``, that the number of the row stands for."""
    found: list[Value] = []
    for axis in reversed(range(axes)):
        if axis == 0:
            return [row, *found]
        size = op.Slice(leading, [axis], [axis + 1], [0])
        found.insert(0, op.Mod(row, size))
        row = op.Div(row, size)
    return found
