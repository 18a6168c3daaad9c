"""Fake quantisation and its gradients (tensorflow/core/kernels/fake_quant_ops_functor.h).

Everything is float32 there. The limits are moved so that 0 is a quantised number.
"""

from __future__ import annotations

import numpy as np

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.graph import Value
from pullback_export.lowering.registry import lowers


@lowers("FakeQuantWithMinMaxArgs")
def fake_quant_args(op: OpContext, x: Value) -> Value:
    """``x`` within the limits, rounded to one of ``2**num_bits`` numbers; halves go up."""
    return _quantized(op, x, *_nudged(op, *_arguments(op)))


@lowers("FakeQuantWithMinMaxArgsGradient")
def fake_quant_args_gradient(op: OpContext, dy: Value, x: Value) -> Value:
    """``dy`` within the limits, both included, else 0."""
    low, high, _ = _nudged(op, *_arguments(op))
    return op.mask((x >= low) & (x <= high), dy)


@lowers("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")
def fake_quant_vars(op: OpContext, x: Value, low: Value, high: Value) -> Value:
    """As with arguments, for one pair of limits or one for each channel; 0 where both limits are 0."""
    empty = _is_empty(low, high)
    safe = op.Where(empty, 1.0, high)
    return op.mask(~empty, _quantized(op, x, *_nudged(op, low, safe)))


@lowers("FakeQuantWithMinMaxVarsGradient", "FakeQuantWithMinMaxVarsPerChannelGradient")
def fake_quant_vars_gradient(op: OpContext, dy: Value, x: Value, low: Value, high: Value) -> list[Value]:
    """``dy`` within the limits; the rest goes to the limit that was passed. Both limits 0: all goes to ``x``."""
    empty = _is_empty(low, high)
    nudged_low, nudged_high, _ = _nudged(op, low, op.Where(empty, 1.0, high))
    within = ((x >= nudged_low) & (x <= nudged_high)) | empty
    axes = list(range(x.rank - low.rank))
    to_low, to_high = (op.ReduceSum(op.mask(side & ~empty, dy), axes, keepdims=0, noop_with_empty_axes=1)
                       for side in (x < nudged_low, x > nudged_high))
    return [op.mask(within, dy), to_low, to_high]


def _arguments(op: OpContext) -> tuple[Value, Value]:
    return op.const(op.attr("min"), np.float32), op.const(op.attr("max"), np.float32)


def _is_empty(low: Value, high: Value) -> Value:
    return low.equals(0.0) & high.equals(0.0)


def _nudged(op: OpContext, low: Value, high: Value) -> tuple[Value, Value, Value]:
    """Both limits and the step, so that 0 falls on a quantised number."""
    first, last = (1.0 if op.attr("narrow_range") else 0.0), float(2 ** int(op.attr("num_bits")) - 1)
    step = (high - low) / (last - first)
    zero = op.Min(op.Max(op.Floor(first - low / step + 0.5), first), last)
    return (first - zero) * step, (last - zero) * step, step


def _quantized(op: OpContext, x: Value, low: Value, high: Value, step: Value) -> Value:
    inverse = 1 / step
    shifted = op.Min(op.Max(x, low), high) - low
    zero = op.Floor(-low * inverse + 0.5)
    return op.Floor(shifted * inverse - zero + 0.5) * step
