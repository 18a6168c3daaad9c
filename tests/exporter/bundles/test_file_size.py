"""Each weight is stored once: the derivative costs nodes, not bytes."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from pullback_export import export

from models import bowl

MOST = 1.1
SPARE = 20_000


def surrogate(dtype: str = "float32") -> keras.Sequential:
    """10-256-256-256-1."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    hidden = [dense(256, activation="tanh", dtype=dtype) for _ in range(3)]
    return keras.Sequential([keras.Input((10,), name="x", dtype=dtype), *hidden, dense(1, dtype=dtype)])


def onnx_bytes(folder: pathlib.Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.onnx"))


@pytest.mark.parametrize("build", [bowl.build, surrogate])
@pytest.mark.parametrize("request_text", ["gradient(y, x)", "jacobian(y, x)", "vjp(y, x)"])
def test_against_our_forward_only_export(build: Any, request_text: str, tmp_path: pathlib.Path) -> None:
    model = build()
    export(model, tmp_path / "plain.pullback", formats="onnx")
    export(model, tmp_path / "derived.pullback", [request_text], formats="onnx")
    largest = max(path.stat().st_size for path in (tmp_path / "derived.pullback").glob("*.onnx"))
    assert largest <= MOST * onnx_bytes(tmp_path / "plain.pullback") + SPARE


@pytest.mark.parametrize("build", [bowl.build, surrogate])
def test_against_the_forward_only_export_of_tf2onnx(build: Any, tmp_path: pathlib.Path) -> None:
    tf2onnx = pytest.importorskip("tf2onnx", reason="the measuring stick of the development environment")
    model = build()
    spec = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="x")
    forward, _ = tf2onnx.convert.from_function(tf.function(lambda x: model(x)), input_signature=[spec], opset=18)
    export(model, tmp_path / "ours.pullback", ["gradient(y, x)"], formats="onnx")
    assert onnx_bytes(tmp_path / "ours.pullback") <= MOST * len(forward.SerializeToString()) + SPARE


def test_no_array_is_stored_twice(tmp_path: pathlib.Path) -> None:
    export(surrogate(), tmp_path / "it.pullback", ["gradient(y, x)"], formats="onnx")
    graph = onnx.load(tmp_path / "it.pullback" / "evaluate.onnx").graph
    arrays = [onnx.numpy_helper.to_array(item) for item in graph.initializer]
    large = [array for array in arrays if array.size > 1000]
    seen = {np.sort(array, axis=None).tobytes() for array in large}
    assert len(seen) == len(large) == 3
