"""Whole numbers that are looked up in front of a model: Keras layers in every mode, tables of a function."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import UnsupportedOpsError, export

L = keras.layers
ZONES = np.array([[42], [900], [5], [0], [11], [-7], [77]])
LAYERS: dict[str, Callable[[], Any]] = {
    "lookup": lambda: L.IntegerLookup(vocabulary=[11, 42, 77, 900]),
    "lookup of three unknown": lambda: L.IntegerLookup(vocabulary=[11, 42], num_oov_indices=3),
    "lookup with a mask": lambda: L.IntegerLookup(vocabulary=[11, 42, 77], mask_token=0),
    "lookup as one-hot": lambda: L.IntegerLookup(vocabulary=[11, 42, 77], output_mode="one_hot"),
    "lookup as multi-hot": lambda: L.IntegerLookup(vocabulary=[11, 42, 77], output_mode="multi_hot"),
    "lookup as counts": lambda: L.IntegerLookup(vocabulary=[11, 42, 77], output_mode="count"),
    "inverse lookup": lambda: L.IntegerLookup(vocabulary=[11, 42, 77], invert=True),
}


def model(layer: Any) -> keras.Model:
    """Looked-up zones beside two numbers."""
    keras.utils.set_random_seed(0)
    zone, a = keras.Input((1,), dtype="int64", name="zone"), keras.Input((2,), name="a")
    found = L.Lambda(lambda x: keras.ops.cast(x, "float32") * 0.1)(layer(zone))
    joined = L.Concatenate()([L.Flatten()(found), a])
    return keras.Model([zone, a], L.Dense(1, name="y")(L.Dense(4, "tanh")(joined)))


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
@pytest.mark.parametrize("name", LAYERS)
def test_keras_lookup(name: str, backend: str, tmp_path: pathlib.Path) -> None:
    live = model(LAYERS[name]())
    rows = len(ZONES) if name != "inverse lookup" else 3
    zones = ZONES[:rows] if name != "inverse lookup" else np.array([[1], [3], [2]])
    feeds = {"zone": zones, "a": np.random.default_rng(0).normal(size=(rows, 2)).astype("f")}
    export(live, tmp_path / "it.pullback", ["gradient(y, a)"], samples=feeds)
    bundle = pullback.load(tmp_path / "it.pullback", backend=backend)
    a = tf.constant(feeds["a"])
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = live([tf.constant(feeds["zone"]), a])
    found = bundle(**feeds)
    np.testing.assert_allclose(found.y, y, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found.dy_da, tape.gradient(y, a), rtol=2e-5, atol=1e-6)


def test_embedding_of_what_was_looked_up(tmp_path: pathlib.Path) -> None:
    """The derivative with respect to an inner layer behind a lookup."""
    zone = keras.Input((3,), dtype="int64", name="zone")
    embedded = L.Embedding(6, 4, name="embedded")(L.IntegerLookup(vocabulary=[11, 42, 77, 900])(zone))
    live = keras.Model(zone, L.Dense(1, name="y")(L.Flatten()(keras.ops.tanh(embedded))))
    feeds = {"zone": np.array([[11, 5, 900], [42, 42, 0]])}
    bundle = export(live, tmp_path / "it.pullback", ["gradient(y, embedded)"], samples=feeds)
    assert bundle(**feeds).dy_dembedded.shape == (2, 3, 4)
    assert bundle.verify().ok


def test_table_of_a_function(tmp_path: pathlib.Path) -> None:
    """The SavedModel holds a table that no object of the user's stands for."""
    values = tf.lookup.KeyValueTensorInitializer(tf.constant([3, 8], tf.int64), tf.constant([0.5, 2.0]))
    table = tf.lookup.StaticHashTable(values, -1.0)
    bundle = export(
        lambda kind, x: {"y": tf.reduce_sum(table.lookup(kind)[:, None] * x**2, 1)},
        tmp_path / "it.pullback",
        ["gradient(y, x)"],
        inputs=[tf.TensorSpec([None], tf.int64, "kind"), tf.TensorSpec([None, 2], tf.float32, "x")],
        samples={"kind": [3, 8, 5], "x": np.ones((3, 2), "f")},
    )
    for each in (bundle, pullback.load(tmp_path / "it.pullback", backend="saved_model")):
        found = each(kind=np.array([3, 8, 5]), x=np.ones((3, 2), "f"))
        np.testing.assert_array_equal(found.y, [1, 4, -2])
        np.testing.assert_array_equal(found.dy_dx, [[1, 1], [4, 4], [-2, -2]])


def test_a_hash_of_numbers_names_the_way_out(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnsupportedOpsError, match="export from the layer behind it"):
        export(model(L.Hashing(7)), tmp_path / "it.pullback", ["gradient(y, a)"])
    assert not list(tmp_path.iterdir())
