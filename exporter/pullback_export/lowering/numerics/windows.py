"""Sliding windows on the spatial axes of a channels-first tensor ``(N, C, *spatial)``: convolution and pooling.

``unfold`` collects the taps of the windows in the channels, ``fold`` is its adjoint. Both are exact in every dtype
and read and write whole rows, so convolutions in double precision (no kernel in ONNX Runtime) are built from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext


@dataclasses.dataclass(frozen=True)
class Window:
    """One axis: ``result`` windows of ``kernel`` taps, ``dilation`` apart, every ``stride`` on ``size`` elements.

    ``pads``: zeros before and after; None where they follow from a free size when the graph runs (SAME, strided).
    """

    size: Size
    result: Size
    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int] | None

    @property
    def reach(self) -> int:
        """Elements from the first to the last tap, both included."""
        return (self.kernel - 1) * self.dilation + 1


def channels_first(op: OpContext, x: Value) -> Value:
    """``x`` as ``(N, C, *spatial)`` whatever the op's ``data_format`` is."""
    return op.transpose(x, [0, x.rank - 1, *range(1, x.rank - 1)]) if is_channels_last(op) else x


def channels_as_given(op: OpContext, x: Value) -> Value:
    """The inverse of :func:`channels_first`."""
    return op.transpose(x, [0, *range(2, x.rank), 1]) if is_channels_last(op) else x


def is_channels_last(op: OpContext) -> bool:
    return str(op.attr("data_format")) in ("NHWC", "NDHWC", "CHANNELS_LAST")


def spatial(op: OpContext, per_axis: Sequence[int], what: str) -> list[int]:
    """The spatial entries of an attribute with one entry for each axis; the others must be 1."""
    entries = [int(entry) for entry in per_axis]
    batch, channel = entries[0], entries[-1] if is_channels_last(op) else entries[1]
    if batch != 1 or channel != 1:
        raise op.unsupported(f"{what} over the batch or the channels are not supported; use 1 there")
    return entries[1:-1] if is_channels_last(op) else entries[2:]


def spatial_sizes(op: OpContext, sizes: Sequence[Size]) -> list[Size]:
    """The spatial sizes of a shape in the op's ``data_format``."""
    return list(sizes[1:-1]) if is_channels_last(op) else list(sizes[2:])


def sliding(
    sizes: Sequence[Size],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: str,
    explicit: Sequence[tuple[int, int]] = (),
) -> list[Window]:
    """The windows of TensorFlow's ``padding``: SAME gives ``ceil(size / stride)`` windows, odd zeros go to the end."""
    result = []
    for axis, size in enumerate(sizes):
        k, s, d = kernel[axis], strides[axis], dilations[axis]
        reach = (k - 1) * d + 1
        pads: tuple[int, int] | None = (0, 0)
        if padding == "EXPLICIT":
            pads = explicit[axis]
        elif padding == "SAME" and (s == 1 or reach == 1 or isinstance(size, int)):
            total = max((-(-size // s) - 1) * s + reach - size, 0) if isinstance(size, int) else reach - 1
            pads = (total // 2, total - total // 2)
        elif padding == "SAME":
            pads = None
        count = (size + (s - 1)) // s if padding == "SAME" else (size + (sum(pads or ()) - reach)) // s + 1
        result.append(Window(size, count, k, s, d, pads))
    return result


def check_consistent(op: OpContext, windows: Sequence[Window]) -> None:
    """Refuses 3-D windows of which TensorFlow's kernels read other elements for a value than for its gradient.

    With padding SAME and gaps between the windows the values begin ``-pad`` elements later, the gradients do not.
    """
    if len(windows) < 3 or op.attr("padding") != "SAME":
        return
    for window in windows:
        covered = (window.result - 1) * window.stride + window.reach - window.size
        if window.reach < window.stride - 1 and not (isinstance(covered, int) and covered > -2):
            raise op.unsupported(
                "padding SAME in three dimensions with windows smaller than the strides: TensorFlow's value and its"
                " gradient read different elements; use padding VALID"
            )


def explicit_pads(op: OpContext) -> list[tuple[int, int]]:
    """The pairs of the attribute ``explicit_paddings`` for the spatial axes."""
    if op.attr("padding") != "EXPLICIT":
        return []
    flat = [int(entry) for entry in op.attr("explicit_paddings")]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return pairs[1:-1] if is_channels_last(op) else pairs[2:]


def needs_explicit_pad(windows: Sequence[Window]) -> bool:
    """Whether ONNX Runtime cannot pad: its ``SAME_UPPER`` is for windows that touch, and not for dilated ones."""
    known = all(window.pads is not None for window in windows)
    return not known and any(window.dilation > 1 or window.kernel < window.stride for window in windows)


def pad_attributes(windows: Sequence[Window]) -> dict[str, Any]:
    """``pads`` of an ONNX convolution or pooling; ``auto_pad`` where they follow from a free size."""
    if any(window.pads is None for window in windows):
        return {"auto_pad": "SAME_UPPER"}
    return {"pads": [window.pads[side] for side in (0, 1) for window in windows if window.pads is not None]}


def leading_pad(op: OpContext, window: Window) -> Value:
    """Zeros before the first element, as a vector of one number."""
    if window.pads is not None:
        return op.const([window.pads[0]], np.int64)
    return op.Div(_total_pad(op, window), [2])


def _total_pad(op: OpContext, window: Window) -> Value:
    """``max((result - 1) * stride + reach - size, 0)``."""
    size = op.sizes([window.size])
    result = (size + (window.stride - 1)) / window.stride
    needed = (result - 1) * window.stride + window.reach - size
    return op.Max(needed, [0])


def pad(op: OpContext, x: Value, windows: Sequence[Window], number: float = 0.0) -> Value:
    """``x`` with the windows' padding made explicit."""
    befores = [leading_pad(op, window) for window in windows]
    afters = [
        op.const([window.pads[1]], np.int64) if window.pads is not None else _total_pad(op, window) - before
        for window, before in zip(windows, befores, strict=True)
    ]
    axes = list(range(2, 2 + len(windows)))
    fill = None if number == 0 else op.const(number, x.dtype)
    return op.Pad(x, op.Concat(*befores, *afters, axis=0), fill, axes)


def only_results(op: OpContext, pooled: Value, windows: Sequence[Window]) -> Value:
    """``pooled`` without the window that ONNX Runtime finds on an axis shorter than it.

    It rounds ``(size - reach) / stride`` towards zero, and so counts one window where up to ``stride - 1`` elements are
    missing. TensorFlow counts none (``GetWindowedOutputSize``).
    """
    axes = [2 + index for index, window in enumerate(windows) if may_be_short(window) and window.stride > 1]
    if not axes:
        return pooled
    on = [windows[axis - 2] for axis in axes]
    # The number of windows must not be read from a value that has one too many.
    several = [op.graph.fresh_size("windows") if axis in axes else size for axis, size in enumerate(pooled.dims)]
    pooled.refine(tuple(several))
    room = op.sizes([window.size + (sum(window.pads or ()) + window.stride - window.reach) for window in on])
    counts = op.Max(op.Div(room, [window.stride for window in on]), [0])
    found: Value = op.Slice(pooled, [0] * len(axes), counts, axes)
    return found


def may_be_short(window: Window) -> bool:
    """Whether an axis of free size may have no room for a window, with its padding."""
    return not isinstance(window.size, int) and window.pads is not None and sum(window.pads) + 1 < window.reach


def tap(op: OpContext, x: Value, axis: int, window: Window, index: int) -> Value:
    """Element ``index`` of every window on one padded axis: ``result`` elements, ``stride`` apart."""
    start = index * window.dilation
    if window.kernel == 1 and window.stride == 1:
        return x
    last = (window.result - 1) * window.stride + (start + 1)
    end = [last] if isinstance(last, int) else op.sizes([last])
    if may_be_short(window) and window.stride > 1:
        end = op.Max(end, [0])  # less than 0 would count from the end
    part = op.Slice(x, [start], end, [axis], [window.stride])
    part.refine((*x.dims[:axis], window.result, *x.dims[axis + 1 :]))
    return part


def unfold(op: OpContext, x: Value, windows: Sequence[Window]) -> Value:
    """``(N, C, *padded)`` to ``(N, taps * C, *results)``; taps in row-major order of the *reversed* kernel axes."""
    for index, window in enumerate(windows):
        taps = [tap(op, x, 2 + index, window, number) for number in range(window.kernel)]
        x = op.Concat(*taps, axis=1)
    return x


def fold(op: OpContext, columns: Value, windows: Sequence[Window]) -> Value:
    """The adjoint of padding and ``unfold``: ``(N, taps * C, *results)`` summed back to ``(N, C, *sizes)``."""
    for index, window in reversed(list(enumerate(windows))):
        taps = (
            [columns]
            if window.kernel == 1
            else op.Split(columns, axis=1, num_outputs=window.kernel, outputs=window.kernel)
        )
        columns = scatter_taps(op, taps, 2 + index, window)
    return columns


def scatter_taps(op: OpContext, taps: Sequence[Value], axis: int, window: Window) -> Value:
    """Sums tap ``t`` of window ``j`` into element ``j * stride + t * dilation - pad`` of the axis.

    Taps with equal ``t * dilation % stride`` are shifted and added; these phases are then interleaved.
    """
    s, d = window.stride, window.dilation
    farthest = (window.reach - 1) // s
    phases: list[Value | None] = []
    for phase in range(s):
        parts = []
        for index, part in enumerate(taps):
            if index * d % s == phase:
                shift = index * d // s
                parts.append(op.Pad(part, [shift, farthest - shift], None, [axis]))
        phases.append(_sum(op, parts) if parts else None)
    present = [part for part in phases if part is not None]
    dims, length = list(present[0].dims), window.result + farthest
    if s > 1:
        zero = op.full([*dims[:axis], length, *dims[axis + 1 :]], 0, present[0].dtype) if None in phases else None
        columns = [op.Unsqueeze(part if part is not None else zero, [axis + 1]) for part in phases]
        if all(column is columns[0] for column in columns):
            joined = op.Expand(columns[0], op.sizes([*dims[:axis], length, s, *dims[axis + 1 :]]))
        else:
            joined = op.Concat(*columns, axis=axis + 1)
        whole = op.reshape(joined, [*dims[:axis], length * s, *dims[axis + 1 :]])
    else:
        whole = present[0]
    return crop(op, whole, axis, window, length * s)


def crop(op: OpContext, whole: Value, axis: int, window: Window, length: Size) -> Value:
    """Elements ``pad ... pad + size`` of the axis, which has ``length`` elements; zeros where it ends before."""
    if window.pads is not None:
        before, after = -window.pads[0], window.size + (window.pads[0] - length)
        ends = op.const([before, after], np.int64) if isinstance(after, int) else op.sizes([before, after])
    else:
        first = leading_pad(op, window)
        ends = op.Concat(-first, op.sizes([window.size]) + first - op.sizes([length]), axis=0)
    result = op.Pad(whole, ends, None, [axis])
    result.refine((*whole.dims[:axis], window.size, *whole.dims[axis + 1 :]))
    return result


def _sum(op: OpContext, parts: Sequence[Value]) -> Value:
    return parts[0] if len(parts) == 1 else op.Sum(*parts)
