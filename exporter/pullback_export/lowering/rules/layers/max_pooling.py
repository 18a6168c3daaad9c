"""Maximum pooling and its gradients (tensorflow/core/kernels/maxpooling_op.cc, pooling_ops_3d.cc).

Where several elements of a window are equal and largest, the gradient goes to the first of them, in row-major
order. Only ``MaxPool3DGrad``, channels last, gives it to all of them: that is what TensorFlow's kernel does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import windows as win
from pullback_export.lowering.numerics.windows import Window
from pullback_export.lowering.registry import lowers


@lowers("MaxPool", "MaxPool3D")
def max_pool(op: OpContext, x: Value) -> Value:
    """Largest element of each window; padding never is."""
    windows = _windows(op, x.dims, op.attr("ksize"), op.attr("strides"))
    return win.channels_as_given(op, _maxima(op, win.channels_first(op, x), windows)[0])


@lowers("MaxPoolV2")
def max_pool_v2(op: OpContext, x: Value, ksize: Value, strides: Value) -> Value:
    """As ``MaxPool``, with the window as tensors."""
    windows = _windows(op, x.dims, *_constants(op, ksize, strides))
    return win.channels_as_given(op, _maxima(op, win.channels_first(op, x), windows)[0])


@lowers("MaxPoolGrad")
def max_pool_grad(op: OpContext, x: Value, y: Value, dy: Value) -> Value:
    """``dy`` added to the first largest element of its window."""
    return _gradient(op, x, dy, _windows(op, x.dims, op.attr("ksize"), op.attr("strides")))


@lowers("MaxPoolGradV2")
def max_pool_grad_v2(op: OpContext, x: Value, y: Value, dy: Value, ksize: Value, strides: Value) -> Value:
    """As ``MaxPoolGrad``, with the window as tensors."""
    return _gradient(op, x, dy, _windows(op, x.dims, *_constants(op, ksize, strides)))


@lowers("MaxPool3DGrad")
def max_pool_3d_grad(op: OpContext, x: Value, y: Value, dy: Value) -> Value:
    """``dy`` added to every largest element of its window (XLA, which alone runs channels first: to the first)."""
    windows = _windows(op, x.dims, op.attr("ksize"), op.attr("strides"))
    if not win.is_channels_last(op):
        return _gradient(op, x, dy, windows)
    first, largest, gradient = (win.channels_first(op, value) for value in (x, y, dy))
    padded = win.pad(op, first, windows, -np.inf)
    batch, channels, *results = largest.dims
    taps = int(np.prod([window.kernel for window in windows]))
    elements = op.reshape(win.unfold(op, padded, windows), [batch, taps, channels, *results])
    shares = op.mask(elements.equals(op.Unsqueeze(largest, [1])), op.Unsqueeze(gradient, [1]))
    dx = win.fold(op, op.reshape(shares, [batch, taps * channels, *results]), windows)
    return win.channels_as_given(op, dx)


@lowers("MaxPoolGradGrad", "MaxPool3DGradGrad")
def max_pool_grad_grad(op: OpContext, x: Value, y: Value, ddx: Value) -> Value:
    """``ddx`` at the first largest element of each window."""
    return _selected(op, x, ddx, _windows(op, x.dims, op.attr("ksize"), op.attr("strides")))


@lowers("MaxPoolGradGradV2")
def max_pool_grad_grad_v2(op: OpContext, x: Value, y: Value, ddx: Value, ksize: Value, strides: Value) -> Value:
    """As ``MaxPoolGradGrad``, with the window as tensors."""
    return _selected(op, x, ddx, _windows(op, x.dims, *_constants(op, ksize, strides)))


@lowers("MaxPoolWithArgmax")
def max_pool_with_argmax(op: OpContext, x: Value) -> list[Value]:
    """The maxima and where they are: ``(row * width + column) * channels + channel``, plus the image's start."""
    windows = _nhwc_windows(op, x)
    first = op.transpose(x, [0, 3, 1, 2])
    y, found = _maxima(op, first, windows, indices=True)
    batch, channels, height, width = first.dims
    pixels = op.reshape(op.sizes([product([height, width])]), [])
    position = op.Mod(found, pixels) * _scalar(op, channels) + op.reshape(_count(op, channels), [1, channels, 1, 1])
    if op.attr("include_batch_in_index"):
        position = position + op.reshape(_count(op, batch), [batch, 1, 1, 1]) * pixels * _scalar(op, channels)
    argmax = op.cast(op.transpose(position, [0, 2, 3, 1]), op.output_dtype(1))
    return [op.transpose(y, [0, 2, 3, 1]), argmax]


@lowers("MaxPoolGradWithArgmax")
def max_pool_grad_with_argmax(op: OpContext, x: Value, dy: Value, argmax: Value) -> Value:
    """``dy`` added at ``argmax``."""
    flat = op.full([product(x.dims)], 0, dy.dtype)
    places = op.Reshape(_whole_index(op, x, argmax), [-1])
    return op.reshape(op.ScatterElements(flat, places, op.Reshape(dy, [-1]), axis=0, reduction="add"), x.dims)


def _whole_index(op: OpContext, x: Value, argmax: Value) -> Value:
    """``argmax`` with the image's start, which the operator may omit."""
    places = op.cast(argmax, np.int64)
    if op.attr("include_batch_in_index"):
        return places
    image = op.reshape(op.sizes([product(x.dims[1:])]), [])
    return places + op.reshape(_count(op, x.dims[0]), [x.dims[0], 1, 1, 1]) * image


def _count(op: OpContext, size: Size) -> Value:
    """``0, 1, ... size - 1``."""
    return op.Range(op.const(0, np.int64), _scalar(op, size), op.const(1, np.int64))


def _scalar(op: OpContext, size: Size) -> Value:
    return op.Reshape(op.sizes([size]), [])


def _gradient(op: OpContext, x: Value, dy: Value, windows: Sequence[Window]) -> Value:
    first = win.channels_first(op, x)
    found = _maxima(op, first, windows, indices=True)[1]
    flat = op.full([product(x.dims)], 0, dy.dtype)
    updates = op.Reshape(win.channels_first(op, dy), [-1])
    dx = op.ScatterElements(flat, op.Reshape(found, [-1]), updates, axis=0, reduction="add")
    return win.channels_as_given(op, op.reshape(dx, first.dims))


def _selected(op: OpContext, x: Value, ddx: Value, windows: Sequence[Window]) -> Value:
    found = _maxima(op, win.channels_first(op, x), windows, indices=True)[1]
    flat = op.Reshape(win.channels_first(op, ddx), [-1])
    return win.channels_as_given(op, op.Gather(flat, found))


def _maxima(op: OpContext, x: Value, windows: Sequence[Window], indices: bool = False) -> list[Value]:
    """``(N, C, *results)``; with ``indices`` also the position of the first largest element in flat ``x``."""
    if any(window.pads is not None and max(window.pads) >= window.kernel for window in windows):
        raise op.unsupported("the padding is as wide as the window; use a padding smaller than the window")
    shape = {"kernel_shape": [window.kernel for window in windows], "strides": [window.stride for window in windows]}
    if win.needs_explicit_pad(windows):
        padded = win.pad(op, x, windows, -np.inf)
        results: Any = op.MaxPool(padded, **shape, outputs=2 if indices else None)
        if indices:
            results = [results[0], _unpadded(op, results[1], x, padded, windows)]
    else:
        results = op.MaxPool(x, **shape, outputs=2 if indices else None, **win.pad_attributes(windows))
    values: list[Value] = [win.only_results(op, item, windows) for item in (results if indices else [results])]
    for value in values:
        value.refine((*x.dims[:2], *[window.result for window in windows]))
    return values


def _unpadded(op: OpContext, found: Value, x: Value, padded: Value, windows: Sequence[Window]) -> Value:
    """Positions in flat ``padded`` as positions in flat ``x``."""
    places = []
    for axis in range(x.rank - 1, 1, -1):
        length = op.sizes([padded.dims[axis]])
        places.append(op.Mod(found, length) - win.leading_pad(op, windows[axis - 2]))
        found = op.Div(found, length)
    for axis, place in zip(range(2, x.rank), reversed(places), strict=True):
        found = found * op.sizes([x.dims[axis]]) + place
    return found


def _windows(op: OpContext, shape: Sequence[Size], ksize: Sequence[int], strides: Sequence[int]) -> list[Window]:
    kernel = win.spatial(op, ksize, "a window")
    explicit = win.explicit_pads(op)
    steps = win.spatial(op, strides, "strides")
    sizes = win.spatial_sizes(op, shape)
    windows = win.sliding(sizes, kernel, steps, [1] * len(kernel), op.attr("padding"), explicit)
    win.check_consistent(op, windows)
    return windows


def _nhwc_windows(op: OpContext, x: Value) -> list[Window]:
    kernel, strides = list(op.attr("ksize"))[1:3], list(op.attr("strides"))[1:3]
    if list(op.attr("ksize"))[::3] != [1, 1]:
        raise op.unsupported("the window spans the batch or the channels; use size 1 and stride 1 there")
    return win.sliding(x.dims[1:3], kernel, strides, [1, 1], op.attr("padding"))


def _constants(op: OpContext, ksize: Value, strides: Value) -> tuple[list[int], list[int]]:
    return op.constant_of(ksize, "the window").tolist(), op.constant_of(strides, "the strides").tolist()
