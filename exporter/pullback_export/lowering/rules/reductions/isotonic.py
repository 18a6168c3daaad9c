"""Isotonic regression."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.matrices.batches import indices
from pullback_export.lowering.registry import lowers


@lowers("IsotonicRegression")
def isotonic_regression(op: OpContext, x: Value) -> list[Value]:
    """The closest decreasing sequence, ``y_i = min over j <= i of max over k >= i of mean(x_j ... x_k)``, and the
    number of the block that i belongs to; neighbours that are equal without being pooled are blocks of their own.
    """
    dtype = op.output_dtype(0)
    x = op.cast(x, dtype)
    place = indices(op, x.dims[-1])
    start, stop = op.Unsqueeze(place, [1]), op.Unsqueeze(place, [0])
    sums = op.CumSum(x, op.const(x.rank - 1, np.int64))
    before = sums - x
    total = op.Unsqueeze(sums, [-2]) - op.Unsqueeze(before, [-1])
    ordered = op.cast(stop >= start, dtype)
    count = op.Max(op.cast(stop - start + 1, dtype), op.const(1, dtype))
    mean = total / count
    low, high = op.const(-np.inf, dtype), op.const(np.inf, dtype)
    stretches = op.Where(ordered > 0, mean, low)
    ends = _running_max_from_the_right(op, stretches)
    candidates = op.Where(stop >= start, ends, high)
    values = op.ReduceMin(candidates, [-2], keepdims=0)
    first = op.ArgMin(candidates, axis=x.rank - 1, keepdims=0, select_last_index=1)
    begins = op.cast(first.equals(place), np.int64)
    segments = op.CumSum(begins, op.const(x.rank - 1, np.int64)) - 1
    return [values, op.cast(segments, op.output_dtype(1))]


def _running_max_from_the_right(op: OpContext, x: Value) -> Value:
    """``max over k >= i of x_k`` along the last axis, in steps that double."""
    size, shift = x.dims[-1], 1
    if not isinstance(size, int):
        raise op.unsupported("the sequence length is free; fix that size in the input's shape")
    while shift < size:
        padded = op.Pad(x, [*[0] * (2 * x.rank - 1), shift], op.const(-np.inf, x.dtype))
        x = op.Max(x, op.Slice(padded, [shift], [size + shift], [x.rank - 1]))
        shift *= 2
    return x
