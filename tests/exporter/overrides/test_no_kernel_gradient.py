"""Gradients by inputs alone are those of TensorFlow, bit for bit, and no kernel's gradient is computed for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export.overrides.no_kernel_gradient import input_gradients
from pullback_export.overrides.strided_1x1_convolution import safe_convolution

Function = Callable[[Any, Any], Any]
CONVOLUTIONS: dict[str, tuple[Function, tuple[int, ...], tuple[int, ...]]] = {
    "same": (lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), (2, 7, 6, 3), (3, 3, 3, 4)),
    "explicit": (lambda x, k: tf.nn.conv2d(x, k, 1, [[0, 0], [1, 0], [2, 1], [0, 0]]), (2, 5, 6, 3), (3, 3, 3, 4)),
    "strided_pixel": (lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), (2, 7, 6, 3), (1, 1, 3, 4)),
    "depthwise": (lambda x, k: tf.nn.depthwise_conv2d(x, k, [1, 2, 2, 1], "SAME"), (2, 7, 6, 3), (3, 3, 3, 2)),
    "volume": (lambda x, k: tf.nn.conv3d(x, k, [1, 2, 1, 1, 1], "SAME"), (2, 5, 4, 6, 2), (3, 2, 3, 2, 3)),
}


def gradients(function: Function, x: Any, kernel: Any, wrt: list[Any]) -> tuple[list[Any], list[Any]]:
    """First order, and the gradient of its square by the same tensors."""
    with tf.GradientTape() as outer:
        outer.watch(wrt)
        with tf.GradientTape() as inner:
            inner.watch(wrt)
            value = tf.reduce_sum(function(x, kernel) ** 3)
        first = inner.gradient(value, wrt)
        total = tf.add_n([tf.reduce_sum(item**2) for item in first])
    return first, outer.gradient(total, wrt)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_same_gradients(name: str, dtype: str) -> None:
    function, *shapes = CONVOLUTIONS[name]
    rng = np.random.default_rng(7)
    x, kernel = (tf.constant(rng.normal(size=shape), dtype) for shape in shapes)
    with safe_convolution():
        expected = [gradients(function, x, kernel, wrt) for wrt in ([x], [kernel], [x, kernel])]
        with input_gradients():
            found = [gradients(function, x, kernel, wrt) for wrt in ([x], [kernel], [x, kernel])]
            traced = tf.function(lambda: gradients(function, x, kernel, [x]))()
    for want, got in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_array_equal(got, want)
    for want, got in zip(tf.nest.flatten(expected[0]), tf.nest.flatten(traced), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_no_gradient_of_the_kernel(name: str) -> None:
    function, *shapes = CONVOLUTIONS[name]
    rng = np.random.default_rng(7)
    x, kernel = (tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes)

    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(function(x, kernel) ** 3)
        return tape.gradient(value, x)

    def kernels(function: Any) -> list[str]:
        graph = tf.function(function).get_concrete_function(tf.TensorSpec.from_tensor(x)).graph
        return [op.type for op in graph.get_operations() if "BackpropFilter" in op.type]

    with safe_convolution(), input_gradients():
        assert kernels(gradient) == []
    assert kernels(lambda x: gradient(x)) != []  # what TensorFlow does; traced only, as one of them is not safe to run
