"""Convolutions and their gradients (tensorflow/core/kernels/conv_ops.h, conv_grad_ops.h, depthwise_conv_op.h).

The work is done channels first with the weights as ONNX has them, ``(out, in / groups, *kernel)``. ONNX Runtime
has no double precision kernels: there a convolution is a matrix product with the unfolded input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import windows as win
from pullback_export.lowering.numerics.size_vectors import named_sizes
from pullback_export.lowering.numerics.windows import Window
from pullback_export.lowering.registry import lowers


@lowers("Conv2D", "Conv3D")
def conv(op: OpContext, x: Value, kernel: Value) -> Value:
    """``y[o] = sum_t x[o * stride + t * dilation - pad] @ kernel[t]``; fewer input channels in the kernel: groups."""
    windows = _windows(op, x.dims, kernel.dims)
    y = convolve(op, win.channels_first(op, x), _onnx_kernel(op, kernel), windows, _groups(op, x.dims, kernel))
    return win.channels_as_given(op, y)


@lowers("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def conv_backprop_input(op: OpContext, sizes: Value, kernel: Value, dy: Value) -> Value:
    """The adjoint of the convolution with respect to ``x`` of shape ``sizes``; also the transposed convolution."""
    shape = _given_sizes(op, sizes, dy, kernel.dims[-2])
    return _input_gradient(op, shape, kernel, dy)


@lowers("Conv2DBackpropFilter", "Conv3DBackpropFilterV2")
def conv_backprop_filter(op: OpContext, x: Value, sizes: Value, dy: Value) -> Value:
    """``dkernel[t] = sum_o x[o * stride + t * dilation - pad].T @ dy[o]``."""
    return _filter_gradient(op, x, named_sizes(op, sizes, "channels"), dy)


@lowers("DepthwiseConv2dNative")
def depthwise_conv(op: OpContext, x: Value, kernel: Value) -> Value:
    """Each channel with its own kernels: ``y[c * m + j] = conv(x[c], kernel[..., c, j])``."""
    windows = _windows(op, x.dims, kernel.dims)
    channels = _known_size(op, kernel.dims[-2])
    y = convolve(op, win.channels_first(op, x), _depthwise_kernel(op, kernel), windows, channels)
    return win.channels_as_given(op, y)


@lowers("DepthwiseConv2dNativeBackpropInput")
def depthwise_conv_backprop_input(op: OpContext, sizes: Value, kernel: Value, dy: Value) -> Value:
    """The adjoint of the depthwise convolution with respect to ``x`` of shape ``sizes``."""
    channels = _known_size(op, kernel.dims[-2])
    windows = _windows(op, _given_sizes(op, sizes, dy, channels), kernel.dims)
    dx = convolve_adjoint(op, win.channels_first(op, dy), _depthwise_kernel(op, kernel), windows, channels)
    return win.channels_as_given(op, dx)


@lowers("DepthwiseConv2dNativeBackpropFilter")
def depthwise_conv_backprop_filter(op: OpContext, x: Value, sizes: Value, dy: Value) -> Value:
    """``dkernel[t, c, j] = sum_o x[o * stride + t * dilation - pad, c] * dy[o, c * m + j]``."""
    shape = _known(op, sizes)
    windows = _windows(op, x.dims, shape)
    grouped = kernel_gradient(op, win.channels_first(op, x), win.channels_first(op, dy), windows, shape[-2])
    taps = op.Reshape(grouped, [shape[-2], *[w.kernel for w in reversed(windows)], shape[-1]])
    return op.transpose(taps, [*range(len(windows), 0, -1), 0, len(windows) + 1])


def convolve(op: OpContext, x: Value, kernel: Value, windows: Sequence[Window], groups: int = 1) -> Value:
    """``(N, C, *sizes)`` with an ONNX kernel to ``(N, out, *results)``."""
    results = [window.result for window in windows]
    shape = (x.dims[0], kernel.dims[0], *results)
    if 0 in results:
        return op.full(shape, 0, x.dtype)
    if x.dtype == np.float32:
        y = _conv_node(op, x, kernel, windows, groups)
    else:
        y = op.reshape(_product(op, x, kernel, windows, groups), shape)
    y.refine(shape)
    return y


def _conv_node(op: OpContext, x: Value, kernel: Value, windows: Sequence[Window], groups: int) -> Value:
    strides, dilations = [w.stride for w in windows], [w.dilation for w in windows]
    shared = {"strides": strides, "dilations": dilations, "group": groups}
    if win.needs_explicit_pad(windows):
        return op.Conv(win.pad(op, x, windows), kernel, **shared)
    return op.Conv(x, kernel, **shared, **win.pad_attributes(windows))


def _product(op: OpContext, x: Value, kernel: Value, windows: Sequence[Window], groups: int) -> Value:
    """``kernel @ unfolded input``, ``(N, [groups,] out, positions)``."""
    columns = _columns(op, x, windows, groups)
    return _matrix(op, kernel, groups) @ columns


def _columns(op: OpContext, x: Value, windows: Sequence[Window], groups: int) -> Value:
    """The unfolded input: ``(N, taps * in, positions)``, or ``(N, groups, taps * in / groups, positions)``."""
    batch, channels = x.dims[0], x.dims[1]
    taps = int(np.prod([window.kernel for window in windows]))
    positions = product(window.result for window in windows)
    unfolded = win.unfold(op, win.pad(op, x, windows), windows)
    if groups == 1:
        return op.reshape(unfolded, [batch, taps * channels, positions])
    split = op.reshape(unfolded, [batch, taps, groups, channels // groups, positions])
    by_group = op.transpose(split, [0, 2, 1, 3, 4])
    return op.reshape(by_group, [batch, groups, taps * channels // groups, positions])


def _matrix(op: OpContext, kernel: Value, groups: int) -> Value:
    """The ONNX kernel as ``([groups,] out / groups, taps * in / groups)``, taps in the order of ``unfold``."""
    count = kernel.rank - 2
    taps_first = op.transpose(kernel, [0, *range(count + 1, 1, -1), 1])
    out, rows = kernel.dims[0], product(kernel.dims[1:])
    return op.reshape(taps_first, [out, rows] if groups == 1 else [groups, out // groups, rows])


def convolve_adjoint(op: OpContext, dy: Value, kernel: Value, windows: Sequence[Window], groups: int = 1) -> Value:
    """The adjoint of ``convolve``: ``(N, out, *results)`` to ``(N, C, *sizes)``.

    Stride 1: a convolution with the flipped kernel, which runs at forward speed.
    """
    shape = (dy.dims[0], kernel.dims[1] * groups, *[window.size for window in windows])
    if 0 in [window.result for window in windows]:
        return op.full(shape, 0, dy.dtype)
    if dy.dtype != np.float32:
        dx = _folded(op, dy, kernel, windows, groups)
    elif all(window.stride == 1 and window.pads is not None for window in windows):
        dx = _flipped(op, dy, kernel, windows, groups)
    else:
        dx = _conv_transpose(op, dy, kernel, windows, groups)
    dx.refine(shape)
    return dx


def _flipped(op: OpContext, dy: Value, kernel: Value, windows: Sequence[Window], groups: int) -> Value:
    count = len(windows)
    out, width, *taps = kernel.dims
    axes = [axis for axis in range(2, 2 + count) if kernel.dims[axis] != 1]
    if axes:
        kernel = op.Slice(kernel, [-1] * len(axes), [-(2**62)] * len(axes), axes, [-1] * len(axes))
    if groups == 1:
        swapped = op.transpose(kernel, [1, 0, *range(2, 2 + count)])
    else:
        split = op.reshape(kernel, [groups, out // groups, width, *taps])
        swapped = op.reshape(
            op.transpose(split, [0, 2, 1, *range(3, 3 + count)]), [groups * width, out // groups, *taps]
        )
    pads = [window.reach - 1 - window.pads[side] for side in (0, 1) for window in windows if window.pads is not None]
    if min(pads) < 0:  # more padding than reach: rows of dy that only saw zeros
        dy = op.Pad(dy, [min(size, 0) for size in pads], None, list(range(2, 2 + count)))
    return op.Conv(
        dy, swapped, pads=[max(size, 0) for size in pads], dilations=[w.dilation for w in windows], group=groups
    )


def _conv_transpose(op: OpContext, dy: Value, kernel: Value, windows: Sequence[Window], groups: int) -> Value:
    """``ConvTranspose``; where a free size decides how many elements no window reaches, they are cut off after it."""
    strides, dilations = [w.stride for w in windows], [w.dilation for w in windows]
    extra: list[Size] = [
        w.size + sum(w.pads) - (w.result - 1) * w.stride - w.reach if w.pads is not None else w.size for w in windows
    ]
    if all(isinstance(size, int) and 0 <= size < max(w.stride, w.dilation) for size, w in zip(extra, windows)):
        pads = [w.pads[side] for side in (0, 1) for w in windows if w.pads is not None]
        return op.ConvTranspose(
            dy, kernel, strides=strides, dilations=dilations, pads=pads, output_padding=extra, group=groups
        )
    whole = op.ConvTranspose(dy, kernel, strides=strides, dilations=dilations, group=groups)
    for index, window in enumerate(windows):
        length = (window.result - 1) * window.stride + window.reach
        whole = win.crop(op, whole, 2 + index, window, length)
    return whole


def _folded(op: OpContext, dy: Value, kernel: Value, windows: Sequence[Window], groups: int) -> Value:
    """``fold(kernel.T @ dy)``."""
    batch, results = dy.dims[0], [window.result for window in windows]
    positions = product(results)
    out, width = kernel.dims[0], kernel.dims[1]
    taps = int(np.prod([window.kernel for window in windows]))
    matrix = _matrix(op, kernel, groups)
    if groups == 1:
        columns = op.transpose(matrix, [1, 0]) @ op.reshape(dy, [batch, out, positions])
    else:
        split = op.reshape(dy, [batch, groups, out // groups, positions])
        by_group = op.reshape(op.transpose(matrix, [0, 2, 1]) @ split, [batch, groups, taps, width, positions])
        columns = op.transpose(by_group, [0, 2, 1, 3, 4])
    return win.fold(op, op.reshape(columns, [batch, taps * groups * width, *results]), windows)


def kernel_gradient(op: OpContext, x: Value, dy: Value, windows: Sequence[Window], groups: int = 1) -> Value:
    """``([groups,] taps * in / groups, out / groups)``, taps in the order of ``unfold``: summed over positions."""
    columns = _columns(op, x, windows, groups)
    out, positions = dy.dims[1], product(window.result for window in windows)
    rows = columns.dims[-2]
    if groups == 1:
        left = op.reshape(op.transpose(columns, [1, 0, 2]), [rows, -1])
        right = op.reshape(dy, [dy.dims[0], out, positions])
        return left @ op.reshape(op.transpose(right, [0, 2, 1]), [-1, out])
    left = op.reshape(op.transpose(columns, [1, 2, 0, 3]), [groups, rows, -1])
    right = op.reshape(dy, [dy.dims[0], groups, out // groups, positions])
    return left @ op.reshape(op.transpose(right, [1, 0, 3, 2]), [groups, -1, out // groups])


def _input_gradient(op: OpContext, shape: Sequence[Size], kernel: Value, dy: Value) -> Value:
    windows = _windows(op, shape, kernel.dims)
    groups = _groups(op, shape, kernel)
    dx = convolve_adjoint(op, win.channels_first(op, dy), _onnx_kernel(op, kernel), windows, groups)
    return win.channels_as_given(op, dx)


def _filter_gradient(op: OpContext, x: Value, shape: Sequence[Size], dy: Value) -> Value:
    windows = _windows(op, x.dims, shape)
    count, width, out = len(windows), shape[-2], shape[-1]
    first = win.channels_first(op, x)
    groups = _group_count(first.dims[1], width)
    product_ = kernel_gradient(op, first, win.channels_first(op, dy), windows, groups)
    taps = [window.kernel for window in reversed(windows)]
    if groups == 1:
        return op.transpose(op.reshape(product_, [*taps, width, out]), [*range(count - 1, -1, -1), count, count + 1])
    split = op.reshape(product_, [groups, *taps, width, out // groups])
    ordered = op.transpose(split, [*range(count, 0, -1), count + 1, 0, count + 2])
    return op.reshape(ordered, [*taps[::-1], width, out])


def _windows(op: OpContext, shape: Sequence[Size], kernel: Sequence[Size]) -> list[Window]:
    taps = [_known_size(op, size) for size in kernel[:-2]]
    strides = win.spatial(op, op.attr("strides"), "strides")
    dilations = win.spatial(op, op.attr("dilations"), "dilations")
    explicit = win.explicit_pads(op)
    windows = win.sliding(win.spatial_sizes(op, shape), taps, strides, dilations, op.attr("padding"), explicit)
    win.check_consistent(op, windows)
    return windows


def _groups(op: OpContext, shape: Sequence[Size], kernel: Value) -> int:
    channels = shape[-1] if win.is_channels_last(op) else shape[1]
    return _group_count(channels, kernel.dims[-2])


def _group_count(channels: Size, width: Size) -> int:
    """Groups of ``width`` channels. Of numbers that are not known yet: one, and ONNX Runtime refuses to run others."""
    return channels // width if isinstance(channels, int) and isinstance(width, int) else 1


def _onnx_kernel(op: OpContext, kernel: Value) -> Value:
    """TensorFlow's ``(*kernel, in, out)`` as ``(out, in, *kernel)``."""
    return op.transpose(kernel, [kernel.rank - 1, kernel.rank - 2, *range(kernel.rank - 2)])


def _depthwise_kernel(op: OpContext, kernel: Value) -> Value:
    """TensorFlow's ``(*kernel, in, m)`` as ``(in * m, 1, *kernel)``."""
    *taps, channels, multiplier = [_known_size(op, size) for size in kernel.dims]
    first = op.transpose(kernel, [kernel.rank - 2, kernel.rank - 1, *range(kernel.rank - 2)])
    return op.Reshape(first, [channels * multiplier, 1, *taps])


def _known_size(op: OpContext, size: Size) -> int:
    if not isinstance(size, int):
        raise op.unsupported(
            "the kernel size or the channels of a depthwise convolution depend on the data; use constant sizes"
        )
    return size


def _known(op: OpContext, sizes: Value) -> list[int]:
    return [int(size) for size in op.constant_of(sizes, "the kernel size")]


def _given_sizes(op: OpContext, sizes: Value, dy: Value, channels: Size) -> list[Size]:
    """The shape that ``input_sizes`` names: all axes, or only the spatial ones."""
    given = named_sizes(op, sizes)
    if len(given) == dy.rank:
        return given
    return [dy.dims[0], *given, channels] if win.is_channels_last(op) else [dy.dims[0], channels, *given]
