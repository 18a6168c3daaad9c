"""Fake quantisation and its gradients (tensorflow/core/kernels/fake_quant_ops_functor.h and neighbours).

Limits are moved so that 0 is a quantised number.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
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
    to_low, to_high = (
        op.ReduceSum(op.mask(side & ~empty, dy), axes, keepdims=0, noop_with_empty_axes=1)
        for side in (x < nudged_low, x > nudged_high)
    )
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


@lowers("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4")
def quantize_and_dequantize(op: OpContext, x: Value, low: Value, high: Value) -> Value:
    """``round(clip(x) * scale) / scale``, the widest scale that keeps the range; without a given one that of ``x``.

    (tensorflow/core/kernels/quantize_and_dequantize_op.h; ``axis``: a range of its own for each slice along it.)
    """
    return _rounded(op, x, low, high, int(op.attr("num_bits")))


@lowers("QuantizeAndDequantizeV3")
def quantize_and_dequantize_v3(op: OpContext, x: Value, low: Value, high: Value, bits: Value) -> Value:
    """As V2, with the number of bits as a tensor; halves go to even."""
    return _rounded(op, x, low, high, int(op.constant_of(bits, "the number of bits")))


@lowers("QuantizeAndDequantizeV4Grad")
def quantize_and_dequantize_grad(op: OpContext, dy: Value, x: Value, low: Value, high: Value) -> list[Value]:
    """``dy`` within the range, both ends included, else 0; nothing goes to the range."""
    return [op.mask((x >= low) & (x <= high), dy), op.full_like(low, 0), op.full_like(high, 0)]


def _rounded(op: OpContext, x: Value, low: Value, high: Value, bits: int) -> Value:
    given = bool(op.attr("range_given"))
    if not given:
        axis = int(op.attr("axis"))
        axes = [other for other in range(x.rank) if axis < 0 or other != axis]
        low, high = op.ReduceMin(x, axes, keepdims=1), op.ReduceMax(x, axes, keepdims=1)
    signed = bool(op.attr("signed_input"))
    first = float(-(2 ** (bits - 1)) + int(op.attr("narrow_range")) if signed else 0)
    last = float(2 ** (bits - 1) - 1 if signed else 2**bits - 1)
    from_low, from_high = _scale(op, first, low), _scale(op, last, high)
    by_low = from_low < from_high
    scale = op.Where(by_low, from_low, from_high)
    inverse = op.Where(by_low, low / (first or 1.0), high / last)
    if given:
        low, high = op.Where(by_low, low, inverse * first), op.Where(by_low, inverse * last, high)
        x = op.Min(op.Max(x, low), high)
    scaled = x * scale
    half_up = op.type != "QuantizeAndDequantizeV3" and op.attr("round_mode") == "HALF_UP"
    return (op.Floor(scaled + 0.5) if half_up else op.Round(scaled)) * inverse


def _scale(op: OpContext, limit: float, range_end: Value) -> Value:
    """``limit / range_end`` where both have one sign, else the largest number."""
    same = range_end * limit > 0
    return op.Where(same, limit / op.Where(same, range_end, 1), float(np.finfo(range_end.dtype).max))
