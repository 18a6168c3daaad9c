"""Elementwise arithmetic with broadcasting, and the bookkeeping of its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import broadcast
from pullback_export.graph.values import Value
from pullback_export.lowering.context import Emitter, OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, conj
from pullback_export.lowering.numerics import complex_elementary
from pullback_export.lowering.numerics.elementary import zero_where
from pullback_export.lowering.registry import lowers
from pullback_export.lowering.texts import are_texts


@lowers("Add", "AddV2")
def add(op: OpContext, x: Any, y: Any) -> Any:
    """``x + y``; of strings, one behind the other."""
    return op.StringConcat(x, y) if are_texts(x) else x + y


@lowers("AddN", "AccumulateNV2", complex_parts=True)
def add_n(op: OpContext, *xs: Any) -> Any:
    """``x0 + x1 + ...``, in order; lists element by element."""
    total = xs[0]
    for x in xs[1:]:
        total = total.plus(op, x) if hasattr(total, "plus") else total + x
    return total


@lowers("Sub")
def sub(op: OpContext, x: Any, y: Any) -> Any:
    """``x - y``."""
    return x - y


@lowers("Mul")
def mul(op: OpContext, x: Any, y: Any) -> Any:
    """``x * y``."""
    return x * y


@lowers("RealDiv", "Div")
def div(op: OpContext, x: Any, y: Any) -> Any:
    """``x / y``; integers are truncated towards zero."""
    return x / y


@lowers("DivNoNan", "Xdivy")
def div_no_nan(op: OpContext, x: Any, y: Any) -> Any:
    """``x / y``, and 0 where ``y`` (``Xdivy``: where ``x``) is 0."""
    return zero_where(op, x if op.type == "Xdivy" else y, x / y)


@lowers("MulNoNan")
def mul_no_nan(op: OpContext, x: Any, y: Any) -> Any:
    """``x * y``, and 0 where ``y`` is 0, even if ``x`` is NaN or infinite."""
    return zero_where(op, y, x * y)


@lowers("Neg")
def neg(op: OpContext, x: Any) -> Any:
    """``-x``."""
    return -x


@lowers("Square")
def square(op: OpContext, x: Any) -> Any:
    """``x * x``."""
    return x * x


@lowers("SquaredDifference")
def squared_difference(op: OpContext, x: Any, y: Any) -> Any:
    """``(x - y) conj(x - y)``."""
    difference = x - y
    return difference * conj(difference)


@lowers("Reciprocal", "Inv")
def reciprocal(op: OpContext, x: Any) -> Any:
    """``1 / x``."""
    return 1.0 / x


@lowers("ReciprocalGrad", "InvGrad")
def reciprocal_grad(op: OpContext, y: Any, dy: Any) -> Any:
    """``dx = -dy conj(y)**2``; 0 where ``dy`` is 0, even if ``y`` is infinite."""
    return zero_where(op, dy, -(dy * (conj(y) * conj(y))))


@lowers("Pow")
def power(op: OpContext, x: Any, y: Any) -> Any:
    """``x ** y``; constant exponents that are common become products and roots, as TensorFlow's optimizer does."""
    if isinstance(x, ComplexValue):
        return complex_elementary.power(op, x, y)
    short = _SHORT_POWERS.get(y.fill)
    if short is None or x.dtype.kind != "f" or broadcast(x.dims, y.dims) != x.dims:
        return op.Pow(x, y)
    return short(op, x)


_SHORT_POWERS: dict[float | None, Callable[[OpContext, Value], Value]] = {
    -1: lambda op, x: 1.0 / x,
    -0.5: lambda op, x: 1.0 / op.Sqrt(x),
    0: lambda op, x: op.full_like(x, 1),
    0.5: lambda op, x: op.Sqrt(x),
    1: lambda op, x: x,
    2: lambda op, x: x * x,
    3: lambda op, x: x * x * x,
}


@lowers("Maximum")
def maximum(op: OpContext, x: Value, y: Value) -> Value:
    """The larger one; NaN where either is NaN."""
    return _extremum(op, op.Max, x, y)


@lowers("Minimum")
def minimum(op: OpContext, x: Value, y: Value) -> Value:
    """The smaller one; NaN where either is NaN."""
    return _extremum(op, op.Min, x, y)


def _extremum(op: OpContext, function: Emitter, x: Value, y: Value) -> Value:
    through = np.int32 if x.dtype in (np.int16, np.uint16) else x.dtype  # the others have kernels
    return op.cast(function(op.cast(x, through), op.cast(y, through)), x.dtype)


@lowers("ClipByValue")
def clip_by_value(op: OpContext, x: Value, low: Value, high: Value) -> Value:
    """``min(max(x, low), high)``; the bounds are scalars or broadcast."""
    return minimum(op, maximum(op, x, low), high)


@lowers("Abs")
def absolute(op: OpContext, x: Value) -> Value:
    """``|x|``."""
    return op.Abs(x)


@lowers("Sign")
def sign(op: OpContext, x: Any) -> Any:
    """-1, 0 or 1; complex: ``x / |x|`` and 0 at 0."""
    return complex_elementary.sign(op, x) if isinstance(x, ComplexValue) else op.Sign(x)


@lowers("BroadcastGradientArgs")
def broadcast_gradient_args(op: OpContext, s0: Value, s1: Value) -> list[Value]:
    """The axes over which a gradient is summed to the shapes ``s0`` and ``s1`` of two broadcast operands.

    Equal free sizes are not broadcast. Where two different free sizes meet, the axes are found when the graph runs.
    An axis is listed also where both sizes are 1, unless the shapes are equal (tensorflow/core/util/bcast.h).
    """
    dtype = op.output_dtype()
    left, right = s0.sizes, s1.sizes
    if left is None or right is None:
        return _dynamic_axes(op, s0, s1, dtype)
    rank = max(len(left), len(right))
    a: list[Size] = [1] * (rank - len(left)) + list(left)
    b: list[Size] = [1] * (rank - len(right)) + list(right)
    if any(not isinstance(m, int) and not isinstance(n, int) and m != n for m, n in zip(a, b, strict=True)):
        return _dynamic_axes(op, s0, s1, dtype)
    pairs = [*zip(a, b, strict=True), *zip(b, a, strict=True)]
    if any(not isinstance(m, int) and isinstance(n, int) and n != 1 for m, n in pairs):
        return _dynamic_axes(op, s0, s1, dtype)
    if len(left) == len(right) and a == b:
        return [op.const([], dtype), op.const([], dtype)]
    return [op.const([axis for axis in range(rank) if mine[axis] == 1], dtype) for mine in (a, b)]


def _dynamic_axes(op: OpContext, s0: Value, s1: Value, dtype: Any) -> list[Value]:
    """``axes where mine == 1 and other != 1``, both shapes padded with leading ones."""
    n0, n1 = s0.dims[0], s1.dims[0]
    if not isinstance(n0, int) or not isinstance(n1, int):
        raise op.unsupported("the rank of an operand is unknown; set it with tf.ensure_shape(x, [None, ...])")
    rank = max(n0, n1)
    padded = [
        op.Concat(op.const(np.ones(rank - n, np.int64)), op.cast(s, np.int64), axis=0) for s, n in ((s0, n0), (s1, n1))
    ]
    is_one = [shape.equals(1) for shape in padded]
    results = []
    for mine, other in ((0, 1), (1, 0)):
        axes = op.NonZero(is_one[mine] & ~is_one[other])
        results.append(op.cast(op.Reshape(axes, [-1]), dtype))
    return results
