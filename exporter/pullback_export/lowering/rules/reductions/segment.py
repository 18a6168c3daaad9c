"""Sums, products, means and extrema over segments (tensorflow/core/kernels/segment_reduction_ops_impl.h)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.registry import lowers


@dataclasses.dataclass(frozen=True)
class Reduction:
    """How a segment is reduced: ``ScatterND``'s name, and its neutral element."""

    name: str
    neutral: str


SUM, PROD = Reduction("add", "zero"), Reduction("mul", "one")
MAX, MIN = Reduction("max", "lowest"), Reduction("min", "highest")
_OF = {"Sum": SUM, "Prod": PROD, "Max": MAX, "Min": MIN}
# Empty segments of sorted ids are 0: what they start with may be smaller than every number.
_OF_SORTED = {**_OF, "Max": Reduction("max", "-infinity"), "Min": Reduction("min", "infinity")}


def _neutral(reduction: Reduction, dtype: np.dtype[Any]) -> Any:
    if reduction.neutral in ("zero", "one"):
        return 0 if reduction.neutral == "zero" else 1
    if reduction.neutral.endswith("infinity") and dtype.kind == "f":
        return float(reduction.neutral)
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return limits.min if reduction.neutral in ("lowest", "-infinity") else limits.max


@lowers("UnsortedSegmentSum", "UnsortedSegmentProd", "UnsortedSegmentMax", "UnsortedSegmentMin")
def unsorted_segment(op: OpContext, x: Any, ids: Value, count: Value) -> Any:
    """``y[s] = reduce(x[i] where ids[i] == s)``. Negative ids are ignored.

    An empty segment is 0, 1, or the least or largest number of the dtype.
    """
    from pullback_export.lowering.flows.complex_value import ComplexValue

    reduction = _OF[op.type.removeprefix("UnsortedSegment")]
    if isinstance(x, ComplexValue):
        if reduction is not SUM:
            raise op.unsupported("products of complex numbers are not supported; compute with real and imaginary parts")
        return ComplexValue(_segments(op, x.real, ids, count, SUM), _segments(op, x.imag, ids, count, SUM))
    return _segments(op, x, ids, count, reduction)


def _segments(op: OpContext, x: Value, ids: Value, count: Value, reduction: Reduction) -> Value:
    """Rows of ``x`` reduced into ``count`` segments; a row with a negative id goes to a segment that is cut off."""
    rows = op.cast(op.reshape(count, [1]), np.int64)
    shape = op.sizes(x.dims[ids.rank :])
    whole = ids.const is not None and bool((ids.const >= 0).all())
    target = op.cast(ids, np.int64)
    if not whole:
        target = op.Where(target < 0, rows, target)
    neutral = op.const(_neutral(reduction, x.dtype), x.dtype)
    start = op.Expand(neutral, op.Concat(rows if whole else rows + 1, shape, axis=0))
    result: Value = op.ScatterND(start, op.Unsqueeze(target, [target.rank]), x, reduction=reduction.name)
    if whole:
        return result
    result = op.Slice(result, [0], rows, [0])
    if rows.sizes is not None:
        result.refine((rows.sizes.item(), *result.dims[1:]))
    return result


def _segment_count(op: OpContext, ids: Value) -> Value:
    """One more than the last (and largest) id."""
    if ids.const is not None:
        return op.const([int(ids.const[-1]) + 1 if ids.const.size else 0], np.int64)
    return op.ReduceMax(op.Concat(op.const([-1], np.int64), op.cast(ids, np.int64), axis=0), [0], keepdims=1) + 1


@lowers("SegmentSum", "SegmentProd", "SegmentMax", "SegmentMin")
def segment(op: OpContext, x: Value, ids: Value) -> Value:
    """``y[s] = reduce(x[i] where ids[i] == s)`` for sorted ids.

    A segment without rows is 1 for the product, else 0.
    """
    name = op.type.removeprefix("Segment")
    result = _segments(op, x, ids, _segment_count(op, ids), _OF_SORTED[name])
    return result if name in ("Sum", "Prod") else _where_filled(op, x, ids, result)


def _where_filled(op: OpContext, x: Value, ids: Value, result: Value) -> Value:
    """``result``, with 0 in segments that no id names."""
    sizes = _sizes(op, ids, op.shape_of(result), x.dtype)
    seen = op.reshape(sizes, [-1, *[1] * (result.rank - 1)]) > 0
    filled: Value = op.Where(seen, result, op.const(0, x.dtype))
    return filled


def _sizes(op: OpContext, ids: Value, shape: Value, dtype: Any) -> Value:
    """The number of rows of each of ``shape[0]`` segments."""
    zeros = op.Expand(op.const(0, dtype), op.Slice(shape, [0], [1], [0]))
    ones = op.full_like(ids, 1, dtype)
    sizes: Value = op.ScatterND(zeros, op.Unsqueeze(op.cast(ids, np.int64), [1]), ones, reduction="add")
    return sizes


@lowers("SegmentMean")
def segment_mean(op: OpContext, x: Value, ids: Value) -> Value:
    """``y[s] = mean(x[i] where ids[i] == s)`` for sorted ids; 0 for a segment without rows."""
    return _means(op, x, ids, _segment_count(op, ids), "Mean")


def _means(op: OpContext, x: Value, ids: Value, count: Value, kind: str) -> Value:
    """The sums of the segments, divided by nothing, by the number of rows or by its root."""
    total = _segments(op, x, ids, count, SUM)
    if kind == "Sum":
        return total
    rows = op.Max(_sizes(op, ids, op.shape_of(total), x.dtype), op.const(1, x.dtype))
    divisor = rows if kind == "Mean" else op.Sqrt(rows)
    return total / op.Unsqueeze(divisor, list(range(1, total.rank)))


@lowers(
    "SparseSegmentSum",
    "SparseSegmentMean",
    "SparseSegmentSqrtN",
    "SparseSegmentSumWithNumSegments",
    "SparseSegmentMeanWithNumSegments",
    "SparseSegmentSqrtNWithNumSegments",
)
def sparse_segment(op: OpContext, x: Value, indices: Value, ids: Value, *count: Value) -> Value:
    """The segment sums of ``x[indices]``, or their means, or sums divided by the root of the number of rows."""
    kind = op.type.removeprefix("SparseSegment").removesuffix("WithNumSegments")
    rows = op.Gather(x, indices, axis=0)
    return _means(op, rows, ids, count[0] if count else _segment_count(op, ids), kind)


@lowers("SparseSegmentSumGrad", "SparseSegmentMeanGrad", "SparseSegmentSqrtNGrad")
def sparse_segment_grad(op: OpContext, dy: Value, indices: Value, ids: Value, size: Value) -> Value:
    """``dx[indices[i]] += dy[ids[i]] / n``: ``n`` is 1, the number of rows of the segment, or its root."""
    kind = op.type.removeprefix("SparseSegment").removesuffix("Grad")
    rows = _shares(op, dy, ids, kind)
    return _segments(op, rows, indices, size, SUM)


@lowers("SparseSegmentSumGradV2", "SparseSegmentMeanGradV2", "SparseSegmentSqrtNGradV2")
def sparse_segment_grad_v2(op: OpContext, dy: Value, indices: Value, ids: Value, size: Value) -> list[Value]:
    """The rows of ``dx`` that are not zero, and their indices in increasing order."""
    kind = op.type.removeprefix("SparseSegment").removesuffix("GradV2")
    rows = _shares(op, dy, ids, kind)
    unique, _, position, _ = op.Unique(op.cast(indices, np.int64), sorted=1, outputs=4)
    total = _segments(op, rows, position, op.shape_of(unique), SUM)
    return [total, op.cast(unique, op.output_dtype(1))]


def _shares(op: OpContext, dy: Value, ids: Value, kind: str) -> Value:
    """What each row gets of the gradient of its segment."""
    if kind != "Sum":
        rows = op.Max(_sizes(op, ids, op.shape_of(dy), dy.dtype), op.const(1, dy.dtype))
        divisor = rows if kind == "Mean" else op.Sqrt(rows)
        dy = dy / op.Unsqueeze(divisor, list(range(1, dy.rank)))
    shares: Value = op.Gather(dy, ids, axis=0)
    return shares
