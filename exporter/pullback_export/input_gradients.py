"""Lets tapes leave out the kernel gradients of convolutions that nobody asks for.

Derivatives are taken with respect to inputs. TensorFlow's gradient functions of convolutions compute that of the
kernel as well, which is a third of the arithmetic of an eager pass through a convolutional network, thrown away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from pullback_export.replaced_gradient import Gradient, replaced_gradient
from pullback_export.safe_convolution import is_unsafe, wants_kernel

_ATTRIBUTES = ("strides", "padding", "data_format", "dilations")


@contextlib.contextmanager
def input_gradients() -> Iterator[None]:
    """Within it, tapes differentiate convolutions by their kernels only where a kernel is watched."""
    with contextlib.ExitStack() as stack:
        for change in _CHANGES:
            stack.enter_context(change.active())
        yield


def _conv2d(op: Any, dy: Any) -> Any:
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(op.inputs[0]),
        filter=op.inputs[1],
        out_backprop=dy,
        explicit_paddings=op.get_attr("explicit_paddings"),
        use_cudnn_on_gpu=op.get_attr("use_cudnn_on_gpu"),
        **_attributes(op),
    )


def _depthwise(op: Any, dy: Any) -> Any:
    return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.shape(op.inputs[0]),
        filter=op.inputs[1],
        out_backprop=dy,
        explicit_paddings=op.get_attr("explicit_paddings"),
        **_attributes(op),
    )


def _conv3d(op: Any, dy: Any) -> Any:
    return tf.raw_ops.Conv3DBackpropInputV2(
        input_sizes=tf.shape(op.inputs[0]), filter=op.inputs[1], out_backprop=dy, **_attributes(op)
    )


def _attributes(op: Any) -> dict[str, Any]:
    return {name: op.get_attr(name) for name in _ATTRIBUTES}


def _without_kernel(by_input: Callable[[Any, Any], Any]) -> Callable[[Gradient], Gradient]:
    """``by_input(op, dy)`` is the gradient of the first input alone.

    What must not be computed by TensorFlow's kernel is left to :func:`~pullback_export.safe_convolution`.
    """

    def replace(original: Gradient) -> Gradient:
        def gradient(op: Any, dy: Any) -> Any:
            return original(op, dy) if wants_kernel(op) or is_unsafe(op) else (by_input(op, dy), None)

        return gradient

    return replace


_CHANGES = tuple(
    replaced_gradient(op_type, _without_kernel(by_input))
    for op_type, by_input in {
        "Conv2D": _conv2d,
        "DepthwiseConv2dNative": _depthwise,
        "Conv3D": _conv3d,
    }.items()
)
