"""Elementwise arithmetic with broadcasting, and the bookkeeping of its gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.convert import check_dtype
from pullback_export.lowering.dims import Size
from pullback_export.lowering.graph import Value
from pullback_export.lowering.registry import lowers


@lowers("Add", "AddV2")
def add(op: OpContext, x: Any, y: Any) -> Any:
    """``x + y``."""
    return x + y


@lowers("AddN", complex_parts=True)
def add_n(op: OpContext, *xs: Any) -> Any:
    """``x0 + x1 + ...``, in order."""
    total = xs[0]
    for x in xs[1:]:
        total = total + x
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
def real_div(op: OpContext, x: Value, y: Value) -> Value:
    """``x / y`` for floats."""
    return x / y


@lowers("Neg")
def neg(op: OpContext, x: Any) -> Any:
    """``-x``."""
    return -x


@lowers("Square")
def square(op: OpContext, x: Any) -> Any:
    """``x * x``."""
    return x * x


@lowers("BroadcastGradientArgs")
def broadcast_gradient_args(op: OpContext, s0: Value, s1: Value) -> list[Value]:
    """The axes over which a gradient is summed to the shapes ``s0`` and ``s1`` of two broadcast operands.

    Equal free sizes are not broadcast. Where two different free sizes meet, the axes are found when the graph runs.
    TensorFlow lists an axis also where both sizes are 1; summing it or not is the same.
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
    if any(not isinstance(m, int) and isinstance(n, int) and n != 1 for m, n in [*zip(a, b, strict=True), *zip(b, a, strict=True)]):
        return _dynamic_axes(op, s0, s1, dtype)
    return [
        op.const([axis for axis in range(rank) if mine[axis] == 1 and other[axis] != 1], dtype)
        for mine, other in ((a, b), (b, a))
    ]


def _dynamic_axes(op: OpContext, s0: Value, s1: Value, dtype: Any) -> list[Value]:
    """``axes where mine == 1 and other != 1``, both shapes padded with leading ones."""
    n0, n1 = s0.dims[0], s1.dims[0]
    if not isinstance(n0, int) or not isinstance(n1, int):
        raise op.unsupported("the rank of an operand is not known")
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


@lowers("Cast")
def cast(op: OpContext, x: Any) -> Value:
    """``x`` in another dtype. Float to integer truncates towards zero in both; other dtypes check themselves."""
    check_dtype(op.tf_op.outputs[0].dtype)
    return op.cast(x, op.output_dtype())


@lowers("Cos")
def cos(op: OpContext, x: Value) -> Value:
    """``cos(x)``."""
    return op.Cos(x)
