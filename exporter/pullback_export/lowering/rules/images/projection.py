"""Projective transforms of images (tensorflow/core/kernels/image/image_ops.h). Positions are float32.

TensorFlow composes the gradient from the same op with the inverse transform.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import resampling as res
from pullback_export.lowering.numerics.size_vectors import named_sizes
from pullback_export.lowering.registry import lowers


@lowers("ImageProjectiveTransformV2")
def projective_transform_v2(op: OpContext, images: Value, transforms: Value, size: Value) -> Value:
    """As V3 with a fill value of 0."""
    return _transformed(op, images, transforms, size, op.const(0, images.dtype))


@lowers("ImageProjectiveTransformV3")
def projective_transform_v3(op: OpContext, images: Value, transforms: Value, size: Value, fill: Value) -> Value:
    """Pixel ``(x, y)`` comes from ``((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k)``, ``k = c0 x + c1 y + 1``."""
    return _transformed(op, images, transforms, size, op.cast(fill, images.dtype))


def _transformed(op: OpContext, images: Value, transforms: Value, size: Value, fill: Value) -> Value:
    height, width = named_sizes(op, size)
    a, b, c, d, e, f, g, h = (op.Reshape(op.Gather(transforms, np.array([i]), axis=1), [-1, 1, 1]) for i in range(8))
    x = op.Unsqueeze(res.count_float(op, width), [0])
    y = op.Unsqueeze(res.count_float(op, height), [1])
    k = g * x + h * y + 1
    at_x = _mapped(op, (a * x + b * y + c) / k, images.dims[2])
    at_y = _mapped(op, (d * x + e * y + f) / k, images.dims[1])
    if op.attr("interpolation") == "NEAREST":
        value = _read(op, images, _rounded(op, at_y), _rounded(op, at_x), fill)
    else:
        value = _bilinear(op, images, at_y, at_x, fill)
    return op.Where(op.Unsqueeze(k.equals(0.0), [3]), fill, value)


def _bilinear(op: OpContext, images: Value, y: Value, x: Value, fill: Value) -> Value:
    top, left = op.Floor(y), op.Floor(x)
    down, right = (op.Unsqueeze(op.cast(part, images.dtype), [3]) for part in (y - top, x - left))
    upper = _read(op, images, top, left, fill) * (1 - right) + _read(op, images, top, left + 1, fill) * right
    lower = _read(op, images, top + 1, left, fill) * (1 - right) + _read(op, images, top + 1, left + 1, fill) * right
    return upper * (1 - down) + lower * down


def _read(op: OpContext, images: Value, y: Value, x: Value, fill: Value) -> Value:
    """``images[n, y, x]``, or ``fill`` outside."""
    batch, height, width, channels = images.dims
    index = res.within(op, y, height) * op.sizes([width]) + res.within(op, x, width)
    flat = op.reshape(images, [batch, height * width, channels])
    rows = op.Expand(index, op.Concat(op.sizes([batch]), op.const([1, 1]), axis=0))
    pixels = op.GatherND(flat, op.Unsqueeze(rows, [3]), batch_dims=1)
    inside = _between(op, x, width) & _between(op, y, height)
    return op.Where(op.Unsqueeze(inside, [3]), pixels, fill)


def _between(op: OpContext, at: Value, size: Size) -> Value:
    return (at >= 0.0) & (at <= res.size_float(op, size) - 1)


def _rounded(op: OpContext, at: Value) -> Value:
    """Halves away from zero."""
    return op.Sign(at) * op.Floor(op.Abs(at) + 0.5)


def _mapped(op: OpContext, at: Value, size: Size) -> Value:
    """Positions outside of the image, moved into it by ``fill_mode``; CONSTANT leaves them outside."""
    mode = str(op.attr("fill_mode"))
    if mode == "CONSTANT":
        return at
    last = res.size_float(op, size) - 1
    if mode == "REFLECT":
        at = _reflected(op, at, last + 1)
    elif mode == "WRAP":
        at = _wrapped(op, at, last + 1)
    return op.Min(op.Max(at, 0.0), last)


def _reflected(op: OpContext, at: Value, size: Value) -> Value:
    """``dcba|abcd|dcba``."""
    period = size * 2
    below = period * _truncated(op, -at / period) + at
    below = op.Where(below < -size, below + period, -below - 1)
    above = at - period * _truncated(op, at / period)
    above = op.Where(above >= size, period - above - 1, above)
    return op.Where(at < 0.0, below, op.Where(at > size - 1, above, at))


def _wrapped(op: OpContext, at: Value, size: Value) -> Value:
    """``abcd|abcd|abcd``."""
    last = op.Max(size - 1, 1.0)
    below = at + size * (_truncated(op, -at / last) + 1)
    above = at - size * _truncated(op, at / last)
    return op.Where(at < 0.0, below, op.Where(at > size - 1, above, at))


def _truncated(op: OpContext, x: Value) -> Value:
    """Of non-negative numbers."""
    return op.Floor(x)
