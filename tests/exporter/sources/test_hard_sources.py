"""Sources that TensorFlow itself has trouble with: what its kernels, tapes or vectorised maps do not take."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export


@pytest.fixture
def rng() -> np.random.Generator:
    """Its own for each test, so that the order of the tests does not matter."""
    return np.random.default_rng(11)


def test_second_order_through_a_gather(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    """The tape's gradient of a gather is an IndexedSlices, which TanhGrad's own gradient does not take."""
    ends = tf.constant([[0, 1], [1, 2], [2, 3], [3, 0]])

    def energy(nodes: Any) -> dict[str, Any]:
        message = tf.gather(nodes, ends[:, 0]) - tf.gather(nodes, ends[:, 1]) ** 2
        return {"e": tf.reduce_sum(tf.tanh(tf.math.unsorted_segment_sum(message, ends[:, 1], 4)))}

    spec = tf.TensorSpec([4, 2], tf.float64, name="nodes")
    bundle = export(energy, tmp_path / "b", "hessian(e, nodes)", inputs=[spec], batched=False)
    x = rng.normal(size=(4, 2))
    hessian = bundle(x)[1].reshape(8, 8)
    step = 1e-5
    value = lambda y: float(energy(tf.constant(y))["e"])  # noqa: E731
    for i, j in ((0, 0), (0, 3), (5, 2)):
        di, dj = (step * np.eye(8)[k].reshape(4, 2) for k in (i, j))
        corners = value(x + di + dj) - value(x + di - dj) - value(x - di + dj) + value(x - di - dj)
        assert abs(hessian[i, j] - corners / (4 * step**2)) < 1e-4
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)


def test_an_input_without_axes(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    points = tf.constant(rng.normal(size=(6, 2)))

    def kernel(x: Any, length: Any) -> Any:
        return tf.exp(-tf.reduce_sum(((x[:, None] - points) / length) ** 2, -1) / 2)

    specs = [tf.TensorSpec([3, 2], tf.float64, name="x"), tf.TensorSpec([], tf.float64, name="length")]
    samples = {"x": rng.normal(size=(3, 2)), "length": 1.25}
    bundle = export(
        kernel, tmp_path / "b", "jacobian(k, length)", inputs=specs, outputs=["k"], batched=False, samples=samples
    )
    x = rng.normal(size=(3, 2))
    value, slope = bundle(x, 0.8)
    squared = ((x[:, None] - points.numpy()) ** 2).sum(-1)
    np.testing.assert_allclose(slope, value * squared / 0.8**3, atol=1e-12)


@pytest.mark.parametrize(
    ("pooling", "precision"), [(keras.layers.AveragePooling3D, "float64"), (keras.layers.MaxPooling3D, "float32")]
)
def test_a_layer_without_a_float64_kernel(pooling: Any, precision: str, tmp_path: pathlib.Path) -> None:
    """TensorFlow pools volumes in float32 only; what the truth does not compose is, and the report says so."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4, 4, 4, 1), name="x"),
            layers.Conv3D(2, 2, activation="tanh"),
            pooling(2),
            layers.Flatten(),
            layers.Dense(1, name="y"),
        ]
    )
    export(model, tmp_path / "b", "gradient(y, x)")
    stages = {row["stage"] for row in json.loads((tmp_path / "b" / "manifest.json").read_text())["parity"]["rows"]}
    assert any("differences" in stage and precision in stage for stage in stages), stages


def test_a_free_time_axis_and_no_rows(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    """Keras' recurrent layers do not run for no rows, but the shape of a seed is known all the same."""
    model = keras.Sequential([keras.Input((None, 2), name="x"), keras.layers.SimpleRNN(3), keras.layers.Dense(1)])
    bundle = export(model, tmp_path / "b", ["hvp(dense, x)", "vjp(dense, x)"], outputs=["dense"])
    x = rng.normal(size=(2, 6, 2)).astype("float32")
    assert bundle.hvp(x, np.ones_like(x))[0].shape == (2, 6, 2)


def test_many_outputs_through_a_branch_in_a_loop(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    """``tf.vectorized_map`` cannot vectorise this one: every seed has its copy of the batch, or its turn in a loop."""

    def march(x: Any) -> Any:
        for _ in tf.range(4):
            x = x + 0.1 * (tf.sin(x) if tf.reduce_sum(x) > 1e6 else tf.cos(x) * tf.roll(x, 1, -1))
        return x

    spec = tf.TensorSpec([None, 3], tf.float64, name="x")
    per_sample = export(tf.function(march), tmp_path / "a", "jacobian(z, x)", inputs=[spec], outputs=["z"])
    spec = tf.TensorSpec([2, 3], tf.float64, name="x")
    whole = export(tf.function(march), tmp_path / "b", "jacobian(z, x)", inputs=[spec], outputs=["z"], batched=False)
    x = rng.normal(size=(2, 3))
    blocks = whole(x)[1]
    np.testing.assert_allclose(per_sample(x)[1], blocks[[0, 1], :, [0, 1]], atol=1e-13)
    np.testing.assert_allclose(blocks[0, :, 1], 0)


def test_forward_mode_where_the_size_of_the_output_is_free(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    def decay(time: Any, start: Any) -> Any:
        return tf.exp(-time)[:, :, tf.newaxis] * start[:, tf.newaxis] ** 2

    specs = [tf.TensorSpec([None, size], tf.float64, name=name) for name, size in (("time", None), ("start", 3))]
    bundle = export(decay, tmp_path / "b", "jacobian(y, start)", inputs=specs)
    time, start = rng.normal(size=(2, 4)), rng.normal(size=(2, 3))
    exact = np.exp(-time)[:, :, None, None] * (2 * start[:, :, None] * np.eye(3))[:, None]
    np.testing.assert_allclose(bundle(time, start).dy_dstart, exact, atol=1e-12)


def test_differences_are_taken_where_derivatives_are_finite(tmp_path: pathlib.Path, rng: np.random.Generator) -> None:
    """Neighbours are those of the samples; drawn ones would be the atom itself now and then, without a slope."""

    def energy(positions: Any, neighbours: Any) -> dict[str, Any]:
        between = tf.gather(positions, neighbours) - positions[:, tf.newaxis]
        return {"e": tf.reduce_sum(tf.exp(-tf.norm(between, axis=-1)))}

    specs = [tf.TensorSpec([4, 3], tf.float64, name="positions"), tf.TensorSpec([4, 9], tf.int32, name="neighbours")]
    samples = {
        "positions": rng.normal(size=(4, 3)),
        "neighbours": np.tile([[1, 2, 3], [0, 3, 2], [3, 0, 1], [2, 1, 0]], 3),
    }
    export(energy, tmp_path / "b", "forces(e, positions)", inputs=specs, batched=False, samples=samples)
    rows = json.loads((tmp_path / "b" / "manifest.json").read_text())["parity"]["rows"]
    (row,) = (row for row in rows if "differences" in row["stage"])
    assert row["stage"].endswith("like the samples 1")
    assert 0 < row["max_error"] < 1e-5 * row["scale"]
