"""A whole model with numbers from a seed through ``export``: they are constants, values and derivatives agree."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.errors import UnsupportedOpsError


def features(x: Any) -> Any:
    """Random Fourier features ``(B,)`` of ``x (B, 3)``."""
    directions = tf.random.stateless_normal([3, 8], [1, 2], dtype=x.dtype)
    phases = tf.random.stateless_uniform([8], [3, 4], 0, 6.28, dtype=x.dtype)
    return {"y": tf.reduce_sum(tf.cos(x @ directions + phases), 1)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_features(dtype: str, tmp_path: pathlib.Path) -> None:
    spec = tf.TensorSpec([None, 3], dtype, name="x")
    bundle = export(features, tmp_path / "a.pullback", ["gradient(y, x)", "hessian(y, x)"], inputs=[spec])
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        y = features(given)["y"]
    np.testing.assert_allclose(bundle(x=x).dy_dx, tape.gradient(y, given), rtol=1e-4, atol=1e-5)


def test_what_draws_anew_is_refused(tmp_path: pathlib.Path) -> None:
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    with pytest.raises(UnsupportedOpsError, match="it draws random numbers"):
        export(lambda x: {"y": x * tf.random.normal([3])}, tmp_path / "a.pullback", inputs=[spec])
