"""Weights that no ONNX file can hold are refused in words, before a file is built."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import ExportError, export
from pullback_export.graph import serialization


def _model(x: tf.Tensor) -> dict[str, tf.Tensor]:
    table = tf.constant(np.random.default_rng(0).normal(size=(64, 64)), tf.float32)
    return {"y": tf.reduce_sum(tf.tanh(x @ table), 1)}


@pytest.mark.parametrize(("limit", "fits"), [(64 * 64 * 4 - 1, False), (2 * 64 * 64 * 4 + 4096, True)])
def test_weights_beyond_the_limit_are_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, limit: int, fits: bool
) -> None:
    monkeypatch.setattr(serialization, "LARGEST_FILE", limit)
    path, inputs = tmp_path / "m.pullback", [tf.TensorSpec([None, 64], tf.float32, name="x")]
    if fits:
        assert export(_model, path, ["gradient(y, x)"], inputs=inputs, formats=("onnx",)).spec.outputs
        return
    with pytest.raises(ExportError, match=r"more than .* bytes, which one ONNX file cannot hold; export a part"):
        export(_model, path, ["gradient(y, x)"], inputs=inputs, formats=("onnx",))
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_below_that_of_protobuf() -> None:
    assert 0.98 * 2**31 < serialization.LARGEST_FILE < 2**31
