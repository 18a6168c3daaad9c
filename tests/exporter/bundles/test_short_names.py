"""Nodes of a written SavedModel have short names, and compute what they did."""

from __future__ import annotations

import functools
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback.manifest import Tolerance
from pullback_export.artifacts import onnx_model, saved_model
from pullback_export.artifacts.short_names import shorten_names
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.overrides import overrides
from pullback_export.sources.opening import open_source
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import function as old_functions

layers = keras.layers
X = np.random.default_rng(0).normal(size=(3, 4)).astype("f")


def flows(x: Any) -> Any:
    with tf.name_scope("a_scope_with_a_long_name"):
        x = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.sin(x), lambda: tf.cos(x))
        _, x = tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y) * 1.5), (0, x))
        return tf.map_fn(lambda row: tf.switch_case(tf.cast(row[0] > 0, tf.int32), [lambda: row, lambda: row * 2.0]), x)


def nested(x: Any) -> Any:
    inner = tf.function(lambda y, z: (y * z, tf.exp(-y)))

    @tf.custom_gradient
    def cube(y: Any) -> Any:
        return y**3, lambda dy: dy * 3.0 * y**2

    with tf.GradientTape() as tape:
        tape.watch(x)
        product, power = inner(cube(x), x)
        y = tf.reduce_sum(product + power)
    return tape.gradient(y, x)


@functools.cache
def prices() -> Any:
    keys, values = tf.constant([0, 1, 2], tf.int64), tf.constant([3.0, 4.0, 5.0])
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), -1.0)


def table(x: Any) -> Any:
    return x * prices().lookup(tf.cast(tf.abs(x) * 2, tf.int64))


def colocated(x: Any) -> Any:
    y = tf.sin(x, name="a_long_name")
    with tf.compat.v1.colocate_with(y):
        z = tf.cos(x)
    with tf.control_dependencies([tf.debugging.assert_all_finite(z, "z")]):
        return tf.identity(y + z)


def called_by_name(x: Any) -> Any:
    @old_functions.Defun(tf.float32, tf.float32)
    def old(first: Any, second: Any) -> Any:
        return first * second, first - second

    product, difference = old(x, tf.sin(x))
    return product / (1.0 + difference**2)


FUNCTIONS: list[Callable[[Any], Any]] = [flows, nested, table, colocated, called_by_name]


def saved(path: pathlib.Path) -> Any:
    found = saved_model_pb2.SavedModel()
    found.ParseFromString((path / "saved_model.pb").read_bytes())
    return found.meta_graphs[0]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda item: item.__name__)
def test_same_numbers(function: Callable[[Any], Any], tmp_path: pathlib.Path) -> None:
    module = tf.Module()
    spec = tf.TensorSpec([None, 4], tf.float32, name="x")
    long, short = tmp_path / "long", tmp_path / "short"
    concrete = tf.function(lambda x: {"y": function(x)}, autograph=False).get_concrete_function(spec)
    module.held = prices()
    tf.saved_model.save(module, str(long), signatures=concrete)
    shutil.copytree(long, short)
    shorten_names(short)
    results = [
        {name: item.numpy() for name, item in loaded.signatures["serving_default"](x=tf.constant(X)).items()}
        for loaded in (tf.saved_model.load(str(path)) for path in (long, short))
    ]
    np.testing.assert_array_equal(results[0]["y"], results[1]["y"])
    assert (short / "saved_model.pb").stat().st_size < (long / "saved_model.pb").stat().st_size
    before, after = (tf.saved_model.experimental.read_fingerprint(str(path)) for path in (long, short))
    assert before.saved_model_checksum != after.saved_model_checksum
    assert before.saved_object_graph_hash == after.saved_object_graph_hash
    graphs = saved(long), saved(short)
    assert graphs[0].signature_def == graphs[1].signature_def
    assert [node.name for node in graphs[0].graph_def.node] == [node.name for node in graphs[1].graph_def.node]
    for old, new in zip(*(graph.graph_def.library.function for graph in graphs), strict=True):
        assert [node.op for node in old.node_def] == [node.op for node in new.node_def]
        assert len({node.name for node in new.node_def}) == len(new.node_def)


def recurrent() -> keras.Model:
    x = keras.Input((12, 3), name="x")
    hidden = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    hidden = layers.GRU(6)(layers.GRU(6, return_sequences=True)(hidden))
    return keras.Model(x, layers.Dense(1, name="y")(hidden))


def dense() -> keras.Model:
    x = hidden = keras.Input((8,), name="x")
    for _ in range(4):
        hidden = layers.Activation("tanh")(layers.BatchNormalization()(layers.Dense(8)(hidden)))
    return keras.Model(x, layers.Dense(1, name="y")(hidden))


@pytest.mark.parametrize("build", [recurrent, dense])
def test_at_most_twice_the_forward_model(build: Callable[[], keras.Model], tmp_path: pathlib.Path) -> None:
    """Of what TensorFlow writes for the model itself, and 200 kB."""
    model = build()
    model.export(str(tmp_path / "forward"), verbose=False)
    with overrides():
        source = open_source(model, None, ["y"], None, False)
        functions = Derivatives(source, [parse_request("gradient(y, x)")], "error").functions()
        traced = [trace(function) for function in functions]
        specs = [onnx_model.build(one, source.batched, 18, Tolerance()).spec for one in traced]
        saved_model.write(tmp_path / "derivative", traced, specs, Tolerance(), source.trackable)
    sizes = [(tmp_path / name / "saved_model.pb").stat().st_size for name in ("forward", "derivative")]
    assert sizes[1] <= 2 * sizes[0] + 200_000
    written = saved(tmp_path / "derivative").graph_def.library.function
    assert max(len(node.name) for item in written for node in item.node_def) < 40
