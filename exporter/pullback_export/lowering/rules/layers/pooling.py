"""Average pooling and its gradient (tensorflow/core/kernels/avgpooling_op.cc, pooling_ops_3d.cc)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import windows as win
from pullback_export.lowering.numerics.size_vectors import named_sizes
from pullback_export.lowering.numerics.windows import Window
from pullback_export.lowering.registry import lowers


@lowers("AvgPool", "AvgPool3D")
def avg_pool(op: OpContext, x: Value) -> Value:
    """Mean of each window; padding is not counted."""
    windows = _windows(op, x.dims)
    first = win.channels_first(op, x)
    has_kernel = x.dtype == np.float32 and not win.needs_explicit_pad(windows)
    y = _mean_node(op, first, windows) if has_kernel else _means(op, first, windows)
    y.refine((*first.dims[:2], *[window.result for window in windows]))
    return win.channels_as_given(op, y)


@lowers("AvgPoolGrad", "AvgPool3DGrad")
def avg_pool_grad(op: OpContext, sizes: Value, dy: Value) -> Value:
    """Each element gets ``dy / count`` of every window that it is in."""
    windows = _windows(op, named_sizes(op, sizes))
    share = _per_element(op, win.channels_first(op, dy), windows)
    if dy.dtype == np.float32 and all(window.stride == 1 for window in windows):
        dx = _stride_one(op, share, windows)
    elif dy.dtype == np.float32 and len(windows) == 2 and all(map(_are_tiles, windows)):
        dx = _repeated(op, share, windows)
    else:
        dx = share
        for index, window in enumerate(windows):
            dx = win.scatter_taps(op, [dx] * window.kernel, 2 + index, window)
    return win.channels_as_given(op, dx)


def _stride_one(op: OpContext, share: Value, windows: Sequence[Window]) -> Value:
    """The sum over the windows of an element, as the mean over a window of the same size times its taps."""
    pads = [window.kernel - 1 - window.pads[side] for side in (0, 1) for window in windows if window.pads is not None]
    kernel = [window.kernel for window in windows]
    mean = op.AveragePool(share, kernel_shape=kernel, pads=pads, count_include_pad=1)
    return mean * float(np.prod(kernel))


def _are_tiles(window: Window) -> bool:
    """Whether each element is in exactly one window."""
    if not isinstance(window.size, int) or not isinstance(window.result, int):
        return False
    return window.kernel == window.stride and 0 < window.size == window.result * window.stride


def _repeated(op: OpContext, share: Value, windows: Sequence[Window]) -> Value:
    """Each element as often as its window is wide; ``Expand`` takes 30 times as long where it repeats single ones."""
    scales = op.const([1, 1, *[window.stride for window in windows]], np.float32)
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    dx: Value = op.Resize(share, None, scales, **modes)
    dx.refine((*share.dims[:2], *[window.size for window in windows]))
    return dx


def _mean_node(op: OpContext, x: Value, windows: Sequence[Window]) -> Value:
    kernel, strides = [window.kernel for window in windows], [window.stride for window in windows]
    pooled: Value = op.AveragePool(x, kernel_shape=kernel, strides=strides, **win.pad_attributes(windows))
    return win.only_results(op, pooled, windows)


def _means(op: OpContext, x: Value, windows: Sequence[Window]) -> Value:
    """Sums of shifted slices over counts, for double precision."""
    total = win.pad(op, x, windows)
    for index, window in enumerate(windows):
        taps = [win.tap(op, total, 2 + index, window, number) for number in range(window.kernel)]
        total = op.Sum(*taps)
    return _per_element(op, total, windows)


def _per_element(op: OpContext, total: Value, windows: Sequence[Window]) -> Value:
    """``total`` over the number of elements in each window."""
    if all(window.pads == (0, 0) for window in windows):
        return total * (1.0 / float(np.prod([window.kernel for window in windows])))
    for index, window in enumerate(windows):
        counts = op.cast(_counts(op, window), total.dtype)
        shape: list[Size] = [1] * total.rank
        shape[2 + index] = window.result
        total = total / op.reshape(counts, shape)
    return total


def _counts(op: OpContext, window: Window) -> Value:
    """``min(start + kernel, size) - max(start, 0)`` for the start of each window."""
    results = op.Reshape(op.sizes([window.result]), [])
    starts = op.Range(op.const(0, np.int64), results, op.const(1, np.int64)) * window.stride
    starts = starts - win.leading_pad(op, window)
    ends = op.Min(starts + window.kernel, op.sizes([window.size]))
    return ends - op.Max(starts, [0])


def _windows(op: OpContext, shape: Sequence[Size]) -> list[Window]:
    kernel = win.spatial(op, op.attr("ksize"), "a window")
    strides = win.spatial(op, op.attr("strides"), "strides")
    windows = win.sliding(win.spatial_sizes(op, shape), kernel, strides, [1] * len(kernel), op.attr("padding"))
    win.check_consistent(op, windows)
    return windows
