"""A small network of two convolutions over pictures, as weights in closed form; ``fixtures/scene.pullback`` is of it.

The bundle was written once: ``python -m tests.frameworks.scene``, which needs TensorFlow. Here is none.
"""

from __future__ import annotations

import pathlib

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BUNDLE = pathlib.Path(__file__).parent / "fixtures" / "scene.pullback"
SHAPE = (12, 10, 3)  # rows, columns and colours: a map that is transposed does not fit


def _waves(*shape: int) -> Array:
    """Numbers of both signs without a pattern, ``shape``."""
    return np.asarray(np.sin(3.7 * np.arange(1, np.prod(shape) + 1) ** 1.1).reshape(shape))


# Kernels are (rows, columns, in, out), as Keras has them.
FIRST, LAST = _waves(3, 3, 3, 5) / 3, _waves(3, 3, 5, 6)[:, ::-1] / 3
BIAS, HEAD = _waves(6) / 5, _waves(6, 4)


def write() -> None:
    """Exports the network in float64, with the derivative of the logits by the last convolution."""
    import keras
    from pullback_export import export

    keras.config.set_floatx("float64")
    picture = keras.Input(SHAPE, name="picture")
    first = keras.layers.Conv2D(5, 3, activation="relu", use_bias=False, name="first")
    last = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="last")
    head = keras.layers.Dense(4, use_bias=False, name="logits")
    hidden = last(first(picture))
    model = keras.Model(picture, head(keras.layers.GlobalAveragePooling2D()(hidden)))
    for layer, weights in ((first, [FIRST]), (last, [LAST, BIAS]), (head, [HEAD])):
        layer.set_weights(weights)
    requests = ["jacobian(logits, last)", "jacobian(logits, first)"]
    export(model, BUNDLE, requests, outputs=["logits"], formats="onnx", overwrite=True)


if __name__ == "__main__":
    write()
