"""Ops whose result has as many rows as the data says: nonzero places, distinct values, partitions and their joins."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.registry import lowers


@lowers("Where")
def where(op: OpContext, x: Any) -> Value:
    """The places where ``x`` is true or not zero, one row each, in order."""
    if isinstance(x, ComplexValue):
        nonzero = ~(x.real.equals(0) & x.imag.equals(0))
    else:
        nonzero = x if x.dtype == bool else ~x.equals(0)
    return op.transpose(op.NonZero(nonzero), [1, 0])


@lowers("Unique", "UniqueWithCounts", "UniqueV2", "UniqueWithCountsV2")
def unique(op: OpContext, x: Value, *axis: Value) -> list[Value]:
    """The distinct values in order of their first occurrence, for each element its place among them, and counts."""
    at = int(op.constant_of(axis[0], "the axis").item()) % x.rank if axis and axis[0].dims != (0,) else None
    known = x.dtype.name in ("float32", "float64", "int64", "int8")
    values, _, places, counts = op.Unique(x if known else op.cast(x, np.int64), sorted=0, axis=at, outputs=4)
    results = [op.cast(values, x.dtype), op.cast(places, op.output_dtype(1))]
    return [*results, op.cast(counts, op.output_dtype(2))] if "Counts" in op.type else results


@lowers("ListDiff")
def list_diff(op: OpContext, x: Value, y: Value) -> list[Value]:
    """The elements of ``x`` that are not in ``y``, and where they are."""
    if x.const is not None and y.const is not None:
        at = np.flatnonzero(~np.isin(x.const, y.const))
        return [op.const(x.const[at]), op.const(at.astype(op.output_dtype(1)))]
    same = op.cast(op.Unsqueeze(x, [1]).equals(op.Unsqueeze(y, [0])), np.int32)
    kept = op.NonZero(op.ReduceSum(same, [1], keepdims=0).equals(0))
    places = op.reshape(kept, [-1])
    return [op.Gather(x, places, axis=0), op.cast(places, op.output_dtype(1))]


@lowers("DynamicPartition", complex_parts=True)
def dynamic_partition(op: OpContext, x: Value, partitions: Value) -> list[Value]:
    """For each part the rows of ``x`` that belong to it, in order."""
    labels = op.reshape(partitions, [-1])
    rows = op.Reshape(x, op.Concat(op.shape_of(labels), op.sizes(x.dims[partitions.rank :]), axis=0), allowzero=1)
    results = []
    for part in range(int(op.attr("num_partitions"))):
        places = op.reshape(op.NonZero(labels.equals(part)), [-1])
        results.append(op.Gather(rows, places, axis=0))
    return results


@lowers("DynamicStitch", "ParallelDynamicStitch")
def dynamic_stitch(op: OpContext, *operands: Any) -> Any:
    """``y[indices[m][i]] = data[m][i]``; of equal indices the last one stays.

    Rows that no index names are not defined.
    """
    count = len(operands) // 2
    indices, data = list(operands[:count]), list(operands[count:])
    if any(isinstance(item, ComplexValue) for item in data):
        parts = [_stitched(op, indices, [getattr(item, part) for item in data]) for part in ("real", "imag")]
        return ComplexValue(*parts)
    return _stitched(op, indices, data)


def _stitched(op: OpContext, indices: list[Value], data: list[Value]) -> Value:
    rows = [
        op.Reshape(item, op.Concat(op.sizes([-1]), op.sizes(item.dims[index.rank :]), axis=0))
        if index.rank != 1
        else item
        for index, item in zip(indices, data, strict=True)
    ]
    merged = op.Concat(*rows, axis=0)
    if all(index.const is not None for index in indices):
        places = np.concatenate([np.ravel(index.const) for index in indices if index.const is not None])
        source = np.zeros(int(places.max()) + 1 if places.size else 0, np.int64)
        source[places] = np.arange(places.size)
        if np.array_equal(source, np.arange(places.size)):
            return merged
        picked: Value = op.Gather(merged, op.const(source), axis=0)
        return picked
    flat = op.cast(op.Concat(*[op.reshape(index, [-1]) for index in indices], axis=0), np.int64)
    largest = op.ReduceMax(op.Concat(op.const([-1], np.int64), flat, axis=0), [0], keepdims=1)
    zeros = op.Expand(op.const(0, merged.dtype), op.Concat(largest + 1, op.sizes(merged.dims[1:]), axis=0))
    stitched: Value = op.ScatterND(zeros, op.Unsqueeze(flat, [1]), merged, reduction="none")
    return stitched


@lowers("OneHot")
def one_hot(op: OpContext, indices: Value, depth: Value, on: Value, off: Value) -> Value:
    """``on`` at the place ``indices`` of a new axis of length ``depth``, ``off`` elsewhere."""
    axis = int(op.attr("axis"))
    at = indices.rank if axis == -1 else axis
    wide = op.cast(indices, np.int64)
    length = op.cast(op.reshape(depth, []), np.int64)
    places = op.Range(op.const(0, np.int64), length, op.const(1, np.int64))
    if depth.sizes is not None:
        places.refine((depth.sizes.item(),))
    places = op.Unsqueeze(places, list(range(1, indices.rank - at + 1)))
    hot = op.Unsqueeze(wide, [at]).equals(places)
    if on.fill == 1 and off.fill == 0:
        return op.cast(hot, on.dtype)
    return op.where(hot, on, off)


@lowers("UnravelIndex")
def unravel_index(op: OpContext, indices: Value, dims: Value) -> Value:
    """The coordinates, one row for each axis of ``dims``, of flat ``indices``."""
    sizes = op.constant_of(dims, "the shape").tolist()
    rest = indices
    rows: list[Value] = []
    for size in reversed(sizes):
        rows.insert(0, op.Mod(rest, op.const(size, indices.dtype)))
        rest = op.Div(rest, op.const(size, indices.dtype))
    joined: Value = op.Concat(*[op.Unsqueeze(row, [0]) for row in rows], axis=0)
    return joined
