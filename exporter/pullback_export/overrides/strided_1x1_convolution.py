"""Keeps TensorFlow's crash on strided 1x1 convolutions out of traces and references.

With oneDNN on (the default), the input gradient of a 1x1 ``Conv2D`` with a stride above 1 can write outside of its
buffer. Such a convolution only sees every ``stride``-th pixel, so its gradient is that of an unstrided convolution
of these pixels, put back in their places.
"""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

from pullback_export.overrides.registered_gradient import Gradient, replaced_gradient


def safe_convolution() -> contextlib.AbstractContextManager[None]:
    """Within it, tapes (eager and in functions) differentiate strided 1x1 convolutions without the unsafe kernel."""
    return _CONVOLUTION.active()


def _safe(original: Gradient) -> Gradient:
    def gradient(op: Any, dy: Any) -> Any:
        return _gradient_of_seen_pixels(op, dy) if is_unsafe(op) else original(op, dy)

    return gradient


def is_unsafe(op: Any) -> bool:
    """Whether a convolution has a 1x1 kernel, a stride, channels last and no explicit padding."""
    kernel = op.inputs[1]
    taps = kernel.shape[:2].as_list() if kernel.shape.rank is not None else [None]
    layout, padding = (_text(op.get_attr(name)) for name in ("data_format", "padding"))
    return taps == [1, 1] and max(_strides(op)) > 1 and layout == "NHWC" and padding != "EXPLICIT"


def wants_kernel(op: Any) -> bool:
    """Whether the tape that differentiates a convolution needs the gradient of its kernel."""
    return 1 not in (getattr(op, "skip_input_indices", None) or ())


def _strides(op: Any) -> list[int]:
    return [int(stride) for stride in op.get_attr("strides")]


def _text(attribute: Any) -> str:
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)


def _gradient_of_seen_pixels(op: Any, dy: Any) -> tuple[Any, Any]:
    """``dx`` and ``dkernel``, the shapes of ``x`` and ``kernel``; None for a ``dkernel`` that is not needed."""
    x, kernel, strides = op.inputs[0], op.inputs[1], _strides(op)
    every = {"begin": [0, 0, 0, 0], "end": [0, 0, 0, 0], "strides": strides, "begin_mask": 15, "end_mask": 15}
    seen = tf.raw_ops.StridedSlice(input=x, **every)
    plain = {"strides": [1, 1, 1, 1], "padding": "VALID"}
    dseen = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(seen), filter=kernel, out_backprop=dy, **plain)
    dx = tf.raw_ops.StridedSliceGrad(shape=tf.shape(x), dy=dseen, **every)
    if not wants_kernel(op):
        return dx, None
    return dx, tf.raw_ops.Conv2DBackpropFilter(input=seen, filter_sizes=tf.shape(kernel), out_backprop=dy, **plain)


_CONVOLUTION = replaced_gradient("Conv2D", _safe)
