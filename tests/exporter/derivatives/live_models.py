"""Small models of every architecture that the derivative kinds are tested on, in either precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def mlp(dtype: str) -> Any:
    """3 -> 4, smooth."""
    keras.utils.set_random_seed(1)
    x = keras.Input((3,), name="x", dtype=dtype)
    hidden = keras.layers.Dense(8, activation="tanh", dtype=dtype)(x)
    return keras.Model(x, keras.layers.Dense(4, name="y", dtype=dtype)(hidden))


def cnn(dtype: str) -> Any:
    """5 x 5 x 2 image -> 3 logits, smooth."""
    keras.utils.set_random_seed(2)
    x = keras.Input((5, 5, 2), name="x", dtype=dtype)
    hidden = keras.layers.Conv2D(4, 3, padding="same", activation="gelu", dtype=dtype, name="features")(x)
    hidden = keras.layers.AveragePooling2D(2, dtype=dtype)(hidden)
    hidden = keras.layers.Flatten(dtype=dtype)(hidden)
    return keras.Model(x, keras.layers.Dense(3, name="y", dtype=dtype)(hidden))


def attention(dtype: str) -> Any:
    """4 tokens of width 6 -> 2 outputs: attention, normalisation, gelu."""
    keras.utils.set_random_seed(3)
    x = keras.Input((4, 6), name="x", dtype=dtype)
    mixed = keras.layers.MultiHeadAttention(2, 3, dtype=dtype)(x, x)
    hidden = keras.layers.LayerNormalization(dtype=dtype)(keras.layers.Add(dtype=dtype)([x, mixed]))
    hidden = keras.layers.Dense(5, activation="silu", dtype=dtype)(hidden)
    hidden = keras.layers.GlobalAveragePooling1D(dtype=dtype)(hidden)
    return keras.Model(x, keras.layers.Dense(2, name="y", dtype=dtype)(hidden))


def lstm(dtype: str) -> Any:
    """5 steps of 3 features -> 2 outputs."""
    keras.utils.set_random_seed(4)
    x = keras.Input((5, 3), name="x", dtype=dtype)
    hidden = keras.layers.LSTM(4, dtype=dtype)(x)
    return keras.Model(x, keras.layers.Dense(2, name="y", dtype=dtype)(hidden))


def function(dtype: str) -> Any:
    """A plain function of a batch of 3-vectors."""
    matrix = tf.constant(np.random.default_rng(5).normal(size=(3, 2)), dtype)

    def call(x: Any) -> Any:
        return tf.sin(x @ matrix) * tf.exp(-tf.reduce_sum(x * x, -1, keepdims=True) / 4)

    return call


MODELS: dict[str, Callable[[str], Any]] = {
    "mlp": mlp,
    "cnn": cnn,
    "attention": attention,
    "lstm": lstm,
    "function": function,
}
INPUT_SHAPES = {"mlp": (3,), "cnn": (5, 5, 2), "attention": (4, 6), "lstm": (5, 3), "function": (3,)}
