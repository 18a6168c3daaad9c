"""Models that the laws are tried on: vector outputs ``y`` of ``x``, whose second derivatives are not zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def mlp(dtype: str) -> keras.Model:
    """``x (B, 3) -> y (B, 2)``, smooth, with the inner layer ``hidden``."""
    keras.utils.set_random_seed(0)
    x = keras.Input((3,), name="x", dtype=dtype)
    hidden = keras.layers.Dense(5, "tanh", dtype=dtype, name="hidden")(x)
    return keras.Model(x, keras.layers.Dense(2, "softplus", dtype=dtype, name="y")(hidden))


def kinked(dtype: str) -> Callable[[Any], Any]:
    """``x (B, 3) -> y (B, 2)``, with kinks at zero."""

    def function(x: Any) -> dict[str, Any]:
        bent = tf.nn.relu(x) ** 2 - tf.abs(x) * x
        return {"y": tf.stack([tf.reduce_sum(bent, 1), bent[:, 0] * bent[:, 1] * x[:, 2]], 1)}

    return function


def table(dtype: str) -> Callable[[Any], Any]:
    """``x (B, 3) -> y (B, 2, 2)``: more than one axis."""

    def function(x: Any) -> dict[str, Any]:
        rows = tf.stack([tf.sin(x), x**3], 1)
        return {"y": tf.matmul(rows, rows * x[:, None], transpose_b=True)}

    return function


def recurrent(dtype: str) -> keras.Model:
    """``x (B, 3, 1) -> y (B, 2)``: a loop, which is not vectorised; each seed has its own copy of the batch."""
    keras.utils.set_random_seed(0)
    x = keras.Input((3, 1), name="x", dtype=dtype)
    return keras.Model(x, keras.layers.GRU(2, dtype=dtype, name="y")(x))


# What is made, and the shape of one sample of x.
SOURCES: dict[str, tuple[Callable[[str], Any], tuple[int, ...]]] = {
    "mlp": (mlp, (3,)),
    "kinked": (kinked, (3,)),
    "table": (table, (3,)),
    "recurrent": (recurrent, (3, 1)),
}
