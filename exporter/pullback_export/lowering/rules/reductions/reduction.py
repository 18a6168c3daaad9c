"""Sums, products, extrema and means over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.finiteness import is_finite
from pullback_export.graph.size_arithmetic import product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.registry import lowers


def _reduce(op: OpContext, reduction: str, x: Value, axes: Value) -> Value:
    """An ONNX reduction; no axes: ``x`` itself."""
    vector = op.reshape(axes, [1]) if axes.rank == 0 else axes
    if vector.dims == (0,):
        return x
    result: Value = getattr(op, reduction)(x, vector, keepdims=int(op.attr("keep_dims")), noop_with_empty_axes=1)
    return result


@lowers("Sum", complex_parts=True)
def reduce_sum(op: OpContext, x: Value, axes: Value) -> Value:
    """Sum over ``axes``; no axes: ``x`` itself; an empty axis sums to 0."""
    return _reduce(op, "ReduceSum", x, axes)


@lowers("Mean", complex_parts=True)
def reduce_mean(op: OpContext, x: Value, axes: Value) -> Value:
    """Mean over ``axes``; of nothing it is NaN in TensorFlow, and 0 in ``ReduceMean``."""
    sizes = x.dims if axes.const is None else [x.dims[int(axis)] for axis in axes.const.ravel()]
    if x.dtype.kind != "f" or all(isinstance(size, int) and size > 0 for size in sizes):
        return _reduce(op, "ReduceMean", x, axes)
    total = _reduce(op, "ReduceSum", x, axes)
    if axes.const is not None:
        return total / op.cast(op.reshape(op.sizes([product(sizes)]), []), x.dtype)
    return total / op.cast(op.Div(op.Size(x), op.Max(op.Size(total), op.const(1, np.int64))), x.dtype)


@lowers("Prod")
def reduce_prod(op: OpContext, x: Value, axes: Value) -> Value:
    """Product over ``axes``; of nothing it is 1."""
    if isinstance(x, ComplexValue):
        raise op.unsupported("products of complex numbers are not supported; compute with real and imaginary parts")
    return _reduce(op, "ReduceProd", x, axes)


def _extremum(op: OpContext, reduction: str, x: Value, axes: Value) -> Value:
    """The extremum, NaN where one of the elements is: ONNX Runtime's reductions ignore NaN."""
    result = _reduce(op, reduction, x, axes)
    if x.dtype.kind != "f" or result is x or is_finite(x):
        return result
    squares = _reduce(op, "ReduceSumSquare", x, axes)  # NaN only if an element is: no terms cancel
    return op.Where(op.IsNaN(squares), op.const(np.nan, x.dtype), result)


@lowers("Max")
def reduce_max(op: OpContext, x: Value, axes: Value) -> Value:
    """Maximum over ``axes``, NaN if one is NaN; of nothing it is -infinity, or the least integer."""
    return _extremum(op, "ReduceMax", x, axes)


@lowers("Min")
def reduce_min(op: OpContext, x: Value, axes: Value) -> Value:
    """Minimum over ``axes``, NaN if one is NaN; of nothing it is infinity, or the largest integer."""
    return _extremum(op, "ReduceMin", x, axes)


@lowers("All")
def reduce_all(op: OpContext, x: Value, axes: Value) -> Value:
    """Whether every element is true; of nothing: true."""
    return ~(_reduce(op, "ReduceSum", op.cast(~x, np.int32), axes) > 0)


@lowers("Any")
def reduce_any(op: OpContext, x: Value, axes: Value) -> Value:
    """Whether some element is true; of nothing: false."""
    return _reduce(op, "ReduceSum", op.cast(x, np.int32), axes) > 0


@lowers("EuclideanNorm")
def euclidean_norm(op: OpContext, x: Any, axes: Value) -> Any:
    """``sqrt(sum(|x|**2))``."""
    if isinstance(x, ComplexValue):
        squares = _reduce(op, "ReduceSum", x.real * x.real + x.imag * x.imag, axes)
        return ComplexValue(op.Sqrt(squares), op.full_like(squares, 0))
    return op.Sqrt(_reduce(op, "ReduceSum", x * x, axes))


@lowers("ArgMax", "ArgMin")
def arg_extremum(op: OpContext, x: Value, axis: Value) -> Value:
    """Position of the extremum along ``axis``; the first one at a tie. NaN never is one, 0 where all are NaN."""
    if x.dtype.kind == "f" and not is_finite(x):
        least = op.const(-np.inf if op.type == "ArgMax" else np.inf, x.dtype)
        x = op.Where(op.IsNaN(x), least, x)
    at = int(op.constant_of(axis, "the axis")) % x.rank
    ordered = x if x.dtype.name in ("float32", "float64", "int32", "int64", "uint8", "int8") else op.cast(x, np.int32)
    return op.cast(getattr(op, op.type)(ordered, axis=at, keepdims=0), op.output_dtype())
