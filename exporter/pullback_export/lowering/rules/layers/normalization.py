"""Fused batch normalisation and local response normalisation, with their gradients."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import windows as win
from pullback_export.lowering.registry import lowers


@lowers("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def fused_batch_norm(op: OpContext, x: Value, scale: Value, offset: Value, mean: Value, variance: Value) -> list[Value]:
    """``(x - mean) * rsqrt(variance + epsilon) * scale + offset``.

    Training: mean and variance of the batch; the running ones that come out hold the unbiased variance, mixed with
    the given ones by ``exponential_avg_factor``. The reserved outputs feed the gradient.
    """
    rest = [op.const(np.zeros((), np.float32))] if op.type == "FusedBatchNormV3" else []
    if not op.attr("is_training"):
        gain = scale * op.Reciprocal(op.Sqrt(variance + op.attr("epsilon")))
        y = x * _along(op, gain, x) + _along(op, offset - mean * gain, x)
        return [y, mean, variance, mean, variance, *rest]
    axes = _other_axes(op, x)
    average = op.ReduceMean(x, axes, keepdims=1)
    centred = x - average
    spread = op.ReduceMean(centred * centred, axes, keepdims=1)
    y = centred * (op.Reciprocal(op.Sqrt(spread + op.attr("epsilon"))) * _along(op, scale, x)) + _along(op, offset, x)
    m, v = op.reshape(average, scale.dims), op.reshape(spread, scale.dims)
    count = op.cast(op.sizes([product(x.dims[axis] for axis in axes)]), x.dtype)
    unbiased = v * (count / op.Max(count - 1, 1.0))
    return [y, _running(op, mean, m), _running(op, variance, unbiased), m, v, *rest]


@lowers("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3")
def fused_batch_norm_grad(
    op: OpContext, dy: Value, x: Value, scale: Value, mean: Value, variance: Value, *reserved: Value
) -> list[Value]:
    """``dx = scale * rsqrt(variance + epsilon) * (dy - mean(dy) - c * mean(dy * c) / (variance + epsilon))``.

    ``c = x - mean``. At inference mean and variance are constants: ``dx = dy * scale * rsqrt(variance + epsilon)``.
    """
    axes = _other_axes(op, x)
    inverse = op.Reciprocal(op.Sqrt(variance + op.attr("epsilon")))
    gain = _along(op, scale * inverse, x)
    centred = x - _along(op, mean, x)
    along_x = dy * centred
    dscale, doffset = op.ReduceSum(along_x, axes, keepdims=0) * inverse, op.ReduceSum(dy, axes, keepdims=0)
    if op.attr("is_training"):
        slope = op.ReduceMean(along_x, axes, keepdims=1) * _along(op, inverse * inverse, x)
        dx = gain * (dy - op.ReduceMean(dy, axes, keepdims=1) - centred * slope)
    else:
        dx = dy * gain
    nothing = op.const(np.zeros(0, np.float32))
    return [dx, dscale, doffset, nothing, nothing]


@lowers("LRN")
def lrn(op: OpContext, x: Value) -> Value:
    """``x * (bias + alpha * s)**-beta``, ``s`` the squares summed over the channels within ``depth_radius``."""
    return x * op.Pow(_denominator(op, x), -float(op.attr("beta")))


@lowers("LRNGrad")
def lrn_grad(op: OpContext, dy: Value, x: Value, y: Value) -> Value:
    """``dx = dy * n**-beta - 2 * alpha * beta * x * s(dy * y / n)``, ``n`` the denominator of ``LRN``."""
    n = _denominator(op, x)
    factor = 2.0 * float(op.attr("alpha")) * float(op.attr("beta"))
    return dy * op.Pow(n, -float(op.attr("beta"))) - factor * x * _channel_sum(op, dy * y / n)


def _denominator(op: OpContext, x: Value) -> Value:
    return _channel_sum(op, x * x) * float(op.attr("alpha")) + float(op.attr("bias"))


def _channel_sum(op: OpContext, x: Value) -> Value:
    """The sum over the neighbouring channels as a product with a band matrix of ones."""
    channels = x.dims[-1]
    if not isinstance(channels, int):
        raise op.unsupported("the number of channels is free; fix that size in the input's shape")
    index = np.arange(channels)
    return x @ op.const(np.abs(index[:, None] - index) <= op.attr("depth_radius"), x.dtype)


def _running(op: OpContext, given: Value, batch: Value) -> Value:
    factor = float(op.attr("exponential_avg_factor"))
    return batch if factor == 1 else given * (1 - factor) + batch * factor


def _channel_axis(op: OpContext, x: Value) -> int:
    return x.rank - 1 if win.is_channels_last(op) else 1


def _other_axes(op: OpContext, x: Value) -> list[int]:
    return [axis for axis in range(x.rank) if axis != _channel_axis(op, x)]


def _along(op: OpContext, vector: Value, x: Value) -> Value:
    """A vector of one number for each channel, to broadcast with ``x``."""
    if _channel_axis(op, x) == x.rank - 1:
        return vector
    shape: list[Size] = [1] * x.rank
    shape[1] = vector.dims[0]
    return op.reshape(vector, shape)
