"""Patches of images and volumes, and grey-scale dilation: sliding windows that are kept or compared tap by tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import windows as win
from pullback_export.lowering.numerics.windows import Window
from pullback_export.lowering.registry import lowers


@lowers("ExtractImagePatches", "ExtractVolumePatches")
def extract_patches(op: OpContext, x: Value) -> Value:
    """``(N, *spatial, C)`` to ``(N, *positions, taps * C)``; taps outside of the image are 0."""
    count = x.rank - 2
    rates = list(op.attr("rates"))[1:-1] if op.type == "ExtractImagePatches" else [1] * count
    windows = _windows(x, op.attr("ksizes"), op.attr("strides"), rates, op.attr("padding"))
    taps = _taps(op, _first(op, x), windows)
    channels = taps.dims[count + 1]
    ordered = op.transpose(taps, [0, *range(count + 2, 2 * count + 2), *range(1, count + 2)])
    depth: Size = channels
    for window in windows:
        depth = depth * window.kernel
    return op.reshape(ordered, [x.dims[0], *[window.result for window in windows], depth])


@lowers("Dilation2D")
def dilation(op: OpContext, x: Value, kernel: Value) -> Value:
    """``y[o] = max_t x[o * stride + t * rate - pad] + kernel[t]``; padding never is the largest."""
    windows = _dilation_windows(op, x, kernel)
    return op.transpose(op.ReduceMax(_sums(op, x, kernel, windows), [1], keepdims=0), [0, 2, 3, 1])


@lowers("Dilation2DBackpropInput")
def dilation_backprop_input(op: OpContext, x: Value, kernel: Value, dy: Value) -> Value:
    """``dy`` added to the first largest element of its window, in row-major order."""
    windows = _dilation_windows(op, x, kernel)
    chosen = _chosen(op, x, kernel, windows, dy)
    batch, _, channels, height, width = chosen.dims
    split = op.reshape(chosen, [batch, windows[0].kernel, windows[1].kernel, channels, height, width])
    columns = op.reshape(
        op.transpose(split, [0, 2, 1, 3, 4, 5]),
        [batch, channels * (windows[0].kernel * windows[1].kernel), height, width],
    )
    return op.transpose(win.fold(op, columns, windows), [0, 2, 3, 1])


@lowers("Dilation2DBackpropFilter")
def dilation_backprop_filter(op: OpContext, x: Value, kernel: Value, dy: Value) -> Value:
    """``dy`` added to the kernel's element that gave the largest sum."""
    windows = _dilation_windows(op, x, kernel)
    return op.reshape(op.ReduceSum(_chosen(op, x, kernel, windows, dy), [0, 3, 4], keepdims=0), kernel.dims)


def _chosen(op: OpContext, x: Value, kernel: Value, windows: Sequence[Window], dy: Value) -> Value:
    """``dy`` at the first largest tap and 0 at the others, ``(N, taps, C, *positions)``."""
    first = op.ArgMax(_sums(op, x, kernel, windows), axis=1, keepdims=1)
    taps = np.arange(windows[0].kernel * windows[1].kernel).reshape(1, -1, 1, 1, 1)
    return op.mask(first.equals(op.const(taps)), op.Unsqueeze(_first(op, dy), [1]))


def _sums(op: OpContext, x: Value, kernel: Value, windows: Sequence[Window]) -> Value:
    """``x + kernel`` for each tap, ``(N, taps, C, *positions)``, taps in row-major order."""
    elements = _taps(op, _first(op, x), windows, -np.inf)
    batch, rows, columns, channels, height, width = elements.dims
    flat = op.reshape(elements, [batch, rows * columns, channels, height, width])
    return flat + op.reshape(kernel, [rows * columns, channels, 1, 1])


def _taps(op: OpContext, x: Value, windows: Sequence[Window], outside: float = 0.0) -> Value:
    """The unfolded windows as ``(N, *kernel, C, *positions)``."""
    count = len(windows)
    unfolded = win.unfold(op, win.pad(op, x, windows, outside), windows)
    kernel, results = [window.kernel for window in windows], [window.result for window in windows]
    split = op.reshape(unfolded, [x.dims[0], *reversed(kernel), x.dims[1], *results])
    return op.transpose(split, [0, *range(count, 0, -1), *range(count + 1, 2 * count + 2)])


def _first(op: OpContext, x: Value) -> Value:
    return op.transpose(x, [0, x.rank - 1, *range(1, x.rank - 1)])


def _dilation_windows(op: OpContext, x: Value, kernel: Value) -> list[Window]:
    taps = [1, *(size for size in kernel.dims[:2] if isinstance(size, int)), 1]
    return _windows(x, taps, op.attr("strides"), list(op.attr("rates"))[1:-1], op.attr("padding"))


def _windows(
    x: Value, ksizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], padding: str
) -> list[Window]:
    return win.sliding(x.dims[1:-1], list(ksizes)[1:-1], list(strides)[1:-1], rates, padding)
