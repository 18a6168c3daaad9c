"""Sums, products, extrema and means over axes."""

from __future__ import annotations

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.graph import Value
from pullback_export.lowering.registry import lowers


@lowers("Sum", complex_parts=True)
def reduce_sum(op: OpContext, x: Value, axes: Value) -> Value:
    """Sum over ``axes``; no axes: ``x`` itself; an empty axis sums to 0."""
    return op.ReduceSum(x, axes, keepdims=int(op.attr("keep_dims")), noop_with_empty_axes=1)
