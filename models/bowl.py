"""A network fitted to the bowl ``y = (x - 5)**2 / 25``, for use on ``0 <= x <= 10``.

The question it answers: what is dy/dx at x = 0.5 (exactly -0.36) and at any other x, from a file, without Keras?
Requests that suit it: ``gradient(y, x)``, ``jacobian(y, x)``, ``vjp(y, x)``, ``jvp(y, x)``. The network is piecewise
linear, so its second derivative is zero wherever it exists: no Hessian.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

LOW, HIGH = 0.0, 10.0
# Beyond both ends there are training points too: the slope at an end is only as good as what lies on either side.
MARGIN = 0.5
POINTS = 8000
EPOCHS = 25
BATCH = 10
SEED = 2

Arrays = dict[str, np.ndarray[Any, Any]]


def build(dtype: str = "float32") -> keras.Sequential:
    """The untrained network, ``x (B, 1) -> y (B, 1)``."""
    return keras.Sequential(
        [
            keras.Input((1,), name="x", dtype=dtype),
            keras.layers.Dense(64, activation="relu", dtype=dtype),
            keras.layers.Activation("linear", dtype=dtype),
            keras.layers.Dense(32, activation="relu", dtype=dtype),
            keras.layers.Activation("linear", dtype=dtype),
            keras.layers.Dense(32, activation="relu", dtype=dtype),
            keras.layers.Dense(1, dtype=dtype),
        ],
        name="bowl",
    )


def train(seed: int = SEED, *, points: int = POINTS, epochs: int = EPOCHS, progress: bool = True) -> keras.Sequential:
    """The network fitted by mean squared error; the same seed gives the same weights."""
    keras.utils.set_random_seed(seed)
    x = np.random.default_rng(seed).uniform(LOW - MARGIN, HIGH + MARGIN, (points, 1)).astype(np.float32)
    model = build()
    model.compile(optimizer="adam", loss="mse", steps_per_execution=100)
    say = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print(f"epoch {epoch + 1:2d}/{epochs}  mse {logs['loss']:.2e}", flush=True)
    )
    model.fit(x, exact(x)["y"], batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[say] if progress else [])
    return model


def samples(rng: np.random.Generator, rows: int = 32) -> Arrays:
    """Points in the range that the network is for: ``x (rows, 1)``."""
    return {"x": rng.uniform(LOW, HIGH, (rows, 1)).astype(np.float32)}


def exact(x: np.ndarray[Any, Any]) -> Arrays:
    """The curve that the network was fitted to, and its slope, at ``x (B, 1)``."""
    return {"y": (x - 5) ** 2 / 25, "dy_dx": 2 * (x - 5) / 25}
