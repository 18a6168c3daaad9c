"""Dilated convolutions without oneDNN: gradients and transposed ones, live, in traces and in bundles."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.overrides import overrides


def by_hand(x: Any, kernel: Any, rates: tuple[int, int], padding: str) -> Any:
    """The convolution with a kernel that has zeros between its taps, in float64."""
    taps = kernel.shape[:2]
    wide = np.zeros([*((size - 1) * rate + 1 for size, rate in zip(taps, rates)), *kernel.shape[2:]])
    wide[:: rates[0], :: rates[1]] = kernel
    return tf.nn.conv2d(tf.cast(x, tf.float64), wide, 1, padding)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("rates", [(2, 2), (1, 3), (3, 2)])
@pytest.mark.parametrize("in_graph", [True, False])
def test_gradients(rates: tuple[int, int], padding: str, in_graph: bool) -> None:
    rng = np.random.default_rng(3)
    x = tf.constant(rng.normal(size=(2, 9, 8, 3)), tf.float32)
    kernel = tf.constant(rng.normal(size=(3, 2, 3, 4)), tf.float32)

    def gradients(x: Any, kernel: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            value = tf.reduce_sum(tf.nn.conv2d(x, kernel, 1, padding, dilations=rates) ** 2)
        return tape.gradient(value, [x, kernel])

    with overrides():
        dx, dkernel = (tf.function(gradients) if in_graph else gradients)(x, kernel)
    with tf.GradientTape() as tape:
        tape.watch(wanted := tf.cast(x, tf.float64))
        value = tf.reduce_sum(by_hand(wanted, kernel.numpy(), rates, padding) ** 2)
    np.testing.assert_allclose(dx, tape.gradient(value, wanted), rtol=1e-4, atol=1e-4)
    step = rng.normal(size=kernel.shape)
    up, down = (
        float(tf.reduce_sum(by_hand(x, kernel.numpy() + sign * 1e-4 * step, rates, padding) ** 2)) for sign in (1, -1)
    )
    np.testing.assert_allclose((dkernel.numpy() * step).sum(), (up - down) / 2e-4, rtol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_transposed_one_exports(padding: str, tmp_path: pathlib.Path) -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((5, 4, 2), name="x")
    layer = keras.layers.Conv2DTranspose(3, (3, 2), dilation_rate=(2, 3), padding=padding)
    bundle = export(keras.Model(x, layer(x)), tmp_path / "a.pullback", ["vjp(y, x)"], outputs=["y"])
    sample = np.random.default_rng(1).normal(size=(7, 5, 4, 2)).astype(np.float32)
    assert np.isfinite(bundle(x=sample).y).all()
