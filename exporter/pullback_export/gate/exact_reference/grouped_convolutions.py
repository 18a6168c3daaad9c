"""The derivative of a convolution in groups by its input, for which the CPU has no kernel: XLA compiles it, in float32.

With ``G`` groups of ``c`` channels that become ``m`` each, the filter is ``(h, w, c, G m)``. Each of the ``c`` channels
of a group is convolved by itself, so that with a copy of ``dy`` for each of them it is the derivative of a depthwise
convolution. Where there is no such kernel, the filter is a full one, ``(h, w, G c, G m)``, with zeros between groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

# What TensorFlow says where it lacks the kernel.
LACKING = "Gradients for grouped convolutions are not supported on CPU"


def backprop_input(attributes: Mapping[str, Any]) -> Callable[..., Sequence[Any]]:
    """``dx`` from the sizes of the input, the filter and ``dy``, channels last."""
    strides, dilations = (list(attributes[name].list.i) for name in ("strides", "dilations"))
    padding, explicit = attributes["padding"].s.decode(), list(attributes["explicit_paddings"].list.i)
    shared = {"strides": strides, "dilations": dilations, "padding": padding, "explicit_paddings": explicit}
    depthwise = strides[1] == strides[2] and set(dilations) == {1}

    def run(sizes: Any, kernel: Any, dy: Any) -> Sequence[Any]:
        shape = tf.shape(kernel)
        width = shape[2]
        groups = sizes[3] // width
        wide = shape[3] // groups
        apart = tf.reshape(kernel, [shape[0], shape[1], width, groups, wide])
        apart = tf.transpose(apart, [0, 1, 3, 2, 4])  # (h, w, G, c, m)
        if depthwise:
            alone = tf.reshape(apart, [shape[0], shape[1], sizes[3], wide])
            return [tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=sizes, filter=alone, out_backprop=_copied(dy, groups, width, wide), **shared
            )]  # fmt: skip
        own = tf.eye(groups, dtype=kernel.dtype)[:, tf.newaxis, :, tf.newaxis]
        full = tf.reshape(apart[:, :, :, :, tf.newaxis] * own, [shape[0], shape[1], sizes[3], shape[3]])
        return [tf.raw_ops.Conv2DBackpropInput(input_sizes=sizes, filter=full, out_backprop=dy, **shared)]

    return run


def _copied(dy: Any, groups: Any, width: Any, wide: Any) -> Any:
    """``(B, H, W, G m)`` as ``(B, H, W, G c m)``."""
    shape = tf.shape(dy)
    apart = tf.reshape(dy, [shape[0], shape[1], shape[2], groups, 1, wide])
    copies = tf.repeat(apart, width, axis=4)
    return tf.reshape(copies, [shape[0], shape[1], shape[2], groups * width * wide])
