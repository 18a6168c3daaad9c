"""How the bundles of ``tests/golden/v1`` were made, once, by the exporter of the day (2026-11-23).

They are never made again: a bundle that was ever written stays readable. A new format version adds a folder.
``python -m tests.golden.make_v1 FOLDER`` shows what today's exporter writes.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pullback_export import export

from models import bowl

RNG = np.random.default_rng(0)


def bowl_float32(folder: pathlib.Path) -> None:
    """The README's network, trained for a moment, with a SavedModel."""
    model = bowl.train(0, epochs=2)
    export(model, folder / "bowl.pullback", ["gradient(y, x)"], samples=bowl.samples(RNG))


def field_float64(folder: pathlib.Path) -> None:
    """Two functions of three coordinates, every kind of derivative, in float64."""

    def field(x: Any) -> dict[str, Any]:
        energy = tf.reduce_sum(tf.sin(x) * tf.exp(-x * x / 2), axis=1) + x[:, 0] * x[:, 1] * x[:, 2]
        flow = tf.stack([tf.tanh(x[:, 0] * x[:, 1]), tf.sqrt(1 + tf.reduce_sum(x * x, axis=1))], axis=1)
        return {"energy": energy, "flow": flow}

    export(
        field,
        folder / "field.pullback",
        [
            *("gradient(energy, x)", "hessian(energy, x)", "laplacian(energy, x)", "jacobian(flow, x)"),
            *("vjp(flow, x)", "jvp(flow, x)", "hvp(energy, x)"),
        ],
        inputs=[tf.TensorSpec([None, 3], tf.float64, name="x")],
        samples={"x": RNG.normal(size=(6, 3))},
        formats="onnx",
    )


def picture(folder: pathlib.Path, dtype: str) -> None:
    """Convolution, batch normalisation, pooling: what graph optimisers like to fuse, and a saliency."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 1), name="image", dtype=dtype)
    value = layers.Conv2D(4, 3, padding="same", dtype=dtype)(image)
    value = layers.BatchNormalization(dtype=dtype)(value)
    value = layers.Activation("relu", dtype=dtype)(value)
    value = layers.MaxPooling2D(dtype=dtype)(value)
    value = layers.DepthwiseConv2D(3, activation="swish", dtype=dtype)(value)
    value = layers.Dense(1, name="score", dtype=dtype)(layers.GlobalAveragePooling2D(dtype=dtype)(value))
    model = keras.Model(image, value)
    for weight in model.weights:
        scale = 0.5 + RNG.random(weight.shape) if "variance" in weight.path else 0.4 * RNG.normal(size=weight.shape)
        weight.assign(scale)
    export(
        model,
        folder / f"picture_{dtype}.pullback",
        ["gradient(score, image)"],
        outputs=["score"],
        samples={"image": RNG.random((4, 8, 8, 1)).astype(dtype)},
        formats="onnx",
    )


def attention(folder: pathlib.Path, dtype: str) -> None:
    """Attention, layer normalisation, GELU, softmax, residuals: the other half of the fusions."""
    layers = keras.layers
    keras.utils.set_random_seed(4)
    tokens = keras.Input((5, 8), name="tokens", dtype=dtype)
    value = layers.LayerNormalization(dtype=dtype)(tokens)
    value = tokens + layers.MultiHeadAttention(2, 4, dtype=dtype)(value, value)
    hidden = layers.Dense(16, activation="gelu", dtype=dtype)(layers.LayerNormalization(dtype=dtype)(value))
    value = value + layers.Dense(8, dtype=dtype)(hidden)
    odds = layers.Dense(3, activation="softmax", name="odds", dtype=dtype)(layers.Flatten(dtype=dtype)(value))
    export(
        keras.Model(tokens, odds),
        folder / f"attention_{dtype}.pullback",
        ["gradient(odds[0], tokens)", "vjp(odds, tokens)"],
        outputs=["odds"],
        samples={"tokens": RNG.normal(size=(4, 5, 8)).astype(dtype)},
        formats="onnx",
    )


def main(folder: pathlib.Path) -> None:
    """Write them all."""
    folder.mkdir(parents=True, exist_ok=True)
    bowl_float32(folder)
    field_float64(folder)
    for dtype in ("float32", "float64"):
        picture(folder, dtype)
        attention(folder, dtype)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
