"""Order: the largest elements, ranks, sorted searches and bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.registry import lowers


@lowers("TopKV2")
def top_k(op: OpContext, x: Value, k: Value) -> list[Value]:
    """The ``k`` largest elements of each row and their positions; of equal elements the first comes first."""
    ordered = x if x.dtype.name in ("float32", "float64", "int32", "int64", "uint8", "int8") else op.cast(x, np.int64)
    values, positions = op.TopK(ordered, op.reshape(k, [1]), axis=-1, largest=1, sorted=1, outputs=2)
    return [op.cast(values, x.dtype), op.cast(positions, op.output_dtype(1))]


@lowers("ApproxTopK")
def approximate_top_k(op: OpContext, x: Value) -> list[Value]:
    """The ``k`` largest or smallest elements along an axis, which TensorFlow's CPU kernel finds exactly."""
    axis, largest = int(op.attr("reduction_dimension")), int(op.attr("is_max_k"))
    values, positions = op.TopK(x, [int(op.attr("k"))], axis=axis, largest=largest, sorted=1, outputs=2)
    return [values, op.cast(positions, op.output_dtype(1))]


@lowers("NthElement")
def nth_element(op: OpContext, x: Value, n: Value) -> Value:
    """The ``n``-th smallest element of each row, from 0; the ``n``-th largest with ``reverse``."""
    count = op.cast(op.reshape(n, [1]), np.int64) + 1
    values, _ = op.TopK(x, count, axis=-1, largest=int(op.attr("reverse")), sorted=1, outputs=2)
    nth: Value = op.Gather(values, op.const(-1, np.int64), axis=-1)
    return nth


@lowers("InTopK", "InTopKV2")
def in_top_k(op: OpContext, predictions: Value, targets: Value, *k: Value) -> Value:
    """Whether fewer than ``k`` classes are larger than the target's; false for a row with a number not finite.

    A target out of range is false.
    """
    limit = op.cast(k[0], np.int64) if k else op.const(int(op.attr("k")), np.int64)
    classes = op.reshape(op.Slice(op.shape_of(predictions), [1], [2], [0]), [])
    target = op.cast(targets, np.int64)
    inside = (target >= 0) & (target < classes)
    safe = op.Unsqueeze(op.Where(inside, target, op.const(0, np.int64)), [1])
    chosen = op.GatherElements(predictions, safe, axis=1)
    larger = op.ReduceSum(op.cast(predictions > chosen, np.int64), [1], keepdims=0)
    odd = op.cast(op.IsNaN(predictions - predictions), np.int64)
    return inside & (larger < limit) & op.ReduceSum(odd, [1], keepdims=0).equals(0)


@lowers("LowerBound", "UpperBound")
def search_sorted(op: OpContext, rows: Value, values: Value) -> Value:
    """How many elements of the sorted row are less than the value (``UpperBound``: or equal)."""
    row, value = op.Unsqueeze(rows, [1]), op.Unsqueeze(values, [2])
    before = row < value if op.type == "LowerBound" else row <= value
    dtype = op.output_dtype()
    count: Value = op.ReduceSum(op.cast(before, dtype), [2], keepdims=0)
    return count


@lowers("Bucketize")
def bucketize(op: OpContext, x: Value) -> Value:
    """How many of the boundaries (float32) are not larger than ``x``."""
    boundaries = np.array(op.attr("boundaries"), np.float32)
    wide = x if x.dtype.kind == "f" else op.cast(x, np.float64)
    reached = op.Unsqueeze(wide, [x.rank]) >= op.const(boundaries.astype(wide.dtype))
    count: Value = op.ReduceSum(op.cast(reached, np.int32), [x.rank], keepdims=0)
    return count


@lowers("Bincount")
def bincount(op: OpContext, values: Value, size: Value, weights: Value) -> Value:
    """How often each number below ``size`` occurs, or the sum of its weights; numbers from ``size`` on are ignored."""
    dtype = op.output_dtype()
    flat = op.reshape(values, [-1])
    given = weights.dims != (0,) if weights.rank == 1 else True
    counted: Any = op.reshape(weights, [-1]) if given else op.full_like(flat, 1, dtype)
    return _counted(op, flat, op.reshape(size, [1]), counted, dtype)


@lowers("DenseBincount")
def dense_bincount(op: OpContext, values: Value, size: Value, weights: Value) -> Value:
    """``Bincount`` of a vector, or of each row of a matrix; ``binary_output``: 1 where the number occurs at all."""
    dtype = op.output_dtype()
    count = op.cast(op.reshape(size, [1]), np.int64)
    given = weights.dims != (0,) * weights.rank or values.dims == weights.dims
    given = given and not any(isinstance(length, int) and length == 0 for length in weights.dims)
    binary = bool(op.attr("binary_output"))
    numbers = op.cast(values, np.int64)
    added = weights if given and not binary else op.full_like(values, 1, dtype)
    if values.rank == 1:
        result = _counted(op, numbers, count, added, dtype)
    else:
        rows = op.Range(op.const(0, np.int64), op.reshape(op.sizes(values.dims[:1]), []), op.const(1, np.int64))
        shifted = op.Unsqueeze(rows, [1]) * (count + 1) + op.Min(numbers, count)
        total = op.sizes(values.dims[:1]) * (count + 1)
        sums = _sums(op, op.reshape(shifted, [-1]), total, op.reshape(added, [-1]), dtype)
        square = op.Reshape(sums, op.Concat(op.sizes(values.dims[:1]), count + 1, axis=0), allowzero=1)
        square.refine((values.dims[0], square.dims[1]))  # the rows are known to be as many as before
        result = op.Slice(square, [0], count, [1])
    return op.cast(result > 0, dtype) if binary else result


def _counted(op: OpContext, numbers: Value, size: Value, weights: Value, dtype: Any) -> Value:
    count = op.cast(size, np.int64)
    sums = _sums(op, op.Min(op.cast(numbers, np.int64), count), count + 1, weights, dtype)
    result: Value = op.Slice(sums, [0], count, [0])
    return result


def _sums(op: OpContext, numbers: Value, size: Value, weights: Value, dtype: Any) -> Value:
    zeros = op.Expand(op.const(0, dtype), size)
    sums: Value = op.ScatterND(zeros, op.Unsqueeze(numbers, [1]), weights, reduction="add")
    return sums
