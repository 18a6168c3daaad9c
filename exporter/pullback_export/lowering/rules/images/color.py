"""Colours: ``(..., 3)`` in RGB or HSV (tensorflow/core/kernels/image/colorspace_op.h and adjust_*_op.cc)."""

from __future__ import annotations

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.registry import lowers


@lowers("RGBToHSV")
def rgb_to_hsv(op: OpContext, rgb: Value) -> Value:
    """Grey has hue 0, black saturation 0; among equal largest channels red comes before green before blue."""
    return op.Concat(*_hsv(op, rgb), axis=-1)


@lowers("HSVToRGB")
def hsv_to_rgb(op: OpContext, hsv: Value) -> Value:
    """``((1 - s) + s * ramp(h)) * v``."""
    return _rgb(op, *(_channel(op, hsv, index) for index in range(3)))


@lowers("AdjustHue")
def adjust_hue(op: OpContext, rgb: Value, delta: Value) -> Value:
    """The hue moved by ``delta``, modulo 1."""
    hue, saturation, value = _hsv(op, rgb)
    moved = hue + op.cast(delta, rgb.dtype)
    return _rgb(op, moved - op.Floor(moved), saturation, value)


@lowers("AdjustSaturation")
def adjust_saturation(op: OpContext, rgb: Value, scale: Value) -> Value:
    """The saturation times ``scale``, between 0 and 1."""
    hue, saturation, value = _hsv(op, rgb)
    return _rgb(op, hue, op.Min(op.Max(saturation * op.cast(scale, rgb.dtype), 0.0), 1.0), value)


@lowers("AdjustContrastv2")
def adjust_contrast(op: OpContext, image: Value, factor: Value) -> Value:
    """``(x - mean) * factor + mean``, the mean over all pixels of a channel."""
    mean = op.ReduceMean(image, [image.rank - 3, image.rank - 2], keepdims=1)
    return (image - mean) * op.cast(factor, image.dtype) + mean


def _hsv(op: OpContext, rgb: Value) -> list[Value]:
    red, green, blue = (_channel(op, rgb, index) for index in range(3))
    value = op.ReduceMax(rgb, [-1], keepdims=1)
    spread = value - op.ReduceMin(rgb, [-1], keepdims=1)
    saturation = op.Where(value > 0, spread / op.Where(value > 0, value, 1), 0)
    unit = 1 / (op.Where(spread > 0, spread, 1) * 6)
    hue = op.Where(
        red.equals(value),
        unit * (green - blue),
        op.Where(green.equals(value), unit * (blue - red) + 2 / 6, unit * (red - green) + 4 / 6),
    )
    hue = op.Where(spread > 0, hue, 0)
    return [op.Where(hue < 0, hue + 1, hue), saturation, value]


def _rgb(op: OpContext, hue: Value, saturation: Value, value: Value) -> Value:
    turn = hue * 6
    ramps = (op.Abs(turn - 3) - 1, 2 - op.Abs(turn - 2), 2 - op.Abs(turn - 4))
    full = op.Concat(*(op.Min(op.Max(ramp, 0), 1) for ramp in ramps), axis=-1)
    return (1 - saturation + saturation * full) * value


def _channel(op: OpContext, x: Value, index: int) -> Value:
    return op.Slice(x, [index], [index + 1], [-1])
