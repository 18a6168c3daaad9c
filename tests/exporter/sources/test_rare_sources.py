"""Operators that no Keras layer reaches, and layers without a derivative beside inputs that have one."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import ExportError, export

RNG = np.random.default_rng(5)
INPUTS, CELLS = 3, 4
WEIGHTS = {
    name: tf.constant(RNG.normal(size=shape) * 0.6, tf.float32)
    for name, shape in {
        "w": (INPUTS + CELLS, 4 * CELLS),
        "wci": (CELLS,),
        "wcf": (CELLS,),
        "wco": (CELLS,),
        "b": (4 * CELLS,),
    }.items()
}


def fused(kind: str) -> Any:
    def network(x: Any) -> dict[str, Any]:
        zeros = tf.zeros([tf.shape(x)[0], CELLS])
        result = getattr(tf.raw_ops, kind)(
            seq_len_max=tf.shape(x, tf.int64)[1],
            x=tf.transpose(x, [1, 0, 2]),
            cs_prev=zeros,
            h_prev=zeros,
            use_peephole=True,
            **WEIGHTS,
        )
        return {"y": result.h[-1]}

    return network


def slopes(function: Any, x: np.ndarray[Any, Any], step: float) -> np.ndarray[Any, Any]:
    """Central differences of the outputs of each sample, ``(B, out, *in)``, from float32 values."""
    columns = []
    for k in range(x[0].size):
        moved = np.zeros(x[0].size, x.dtype)
        moved[k] = step
        ahead, behind = (function(tf.constant(x + sign * moved.reshape(x[0].shape)))["y"] for sign in (1, -1))
        columns.append((ahead.numpy().astype(np.float64) - behind.numpy()) / (2 * step))
    return np.stack(columns, -1).reshape(*columns[0].shape, *x.shape[1:])


@pytest.mark.parametrize("kind", ["BlockLSTM", "BlockLSTMV2"])
def test_a_fused_lstm(kind: str, tmp_path: pathlib.Path) -> None:
    """TensorFlow's own gradient of the second mixes up two gates: the bundle has that of the function."""
    spec = tf.TensorSpec([None, None, INPUTS], tf.float32, name="x")
    samples = {"x": RNG.normal(size=(3, 8, INPUTS))}
    bundle = export(fused(kind), tmp_path / "b", "jacobian(y, x)", inputs=[spec], samples=samples)
    x = RNG.normal(size=(2, 5, INPUTS)).astype(np.float32)
    value, jacobian = bundle(x)
    np.testing.assert_allclose(value, fused(kind)(tf.constant(x))["y"], atol=1e-6)
    np.testing.assert_allclose(jacobian, slopes(fused(kind), x, 1e-2), atol=2e-3)


def test_a_fused_lstm_has_no_second_derivative(tmp_path: pathlib.Path) -> None:
    spec = tf.TensorSpec([None, 4, INPUTS], tf.float32, name="x")
    with pytest.raises(ExportError, match="BlockLSTMGrad"):
        export(fused("BlockLSTM"), tmp_path / "b", "hessian(y, x)", inputs=[spec])


def test_sparse_sums_of_as_many_entries_as_the_data_say(tmp_path: pathlib.Path) -> None:
    def energy(x: Any) -> dict[str, Any]:
        positive = tf.sparse.from_dense(tf.nn.relu(x))
        part = tf.sparse.slice(tf.sparse.add(positive, tf.sparse.from_dense(x * x)), [0, 1], [4, 2])
        rows, _ = tf.sparse.fill_empty_rows(tf.sparse.slice(positive, [1, 0], [3, 3]), 0.5)
        return {"e": tf.reduce_sum(part.values**3) + tf.reduce_sum(tf.sin(rows.values))}

    spec = tf.TensorSpec([4, 3], tf.float64, name="x")
    samples = {"x": RNG.normal(size=(4, 3))}
    bundle = export(energy, tmp_path / "b", "gradient(e, x)", inputs=[spec], batched=False, samples=samples)
    x = np.array([[0.3, -1.2, 0.7], [-0.4, -0.5, -0.6], [1.1, 0.2, -0.9], [-0.1, 2.0, 0.8]])
    value, gradient = bundle(x)
    relu = np.maximum(x, 0)
    entries = relu[1:][relu[1:] > 0]
    total = relu[:, 1:] + x[:, 1:] ** 2
    assert abs(value - (total**3).sum() - np.sin(entries).sum() - np.sin(0.5)) < 1e-12
    expected = np.zeros_like(x)
    expected[:, 1:] = 3 * total**2 * ((x[:, 1:] > 0) + 2 * x[:, 1:])
    expected[1:] += np.cos(x[1:]) * (x[1:] > 0)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_categories_beside_numbers(mode: str, tmp_path: pathlib.Path) -> None:
    layers = keras.layers
    x, sizes = keras.Input((4,), name="x"), keras.Input((1,), name="sizes")
    kinds = keras.Input((1,), name="kinds", dtype="int32")
    encoded = layers.CategoryEncoding(num_tokens=5, output_mode=mode)(kinds)
    binned = layers.Discretization(bin_boundaries=[-0.5, 0.0, 0.5], output_mode=mode)(sizes)
    hidden = layers.Dense(6, "tanh")(layers.Concatenate()([x, encoded, binned]))
    model = keras.Model([x, kinds, sizes], layers.Dense(1)(hidden))
    values = {
        "x": RNG.normal(size=(6, 4)).astype(np.float32),
        "kinds": RNG.integers(0, 5, (6, 1)).astype(np.int32),
        "sizes": RNG.normal(size=(6, 1)).astype(np.float32),
    }
    bundle = export(model, tmp_path / "b", "gradient(y, x)", outputs=["y"], samples=values)
    tensors = [tf.constant(item) for item in values.values()]
    with tf.GradientTape() as tape:
        tape.watch(tensors[0])
        value = model(tensors)
    answer = bundle(*(item.numpy() for item in tensors))
    np.testing.assert_allclose(answer[0], value, atol=1e-6)
    np.testing.assert_allclose(answer[1], tape.gradient(value, tensors[0]), atol=1e-6)
