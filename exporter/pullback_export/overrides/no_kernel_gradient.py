"""Makes tapes skip the kernel gradients of convolutions that no derivative needs.

Derivatives are taken with respect to inputs. TensorFlow's gradient functions of convolutions compute that of the
kernel as well, which is a third of the arithmetic of an eager pass through a convolutional network, thrown away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from pullback_export.overrides.registered_gradient import Gradient, replaced_gradient
from pullback_export.overrides.strided_1x1_convolution import is_unsafe, wants_kernel


@contextlib.contextmanager
def input_gradients() -> Iterator[None]:
    """Within it, tapes differentiate convolutions by their kernels only where a kernel is watched."""
    with contextlib.ExitStack() as stack:
        for change in _CHANGES:
            stack.enter_context(change.active())
        yield


def _without_kernel(by_input: Callable[..., Any], attributes: tuple[str, ...]) -> Callable[[Gradient], Gradient]:
    """``by_input`` is TensorFlow's gradient of the first input alone, ``attributes`` what it takes of the op's.

    What must not be computed by TensorFlow's kernel is left to
    :mod:`~pullback_export.overrides.strided_1x1_convolution`.
    """

    def replace(original: Gradient) -> Gradient:
        def gradient(op: Any, dy: Any) -> Any:
            if wants_kernel(op) or is_unsafe(op):
                return original(op, dy)
            x, kernel = op.inputs
            options = {name: op.get_attr(name) for name in attributes}
            return by_input(input_sizes=tf.shape(x), filter=kernel, out_backprop=dy, **options), None

        return gradient

    return replace


def _by_input(name: str) -> Callable[..., Any]:
    """The function that TensorFlow's own gradient calls, as other overrides left it: they look it up by its name."""

    def gradient(**options: Any) -> Any:
        from tensorflow.python.ops import gen_nn_ops

        return getattr(gen_nn_ops, name)(**options)

    return gradient


_GEOMETRY = ("strides", "padding", "data_format", "dilations")
_CHANGES = tuple(
    replaced_gradient(op_type, _without_kernel(by_input, _GEOMETRY + further))
    for op_type, by_input, further in (
        ("Conv2D", _by_input("conv2d_backprop_input"), ("explicit_paddings", "use_cudnn_on_gpu")),
        ("DepthwiseConv2dNative", tf.raw_ops.DepthwiseConv2dNativeBackpropInput, ("explicit_paddings",)),
        ("Conv3D", _by_input("conv3d_backprop_input_v2"), ()),
    )
)
