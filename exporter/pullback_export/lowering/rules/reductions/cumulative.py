"""Running sums, products and logarithms of sums along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.matrices.batches import repeat_while
from pullback_export.lowering.registry import lowers

Combine = Callable[[OpContext, Value, Value], Value]


@lowers("Cumsum", complex_parts=True)
def cumsum(op: OpContext, x: Value, axis: Value) -> Value:
    """Running sums along ``axis``; ``exclusive`` omits the element itself, ``reverse`` starts at the end."""
    at = op.const(int(op.constant_of(axis, "the axis")), np.int64)
    wide = x if x.dtype.name in ("float32", "float64", "int32", "int64") else op.cast(x, np.int64)
    flags = {name: int(op.attr(name)) or None for name in ("exclusive", "reverse")}
    return op.cast(op.CumSum(wide, at, **flags), x.dtype)


@lowers("Cumprod")
def cumprod(op: OpContext, x: Value, axis: Value) -> Value:
    """Running products along ``axis``, exact also where there are zeros."""
    if not isinstance(x, Value):
        raise op.unsupported(
            "running products of complex numbers are not supported; compute with real and imaginary parts"
        )
    wide = x if x.dtype.name in ("float32", "float64", "int32", "int64") else op.cast(x, np.int64)
    return op.cast(_running(op, wide, axis, 1, lambda body, left, right: left * right), x.dtype)


@lowers("CumulativeLogsumexp")
def cumulative_logsumexp(op: OpContext, x: Value, axis: Value) -> Value:
    """``log`` of the running sums of ``exp(x)``; of nothing it is -infinity."""
    return _running(op, x, axis, -np.inf, _log_add_exp)


def _log_add_exp(op: OpContext, a: Value, b: Value) -> Value:
    """``max + log(1 + exp(min - max))``, where equal infinities stay what they are."""
    larger, smaller = op.Max(a, b), op.Min(a, b)
    gap = op.Where(a.equals(b), op.const(0, a.dtype), smaller - larger)
    result: Value = larger + op.Log(1 + op.Exp(gap))
    return result


def _running(op: OpContext, x: Value, axis: Value, neutral: Any, combine: Combine) -> Value:
    """``y[i] = x[0] * ... * x[i]`` for an associative ``combine``, in ``log2(n)`` steps of doubling width."""
    at = int(op.constant_of(axis, "the axis")) % x.rank
    reverse = bool(op.attr("reverse"))

    def widened(body: OpContext, value: Value, width: Value) -> Value:
        return combine(body, _shifted(body, value, at, width, neutral, reverse), value)

    size = x.dims[at]
    if op.attr("exclusive"):
        x = _shifted(op, x, at, op.const([1], np.int64), neutral, reverse)
    if isinstance(size, int):
        width = 1
        while width < size:
            x = widened(op, x, op.const([width], np.int64))
            width *= 2
        return x
    widths = 2 ** np.arange(62, dtype=np.int64)

    def step(body: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        width = body.reshape(body.Gather(body.const(widths), k, axis=0), [1])
        return [widened(body, state[0], width)], [body.reshape(width * 2 < body.sizes([size]), [])]

    (result,) = repeat_while(op, widths.size, [x], step)
    assert isinstance(result, Value)
    return result


def _shifted(op: OpContext, x: Value, axis: int, width: Value, neutral: Any, reverse: bool) -> Value:
    """``y[i] = x[i - width]``, the neutral element where there is none; towards the front with ``reverse``."""
    zeros = op.const(np.zeros(x.rank, np.int64))
    at = op.const(np.eye(x.rank, dtype=np.int64)[axis])
    pads = op.Concat(*((zeros, at * width) if reverse else (at * width, zeros)), axis=0)
    padded = op.Pad(x, pads, op.const(neutral, x.dtype))
    start, end = (width, [2**63 - 1]) if reverse else ([0], -width)
    shifted = op.Slice(padded, start, end, [axis])
    shifted.refine(x.shape)
    result: Value = shifted
    return result
