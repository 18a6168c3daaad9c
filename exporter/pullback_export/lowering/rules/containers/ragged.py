"""Ragged tensors as what they consist of: values, and for each ragged axis where its rows begin and end."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import each, real_of
from pullback_export.lowering.numerics.matrices.batches import indices as numbers_below
from pullback_export.lowering.numerics.ragged_rows import Rows, from_rows, from_splits, length
from pullback_export.lowering.registry import lowers


@lowers("RaggedTensorToTensor")
def ragged_to_tensor(op: OpContext, shape: Value, values: Any, default: Any, *partitions: Value) -> Any:
    """The values in their rows and columns, ``default`` in the other places. A size of ``shape`` that is not negative
    cuts or fills up the axis; else an axis is as long as its longest row.
    """
    axes = _axes(op, partitions)
    places, sizes = _places(op, axes)
    if b"ROW_SPLITS" in op.tf_op.get_attr("row_partition_types"):  # values after the last split are in no row
        values = each(lambda part: op.Slice(part, [0], length(op, places), [0]), values)
    if shape.rank == 1:
        wanted = op.Slice(op.cast(shape, np.int64), [0], [len(axes) + 1], [0])
        sizes = op.Where(wanted < 0, sizes, wanted)
        kept = op.ReduceMin(op.cast(places < sizes, np.int64), [1], keepdims=0) > 0
        places = op.Compress(places, kept, axis=0)
        values = each(lambda part: op.Compress(part, kept, axis=0), values)
    elements = op.Slice(op.shape_of(real_of(values)), [1], [2**31 - 1], [0])
    target = op.Concat(sizes, elements, axis=0)
    if real_of(values).shape is not None:
        target.refine((len(axes) + real_of(values).rank,))
    background = each(lambda part: op.Expand(part, target), default)
    if real_of(values) is values:
        return op.ScatterND(background, places, values)
    parts = ((background.real, values.real), (background.imag, values.imag))
    return type(values)(*(op.ScatterND(empty, places, part) for empty, part in parts))


@lowers("RaggedTensorToSparse")
def ragged_to_sparse(op: OpContext, *operands: Any) -> list[Any]:
    """The places of all values, the values as a vector, and the shape: each axis as long as its longest row."""
    *splits, values = operands
    places, sizes = _places(op, [from_splits(op, item) for item in splits])
    like = real_of(values)
    inner = op.Slice(op.shape_of(like), [1], [2**31 - 1], [0])
    for axis in range(1, like.rank):
        count = places.dims[1] if isinstance(places.dims[1], int) else -1
        along = numbers_below(op, like.dims[axis])
        shape = op.Concat(length(op, places), op.shape_of(along), axis=0)
        before = op.Expand(op.Unsqueeze(places, [1]), op.Concat(shape, op.const([1], np.int64), axis=0))
        last = op.Unsqueeze(op.Expand(op.Unsqueeze(along, [0]), shape), [2])
        places = op.Reshape(op.Concat(before, last, axis=2), [-1, count + 1])
    return [places, each(lambda part: op.Reshape(part, [-1]), values), op.Concat(sizes, inner, axis=0)]


@lowers("RaggedGather")
def ragged_gather(op: OpContext, *operands: Any) -> list[Any]:
    """The rows ``indices`` of a ragged tensor, one after the other: where they begin and end, and their values."""
    *splits, values, at = operands
    chosen = op.cast(op.Reshape(at, [-1]), np.int64)
    results = [_even(op, at, axis) for axis in range(1, at.rank)]
    for item in splits:
        item = op.cast(item, np.int64)
        start = op.Gather(item, chosen, axis=0)
        lengths = op.Gather(item, chosen + 1, axis=0) - start
        ends = op.Concat(op.const([0], np.int64), op.CumSum(lengths, op.const(0, np.int64)), axis=0)
        results.append(ends)
        rows = from_splits(op, ends)
        chosen = op.Gather(start, rows.row, axis=0) + rows.column
    results = [op.cast(item, op.output_dtype(0)) for item in results]
    return [*results, each(lambda part: op.Gather(part, chosen, axis=0), values)]


@lowers("RaggedRange")
def ragged_range(op: OpContext, starts: Value, limits: Value, deltas: Value) -> list[Value]:
    """For each row the whole numbers from ``start`` in steps of ``delta`` up to, or down to, ``limit``, without it;
    none where ``delta`` leads away from it.
    """
    if starts.dtype.kind != "i":
        raise op.unsupported("the ranges are not of integers; cast starts, limits and deltas to an integer dtype")
    start, limit, delta = (op.cast(item, np.int64) for item in (starts, limits, deltas))
    sign = op.Sign(delta)
    way = (limit - start) * sign
    counts = op.Reshape(op.Max((way + op.Abs(delta) - 1) / op.Abs(delta), op.const(0, np.int64)), [-1])
    ends = op.Concat(op.const([0], np.int64), op.CumSum(counts, op.const(0, np.int64)), axis=0)
    rows = from_splits(op, ends)

    def of_row(item: Value) -> Value:
        return op.Gather(op.Expand(op.Reshape(item, [-1]), op.shape_of(counts)), rows.row, axis=0)

    values = of_row(start) + of_row(delta) * rows.column
    return [op.cast(ends, op.output_dtype(0)), op.cast(values, op.output_dtype(1))]


@lowers("RaggedBincount")
def ragged_bincount(op: OpContext, splits: Value, values: Value, size: Value, weights: Value) -> Value:
    """How often each number below ``size`` occurs in each row, or the sum of its weights where there are any.

    ``binary_output``: 1 where it occurs at all. Larger numbers do not count, nor do negative ones, which are an error
    in TensorFlow.
    """
    dtype, rows = op.output_dtype(), from_splits(op, splits)
    count = op.cast(op.Reshape(size, [1]), np.int64)
    # What does not count goes to a column of its own, behind those that are kept.
    number = op.cast(op.Reshape(values, [-1]), np.int64)
    number = op.Where(number < 0, count, op.Min(number, count))
    places = op.Concat(op.Unsqueeze(rows.row, [1]), op.Unsqueeze(number, [1]), axis=1)
    binary = bool(op.attr("binary_output"))
    added = op.full_like(number, 1, dtype) if binary or weights.dims == (0,) else op.Reshape(weights, [-1])
    zeros = op.Expand(op.const(0, dtype), op.Concat(rows.count, count + 1, axis=0))
    result = op.Slice(op.ScatterND(zeros, places, added, reduction="add"), [0], count, [1])
    return op.cast(result > 0, dtype) if binary else result


def _even(op: OpContext, x: Value, axis: int) -> Value:
    """Where the rows along ``axis`` of a dense tensor begin and end."""
    outer = op.ReduceProd(op.Slice(op.shape_of(x), [0], [axis], [0]), [0], keepdims=0)
    size = op.Gather(op.shape_of(x), op.const(axis, np.int64), axis=0)
    return op.Range(op.const(0, np.int64), outer + 1, op.const(1, np.int64)) * size


def _axes(op: OpContext, partitions: tuple[Value, ...]) -> list[Rows]:
    """The ragged axes, from the outermost on: by their splits, or by the row of each element."""
    kinds = [bytes(kind).decode() for kind in op.tf_op.get_attr("row_partition_types")]
    axes: list[Rows] = []
    count: Value | None = None
    for kind, item in zip(kinds, partitions, strict=True):
        if kind == "FIRST_DIM_SIZE":
            count = op.Reshape(op.cast(item, np.int64), [1])
        elif kind == "ROW_SPLITS":
            axes.append(from_splits(op, item))
        elif kind == "VALUE_ROWIDS":
            rows = count if not axes else length(op, axes[-1].row)
            if rows is None:
                raise op.unsupported(
                    "the number of ragged rows is unknown; build the ragged tensor from row_splits or row_lengths"
                )
            axes.append(from_rows(op, op.cast(item, np.int64), rows))
        else:
            raise op.unsupported(
                f"row partitions of type {kind} are not supported; build the ragged tensor from row_splits"
            )
    return axes


def _places(op: OpContext, axes: list[Rows]) -> tuple[Value, Value]:
    """The index of each value, one row each, and the sizes that hold them all."""
    places = op.Unsqueeze(axes[0].row, [1])
    sizes = [axes[0].count]
    for number, axis in enumerate(axes):
        if number:
            places = op.Gather(places, axis.row, axis=0)
        places = op.Concat(places, op.Unsqueeze(axis.column, [1]), axis=1)
        longest = op.ReduceMax(op.Concat(axis.column, op.const([-1], np.int64), axis=0), [0], keepdims=1) + 1
        sizes.append(longest)
    return places, op.Concat(*sizes, axis=0)
