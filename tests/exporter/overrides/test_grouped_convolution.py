"""Convolutions in groups of a live model: the same numbers and derivatives, compiled once for each size."""

from __future__ import annotations

from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export.overrides import overrides

from tests.rotation import in_turn

RNG = np.random.default_rng(0)


def answers(net: Any, x: Any) -> list[Any]:
    """Values, the gradient, and a second derivative."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = net(x)
        slope = inner.gradient(y, x, tf.cos(y))
    return [item.numpy() for item in (y, slope, outer.gradient(slope, x))]


# Each takes TensorFlow ten seconds of compiling.
NUMBERS = [(rows, dtype) for dtype in ("float32", "float64") for rows in (1, 2, 7)]


@pytest.mark.parametrize(("rows", "dtype"), in_turn("groups", NUMBERS))
def test_numbers_stay_the_same(rows: int, dtype: str) -> None:
    keras.utils.set_random_seed(1)
    options: dict[str, Any] = {"dtype": dtype, "activation": "tanh"}
    net = keras.Sequential(
        [
            keras.layers.Conv2D(8, 3, groups=4, strides=[2, 1], padding="same", **options),
            keras.layers.Conv2D(4, (3, 2), groups=2, dilation_rate=(1, 2), **options),
            keras.layers.Conv2D(3, 2, **options),
        ]
    )
    x = tf.constant(RNG.normal(size=(rows, 9, 8, 4)), dtype)
    before = answers(net, x)
    with overrides():
        within = answers(net, x)
    for one, other in zip(before, within, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6 * np.abs(one).max())


def test_it_is_traced_once_for_each_size() -> None:
    layers = [keras.layers.Conv2D(4, 3, groups=2, padding="same") for _ in range(3)]
    x = tf.ones([2, 5, 5, 4])
    for layer in layers:
        layer.build(x.shape)
    with overrides(), mock.patch.object(tf.nn, "convolution", wraps=tf.nn.convolution) as traced:
        for point in (x, x[:1], x):
            for layer in layers:
                point = layer(point)
        assert traced.call_count == 2
    with mock.patch.object(tf.nn, "convolution", wraps=tf.nn.convolution) as traced:
        for layer in layers:
            layer(x)
        assert traced.call_count == 3
