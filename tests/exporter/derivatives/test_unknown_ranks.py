"""Outputs and inner layers whose number of axes TensorFlow does not know: the live model tells it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, compare, export

ROWS = tf.TensorSpec([None, 3], tf.float32, "x")
SHIFT = tf.TensorSpec([1], tf.int32, "n")
WEIGHTS = [1.0, 2.0, 3.0]


def average(x: Any) -> Any:
    return keras.ops.average(tf.exp(x), axis=-1, weights=tf.constant(WEIGHTS))


def reshaped(x: Any) -> Any:
    """TensorFlow does not know how long the vector of sizes is."""
    return tf.reshape(x**3, tf.boolean_mask(tf.shape(x), [True, True]))


def products(x: Any) -> Any:
    return keras.ops.associative_scan(lambda a, b: a * b, tf.ensure_shape(x, [4, 3]), axis=0)


def every_other(x: Any, n: Any) -> Any:
    return tf.strided_slice(x**3, [0, 0], [99, 3], tf.concat([n, [1]], 0))


def unknown_ranks(function: Callable[..., Any], specs: Sequence[Any]) -> bool:
    return tf.function(function).get_concrete_function(*specs).outputs[0].shape.rank is None


@pytest.mark.parametrize(
    ("function", "batched", "requests"),
    [
        (average, True, ["gradient(y, x)", "hessian(y, x)", "vjp(y, x)", "hvp(y, x)"]),
        (average, False, ["jacobian(y, x)", "vjp(y, x)", "jvp(y, x)"]),
        (reshaped, True, ["jacobian(y, x)", "vjp(y, x)"]),
        (reshaped, False, ["gradient(sum(y), x)", "hessian(y, x)"]),
    ],
)
def test_values_and_derivatives(function: Any, batched: bool, requests: list[str], tmp_path: pathlib.Path) -> None:
    assert unknown_ranks(function, [ROWS])
    bundle = export(
        function, tmp_path / "b", requests, inputs=[ROWS], outputs=["y"], batched=None if batched else False
    )
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        y = function(tensor)
    found = bundle(x=x)
    np.testing.assert_allclose(found.y, y, rtol=1e-5)
    adjoint = np.cos(np.arange(y.shape.num_elements(), dtype=np.float32)).reshape(y.shape)
    if any(request.startswith("vjp") for request in requests):
        expected = tape.gradient(y, tensor, output_gradients=tf.constant(adjoint))
        np.testing.assert_allclose(bundle.vjp(x=x, adj_y=adjoint).adj_x, expected, rtol=1e-5, atol=1e-6)
    assert compare(function, tmp_path / "b", inputs=[ROWS]).ok


def test_a_scan(tmp_path: pathlib.Path) -> None:
    spec = tf.TensorSpec([4, 3], tf.float32, "x")
    assert unknown_ranks(products, [spec])
    bundle = export(products, tmp_path / "b", ["vjp(y, x)"], inputs=[spec], outputs=["y"], batched=False)
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_allclose(bundle(x=x).y, np.cumprod(x, 0), rtol=1e-5)


def test_a_stride_that_is_an_input(tmp_path: pathlib.Path) -> None:
    assert unknown_ranks(every_other, [ROWS, SHIFT])
    bundle = export(
        every_other,
        tmp_path / "b",
        ["jacobian(y, x)", "hessian(sum(y), x)"],
        inputs=[ROWS, SHIFT],
        outputs=["y"],
        batched=False,
        samples=[
            {
                "x": np.random.default_rng(size).normal(size=(size, 3)).astype(np.float32),
                "n": np.array([step], np.int32),
            }
            for size, step in ((5, 2), (7, 3), (4, 1))
        ],
    )
    x = np.random.default_rng(3).normal(size=(6, 3)).astype(np.float32)
    for step in (1, 2, 4, 9):
        found = bundle(x=x, n=np.array([step], np.int32))
        np.testing.assert_allclose(found.y, x[::step] ** 3, rtol=1e-5)
        assert found.dy_dx.shape == (*x[::step].shape, 6, 3)


def test_an_inner_layer(tmp_path: pathlib.Path) -> None:
    """A derivative with respect to a layer whose rank is unknown, inside of a Keras model."""

    @keras.saving.register_keras_serializable("tests")
    class Reshaped(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return reshaped(x)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    x = keras.Input([3], name="x")
    inner = Reshaped(name="inner")(x)
    model = keras.Model(x, keras.ops.sum(keras.ops.tanh(inner), axis=-1))
    bundle = export(model, tmp_path / "b", ["gradient(y, inner)"], outputs=["y"])
    values = np.random.default_rng(4).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(bundle(x=values).dy_dinner, 1 - np.tanh(values**3) ** 2, rtol=1e-4, atol=1e-6)


def test_a_rank_that_differs_is_refused(tmp_path: pathlib.Path) -> None:
    def either(x: Any) -> Any:
        sizes = tf.shape(x)
        return tf.reshape(x, tf.cond(sizes[0] > 4, lambda: sizes, lambda: tf.reduce_prod(sizes, keepdims=True)))

    samples = [{"x": np.ones((rows, 3), np.float32)} for rows in (3, 6)]
    with pytest.raises(ExportError, match="'y' has 1 axes for some inputs and 2 for others"):
        export(either, tmp_path / "b", inputs=[ROWS], outputs=["y"], batched=False, samples=samples)


def test_golden_of_unknown_rank(tmp_path: pathlib.Path) -> None:
    """The SavedModel and the graph state the rank."""
    bundle = export(average, tmp_path / "b", ["gradient(y, x)"], inputs=[ROWS], outputs=["y"])
    assert [len(spec.shape) for spec in bundle.spec.outputs if spec.name == "y"] == [1]
    again = pullback.load(tmp_path / "b", backend="saved_model")
    assert again(x=np.ones((2, 3), np.float32)).y.shape == (2,)
