"""Gradients of convolutions whose output is empty, as errors instead of crashes.

A convolution without padding takes an image that is one pixel too small for its kernel, and gives no pixels. The
kernels of its gradients, and those of transposed convolutions, then read outside of their buffers and end the process
with a segmentation fault (TensorFlow 2.21, ``Conv2DBackpropInput``, ``Conv2DBackpropFilter`` and the 3-D ones; a batch
of no rows they do take). Where the sizes are known such a gradient raises; where they are free it holds an assertion,
so that the SavedModel raises too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pullback_export.overrides.temporary_change import TemporaryChange

# Their third argument is the gradient of the output, or what is convolved in transposed form.
_FUNCTIONS = (
    "conv2d_backprop_input",
    "conv2d_backprop_filter",
    "conv3d_backprop_input_v2",
    "conv3d_backprop_filter_v2",
)
_MESSAGE = "a convolution has no output here, and TensorFlow no gradient of that: give it a larger image or signal"


def checked_sizes() -> contextlib.AbstractContextManager[None]:
    """Within it, gradients of convolutions and transposed convolutions (eager and in traces) refuse empty operands."""
    return _CHANGE.active()


def _change() -> Callable[[], None]:
    from tensorflow.python.ops import gen_nn_ops

    before = {name: getattr(gen_nn_ops, name) for name in _FUNCTIONS}
    for name, original in before.items():
        setattr(gen_nn_ops, name, _checked(original))

    def undo() -> None:
        for name, original in before.items():
            setattr(gen_nn_ops, name, original)

    return undo


def _checked(original: Callable[..., Any]) -> Callable[..., Any]:
    def checked(first: Any, second: Any, out_backprop: Any, *more: Any, **options: Any) -> Any:
        return original(first, second, _not_empty(tf.convert_to_tensor(out_backprop), options), *more, **options)

    # Callers name their operands in different ways, so that they are matched by place.
    def by_place(*operands: Any, **options: Any) -> Any:
        names = [name for name in options if name in _OPERANDS]
        return checked(*operands, *(options.pop(name) for name in sorted(names, key=_OPERANDS.index)), **options)

    return by_place


# The names of the operands, in the order of their places (``input_sizes, filter`` and ``input, filter_sizes``).
_OPERANDS = ("input_sizes", "input", "filter", "filter_sizes", "out_backprop")


def _not_empty(operand: Any, options: dict[str, Any]) -> Any:
    """``operand``, whose sizes beside the batch and the channels are above zero."""
    layout = options.get("data_format") or "NHWC"
    channels_first = (layout.decode() if isinstance(layout, bytes) else layout).startswith("NC")
    sizes = operand.shape[2:] if channels_first else operand.shape[1:-1]
    if 0 in sizes:
        raise tf.errors.InvalidArgumentError(None, None, _MESSAGE)
    if None not in sizes:
        return operand
    shape = tf.shape(operand)
    check = tf.debugging.assert_positive(shape[2:] if channels_first else shape[1:-1], _MESSAGE)
    with tf.control_dependencies([check]):
        return tf.identity(operand)


_CHANGE = TemporaryChange(_change)
