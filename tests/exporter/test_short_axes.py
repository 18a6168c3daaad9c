"""Axes of free size that are empty, or shorter than a window: as TensorFlow has it, or refused by name."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback import InputError
from pullback_export import export

ROWS_OF = tf.TensorSpec([None, None], tf.float32, "x")
LINES = tf.TensorSpec([None, None, 2], tf.float32, "x")
IMAGES = tf.TensorSpec([None, None, None, 2], tf.float32, "x")


def total(value: Any) -> dict[str, Any]:
    return {"y": tf.reduce_sum(value**2, list(range(1, len(value.shape))))}


def reshaped(x: Any) -> Any:
    return total(tf.reshape(x, [tf.shape(x)[0], -1, 16]) * tf.range(16, dtype=x.dtype))


def the_rest(x: Any) -> Any:
    """The size is -1, which means the rest, for one column."""
    return total(tf.slice(x, [0, 1], tf.stack([-1, tf.shape(x)[1] - 2])))


def from_a_size(x: Any) -> Any:
    count = tf.shape(x)[1]
    return total(tf.slice(x, [0, 1], tf.stack([-1, tf.where(count > 5, count - 3, -1)])))


MODELS: list[tuple[str, Any, tf.TensorSpec, Sequence[tuple[int, ...]]]] = [
    ("reshape", reshaped, ROWS_OF, [(0, 32), (2, 32), (2, 0), (0, 0), (3, 48)]),
    ("slice", the_rest, ROWS_OF, [(2, 1), (2, 2), (2, 5), (0, 1)]),
    ("slice where", from_a_size, ROWS_OF, [(2, 4), (2, 5), (2, 9)]),
    ("max 1d", lambda x: total(tf.nn.max_pool1d(x, 4, 2, "VALID")), LINES, [(2, 9, 2), (2, 4, 2), (2, 2, 2)]),
    ("mean 1d", lambda x: total(tf.nn.avg_pool1d(x, 4, 2, "VALID")), LINES, [(2, 9, 2), (2, 3, 2), (2, 2, 2)]),
    (
        "mean 2d",
        lambda x: total(tf.nn.avg_pool2d(x, 3, 3, "VALID")),
        IMAGES,
        [(2, 9, 7, 2), (2, 2, 7, 2), (2, 5, 1, 2)],
    ),
    ("max 2d", lambda x: total(tf.nn.max_pool2d(x, 2, 2, "VALID")), IMAGES, [(2, 5, 4, 2), (2, 2, 3, 2)]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "model", "spec", "shapes"), MODELS, ids=[row[0] for row in MODELS])
def test_short_axes(
    name: str, model: Any, spec: tf.TensorSpec, shapes: Sequence[tuple[int, ...]], dtype: str, tmp_path: pathlib.Path
) -> None:
    samples = {"x": np.random.default_rng(1).normal(size=(3, 32))} if name == "reshape" else None
    specs = [tf.TensorSpec(spec.shape, dtype, "x")]
    bundle = export(model, tmp_path / "it", ["gradient(y, x)"], inputs=specs, samples=samples, formats="onnx")
    rng = np.random.default_rng(0)
    for shape in shapes:
        x = rng.normal(size=shape).astype(dtype)
        with tf.GradientTape() as tape:
            tensor = tf.constant(x)
            tape.watch(tensor)
            y = model(tensor)["y"]
        found = bundle(x)
        np.testing.assert_allclose(found.y, y, rtol=1e-5, atol=1e-6)
        if not y.numpy().any():  # TensorFlow's gradient of a maximum of nothing is whatever the memory held
            assert not found.dy_dx.any()
            continue
        np.testing.assert_allclose(found.dy_dx, tape.gradient(y, tensor), rtol=1e-5, atol=1e-6)


def test_a_maximum_of_nothing_has_no_slope(tmp_path: pathlib.Path) -> None:
    """TensorFlow does not write to the gradient there at all."""
    bundle = export(MODELS[3][1], tmp_path / "it", ["gradient(y, x)"], inputs=[LINES], formats="onnx")
    found = bundle(np.ones((2, 3, 2), np.float32))
    assert not found.y.any()
    assert not found.dy_dx.any()


def test_a_kernel_that_finds_no_room_is_named(tmp_path: pathlib.Path) -> None:
    kernel = tf.ones([4, 2, 3])
    bundle = export(
        lambda x: total(tf.nn.conv1d(x, kernel, 1, "VALID")), tmp_path / "it", inputs=[LINES], formats="onnx"
    )
    with pytest.raises(InputError, match="shorter than the kernel of a convolution"):
        bundle(np.ones((2, 3, 2), np.float32))
