"""Convolutions whose output is empty: an error where TensorFlow's kernels end the process."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.overrides import overrides


def _opened(x: Any) -> Any:
    """The shape of a transposed convolution of ``x`` with a kernel of 3 x 3 and 4 channels."""
    return tf.concat([tf.shape(x)[:1], tf.shape(x)[1:3] + 2, [4]], 0)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "1-D": ((2, 2, 3), lambda x: tf.nn.conv1d(x, tf.ones([3, 3, 4]), 1, "VALID")),
    "2-D": ((2, 2, 5, 2), lambda x: tf.nn.conv2d(x, tf.ones([3, 3, 2, 4]), 1, "VALID")),
    "2-D strided": ((2, 2, 5, 2), lambda x: tf.nn.conv2d(x, tf.ones([3, 3, 2, 4]), 2, "VALID")),
    "3-D": ((2, 2, 5, 4, 2), lambda x: tf.nn.conv3d(x, tf.ones([3, 3, 3, 2, 4]), [1] * 5, "VALID")),
    "transposed": ((2, 0, 5, 2), lambda x: tf.nn.conv2d_transpose(x, tf.ones([3, 3, 4, 2]), _opened(x), 1, "VALID")),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("form", ["eager", "free sizes"])
def test_an_empty_output_has_no_gradient(name: str, form: str) -> None:
    shape, convolution = CONVOLUTIONS[name]

    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(convolution(x) ** 2)
        return tape.gradient(value, x)

    free = [None, *[None] * (len(shape) - 2), shape[-1]]
    run = gradient if form == "eager" else tf.function(gradient, input_signature=[tf.TensorSpec(free)])
    with overrides(), pytest.raises(tf.errors.InvalidArgumentError, match="no output here"):
        run(tf.ones(shape))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_other_sizes_and_no_rows_keep_theirs(name: str) -> None:
    shape, convolution = CONVOLUTIONS[name]
    shape = tuple(5 if axis == 1 else size for axis, size in enumerate(shape))
    for rows in (0, 1, 2, 7):
        x = tf.random.stateless_normal([rows, *shape[1:]], [1, 2])
        found = []
        for active in (False, True):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = tf.reduce_sum(convolution(x) ** 2)
            if active:
                with overrides():
                    found.append(tape.gradient(value, x))
            else:
                found.append(tape.gradient(value, x))
        np.testing.assert_array_equal(*found)


def test_a_signal_of_free_length_exports(tmp_path: pathlib.Path) -> None:
    """The gate tries short signals too: one of two steps leaves nothing of a kernel of three."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((None, 2), name="x")
    hidden = keras.layers.Conv1D(4, 3, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="y")(keras.layers.GlobalMaxPooling1D()(hidden)))
    samples = {"x": np.random.default_rng(2).normal(size=(5, 7, 2)).astype(np.float32)}
    bundle = export(model, tmp_path / "bundle", "gradient(y, x)", samples=samples)
    assert bundle(samples["x"][:, :3]).dy_dx.shape == (5, 3, 2)
    replayed = pullback.load(tmp_path / "bundle", backend="saved_model")
    with pytest.raises(Exception, match="no output here"):
        replayed(samples["x"][:, :2])
