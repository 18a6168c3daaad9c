"""Two inputs of different kinds: a picture of a house and a table row about it give its price.

``image (B, 16, 16, 3)``, ``table (B, 5) -> price (B, 1)``. Requests that suit it: ``gradient(price, image)`` and
``gradient(price, table)`` in one bundle, which share the forward pass.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

Array = np.ndarray[Any, Any]


def build(dtype: str = "float32", seed: int = 0) -> keras.Model:
    """The untrained network."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((16, 16, 3), name="image", dtype=dtype)
    table = keras.Input((5,), name="table", dtype=dtype)
    seen = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="swish", dtype=dtype)(image)
    seen = keras.layers.DepthwiseConv2D(3, padding="same", activation="swish", dtype=dtype)(seen)
    seen = keras.layers.AveragePooling2D(2, dtype=dtype)(seen)
    seen = keras.layers.Flatten(dtype=dtype)(seen)
    known = keras.layers.Dense(16, activation="swish", dtype=dtype)(table)
    joined = keras.layers.Concatenate(dtype=dtype)([seen, known])
    hidden = keras.layers.Dense(32, activation="swish", dtype=dtype)(joined)
    price = keras.layers.Dense(1, dtype=dtype, name="price")(hidden)
    return keras.Model([image, table], price, name="houses")


def samples(rng: np.random.Generator, rows: int = 8) -> dict[str, Array]:
    """Random pictures and rows."""
    return {"image": rng.uniform(0, 1, (rows, 16, 16, 3)), "table": rng.normal(size=(rows, 5))}
