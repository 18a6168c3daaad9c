"""Gradients of dilated convolutions, and dilated transposed convolutions, by kernels that TensorFlow always has.

Without oneDNN TensorFlow has no CPU kernel of ``Conv2DBackpropInput`` and ``Conv2DBackpropFilter`` with dilations
("Current CPU implementations do not yet support dilation rates larger than 1"). A dilated kernel is a larger one with
zeros between its taps; with that written out, live models, traces and SavedModels do not depend on oneDNN.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.overrides.temporary_change import TemporaryChange

_NONE = (1, 1, 1, 1)
_WHOLE = {"begin": [0, 0, 0, 0], "end": [0, 0, 0, 0], "begin_mask": 15, "end_mask": 15}


def kernels_with_zeros() -> contextlib.AbstractContextManager[None]:
    """Within it, TensorFlow's Python functions (eager and in traces) write dilations of 2-D convolutions out."""
    return _CHANGE.active()


def _change() -> Callable[[], None]:
    from tensorflow.python.ops import gen_nn_ops

    before = gen_nn_ops.conv2d_backprop_input, gen_nn_ops.conv2d_backprop_filter
    gen_nn_ops.conv2d_backprop_input = _by_input(before[0])
    gen_nn_ops.conv2d_backprop_filter = _by_filter(before[1])

    def undo() -> None:
        gen_nn_ops.conv2d_backprop_input, gen_nn_ops.conv2d_backprop_filter = before

    return undo


def _by_input(original: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d_backprop_input(input_sizes: Any, filter: Any, out_backprop: Any, *more: Any, **options: Any) -> Any:
        spread = _spread(options)
        if spread is None or more:
            return original(input_sizes, filter, out_backprop, *more, **options)
        kernel = tf.convert_to_tensor(filter)
        wide = tf.raw_ops.StridedSliceGrad(shape=_wide(tf.shape(kernel), spread), dy=kernel, strides=spread, **_WHOLE)
        return original(input_sizes, wide, out_backprop, **{**options, "dilations": list(_NONE)})

    return conv2d_backprop_input


def _by_filter(original: Callable[..., Any]) -> Callable[..., Any]:
    def conv2d_backprop_filter(input: Any, filter_sizes: Any, out_backprop: Any, *more: Any, **options: Any) -> Any:
        spread = _spread(options)
        if spread is None or more:
            return original(input, filter_sizes, out_backprop, *more, **options)
        sizes = _wide(tf.convert_to_tensor(filter_sizes), spread)
        wide = original(input, sizes, out_backprop, **{**options, "dilations": list(_NONE)})
        return tf.raw_ops.StridedSlice(input=wide, strides=spread, **_WHOLE)

    return conv2d_backprop_filter


def _spread(options: dict[str, Any]) -> list[int] | None:
    """The dilations as strides of the kernel's ``(height, width, in, out)``; None where there are none."""
    dilations = [int(size) for size in options.get("dilations") or _NONE]
    if max(dilations) == 1:
        return None
    layout = options.get("data_format") or "NHWC"
    channels_last = (layout.decode() if isinstance(layout, bytes) else layout) == "NHWC"
    return [*(dilations[1:3] if channels_last else dilations[2:4]), 1, 1]


def _wide(shape: Any, spread: Sequence[int]) -> Any:
    return (shape - 1) * tf.constant(spread, shape.dtype) + 1


_CHANGE = TemporaryChange(_change)
