"""Handwritten digits of scikit-learn (8 x 8 grey levels), read by a small convolutional network.

``image (B, 8, 8, 1) -> logits (B, 10)``. Requests that suit it: ``jacobian(logits, image)`` for saliency, and
``jacobian(logits, last_convolution)`` for Grad-CAM, which makes the layer's activation an output as well.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

Array = np.ndarray[Any, Any]


def build(dtype: str = "float32", seed: int = 0) -> keras.Model:
    """The untrained network."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 1), name="image", dtype=dtype)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", dtype=dtype)(image)
    x = keras.layers.MaxPooling2D(2, padding="same", strides=1, dtype=dtype)(x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", dtype=dtype, name="last_convolution")(x)
    x = keras.layers.GlobalAveragePooling2D(dtype=dtype)(x)
    return keras.Model(image, keras.layers.Dense(10, dtype=dtype, name="logits")(x), name="digits")


def train(seed: int = 0, *, dtype: str = "float32", epochs: int = 60) -> keras.Model:
    """The network fitted to the first 1500 of the 1797 digits."""
    images, labels = load()
    model = build(dtype, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(5e-3), loss=loss, steps_per_execution=10)
    model.fit(images[:1500], labels[:1500], batch_size=64, epochs=epochs, verbose=0)
    return model


def load() -> tuple[Array, Array]:
    """Images ``(1797, 8, 8, 1)`` with values from 0 to 1, and their labels."""
    digits = load_digits()
    return (digits.images[..., None] / 16).astype(np.float32), digits.target


def samples(rng: np.random.Generator, rows: int = 8) -> dict[str, Array]:
    """Digits that the network was not trained on: ``image (rows, 8, 8, 1)``."""
    images, _ = load()
    return {"image": images[rng.integers(1500, len(images), rows)]}
