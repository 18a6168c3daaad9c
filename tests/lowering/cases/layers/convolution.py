"""Rows for ``lowering/convolution.py``: strides, dilations, paddings, groups, odd and even sizes, free sizes."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, normal

CONV2D, CONV3D, DEPTHWISE = (
    ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"),
    ("Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"),
    ("DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"),
)


def kernel(*shape: int) -> Arg:
    return Arg(shape, free=())


def image(*shape: int) -> Arg:
    """Batch and every spatial size are free."""
    return Arg(shape, free=tuple(range(len(shape) - 1)))


def compiled(function: Any) -> Any:
    """By XLA, which alone runs channels first and the gradients of grouped and dilated convolutions on a CPU."""
    return tf.function(function, jit_compile=True)


def conv2d(stride: Any = 1, padding: Any = "SAME", dilation: int = 1, layout: str = "NHWC") -> Any:
    return partial(tf.nn.conv2d, strides=stride, padding=padding, dilations=dilation, data_format=layout)


def conv3d(stride: int = 1, padding: str = "SAME", dilation: int = 1, layout: str = "NDHWC") -> Any:
    ones = [1, stride, stride, stride, 1] if layout == "NDHWC" else [1, 1, stride, stride, stride]
    spread = [1, *[dilation] * 3, 1] if layout == "NDHWC" else [1, 1, *[dilation] * 3]
    return partial(tf.nn.conv3d, strides=ones, padding=padding, dilations=spread, data_format=layout)


def depthwise(stride: int = 1, padding: Any = "SAME", dilation: int = 1) -> Any:
    def apply(x: Any, w: Any) -> Any:
        return tf.raw_ops.DepthwiseConv2dNative(
            input=x, filter=w, strides=[1, stride, stride, 1], padding=padding, dilations=[1, dilation, dilation, 1]
        )

    return apply


def transposed(x: Any, w: Any) -> Any:
    shape = tf.shape(x)
    return tf.nn.conv2d_transpose(x, w, tf.stack([shape[0], shape[1] * 2, shape[2] * 2, 3]), strides=2)


EXPLICIT = [[0, 0], [1, 2], [0, 3], [0, 0]]

CASES = [
    Case("conv_same_odd", CONV2D, conv2d(), (normal(2, 5, 7, 3), kernel(3, 3, 3, 4)), order=2),
    Case("conv_same_even_kernel", CONV2D, conv2d(), (image(2, 6, 5, 3), kernel(2, 4, 3, 4)), order=2),
    Case("conv_valid", CONV2D, conv2d(padding="VALID"), (image(2, 6, 5, 2), kernel(3, 2, 2, 4)), order=2),
    Case("conv_strided_same", CONV2D, conv2d(2), (normal(2, 6, 7, 2), kernel(3, 3, 2, 4)), order=2),
    Case("conv_strided_same_free", CONV2D, conv2d(2), (image(2, 6, 7, 2), kernel(3, 3, 2, 4)), order=2),
    Case("conv_strided_same_free_even", CONV2D, conv2d(2), (image(1, 7, 8, 2), kernel(2, 4, 2, 3))),
    Case("conv_strided_valid", CONV2D, conv2d(2, "VALID"), (image(2, 8, 7, 2), kernel(3, 3, 2, 4)), order=2),
    Case("conv_strides_differ", CONV2D, conv2d((1, 2)), (image(2, 6, 7, 2), kernel(3, 3, 2, 4))),
    Case("conv_kernel_below_stride", CONV2D, conv2d(3, "VALID"), (normal(2, 9, 7, 2), kernel(2, 2, 2, 4))),
    Case("conv_kernel_below_stride_same", CONV2D, conv2d(4), (image(2, 12, 10, 2), kernel(2, 3, 2, 4))),
    Case("conv_1x1", CONV2D, conv2d(), (image(2, 3, 4, 2), kernel(1, 1, 2, 3))),
    Case("conv_explicit", CONV2D, conv2d(1, EXPLICIT), (image(2, 4, 5, 2), kernel(3, 3, 2, 3))),
    Case("conv_explicit_strided", CONV2D, conv2d(2, EXPLICIT), (image(2, 4, 5, 2), kernel(3, 3, 2, 3))),
    Case("conv_explicit_beyond_reach", CONV2D, conv2d(1, EXPLICIT), (normal(2, 4, 5, 2), kernel(2, 1, 2, 3))),
    Case("conv_dilated", CONV2D, compiled(conv2d(1, "SAME", 2)), (normal(2, 7, 8, 2), kernel(3, 3, 2, 4)), order=2),
    Case("conv_dilated_valid", CONV2D, compiled(conv2d(1, "VALID", 3)), (normal(2, 9, 8, 2), kernel(3, 2, 2, 3))),
    Case("conv_dilated_strided", "Conv2D", conv2d(2, "SAME", 3), (image(2, 9, 8, 2), kernel(3, 2, 2, 3)), order=0),
    Case("conv_dilated_strided_grad", CONV2D, compiled(conv2d(2, "SAME", 3)), (normal(2, 9, 8, 2), kernel(3, 2, 2, 3))),
    Case("conv_groups", CONV2D, compiled(conv2d()), (normal(2, 5, 6, 6), kernel(3, 2, 2, 9)), order=2),
    Case("conv_groups_strided", CONV2D, compiled(conv2d(2)), (normal(2, 5, 6, 4), kernel(3, 2, 2, 6)), order=2),
    Case("conv_groups_strided_forward", "Conv2D", conv2d(2), (image(2, 5, 6, 4), kernel(3, 2, 2, 6)), order=0),
    Case(
        "conv_channels_first",
        CONV2D,
        compiled(conv2d(2, layout="NCHW")),
        (normal(2, 3, 5, 6), kernel(3, 2, 3, 4)),
        order=2,
    ),
    Case(
        "conv_transposed",
        ("Conv2DBackpropInput", "Conv2D", "Conv2DBackpropFilter"),
        transposed,
        (image(2, 3, 4, 2), kernel(3, 3, 3, 2)),
        order=2,
    ),
    Case("conv_empty_batch", CONV2D, conv2d(2), (normal(0, 6, 7, 2), kernel(3, 3, 2, 4)), smooth=False),
    Case("conv3d_same", CONV3D, conv3d(), (image(2, 3, 4, 5, 2), kernel(3, 2, 3, 2, 3)), order=2),
    Case("conv3d_strided", CONV3D, conv3d(2), (image(2, 5, 4, 5, 2), kernel(3, 2, 3, 2, 3)), order=2),
    Case("conv3d_valid", CONV3D, conv3d(2, "VALID"), (normal(2, 5, 6, 5, 2), kernel(2, 2, 3, 2, 3))),
    Case(
        "conv3d_channels_first",
        CONV3D,
        compiled(conv3d(1, layout="NCDHW")),
        (normal(2, 2, 3, 4, 5), kernel(2, 2, 3, 2, 3)),
    ),
    Case("depthwise_same", DEPTHWISE, depthwise(), (image(2, 5, 6, 3), kernel(3, 2, 3, 2)), order=2),
    Case("depthwise_strided", DEPTHWISE, depthwise(2), (image(2, 5, 6, 3), kernel(3, 3, 3, 1)), order=2),
    Case("depthwise_valid", DEPTHWISE, depthwise(2, "VALID"), (normal(2, 7, 6, 3), kernel(3, 2, 3, 2))),
    Case("depthwise_dilated", DEPTHWISE, compiled(depthwise(1, "SAME", 2)), (normal(2, 7, 6, 2), kernel(3, 2, 2, 2))),
    *[
        Case(
            f"conv_transposed_size_of_data_{padding}_{size[0]}_{size[1]}".lower(),
            ("Conv2DBackpropInput", "Conv2D", "Conv2DBackpropFilter"),
            lambda x, w, size, padding=padding: tf.nn.conv2d_transpose(
                x, w, tf.concat([tf.shape(x)[:1], size, [3]], 0), strides=2, padding=padding
            ),
            (image(2, 3, 4, 2), kernel(3, 3, 3, 2), fixed(size, "int32", ())),
            order=2,
        )
        for padding, size in (("SAME", [6, 8]), ("SAME", [5, 7]), ("VALID", [7, 9]), ("VALID", [8, 10]))
    ],
    Case(
        "conv3d_transposed_size_of_data",
        ("Conv3DBackpropInputV2", "Conv3D", "Conv3DBackpropFilterV2"),
        lambda x, w, size: tf.nn.conv3d_transpose(x, w, tf.concat([tf.shape(x)[:1], size, [2]], 0), strides=2),
        (normal(2, 2, 3, 2, 2), kernel(3, 3, 2, 2, 2), fixed([4, 5, 3], "int32", ())),
        order=2,
    ),
    Case(
        "conv_channels_of_data",
        CONV2D,
        lambda x, w, channels: conv2d()(tf.gather(x, channels[0], axis=3), w),
        (image(2, 5, 4, 4), kernel(3, 3, 2, 3), fixed([[3, 1]], "int32", (1,))),
        order=2,
    ),
    Case(
        "conv_kernel_channels_of_data",
        CONV2D,
        lambda x, w, channels: conv2d()(tf.gather(x, channels[0], axis=3), tf.gather(w, channels[0], axis=2)),
        (image(2, 5, 4, 4), kernel(3, 3, 4, 3), fixed([[3, 1]], "int32", (1,))),
        order=2,
    ),
    Case(
        "conv_filters_of_data",
        CONV2D,
        lambda x, w, channels: conv2d(2)(x, tf.gather(w, channels[0], axis=3)),
        (image(2, 5, 4, 2), kernel(3, 3, 2, 4), fixed([[3, 1, 0]], "int32", (1,))),
        order=2,
    ),
]
