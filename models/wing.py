"""An aerodynamic surrogate: three inputs, four outputs, in physical units.

``state (B, 3)`` is the angle of attack in degrees, the Mach number and the aspect ratio; ``coefficients (B, 4)`` are
lift, induced drag, moment about the leading edge, and lift over drag. Normalization in front and Rescaling behind, so
its derivatives come in physical units too. Requests that suit it: ``jacobian(coefficients, state)`` of shape
``(B, 4, 3)``, ``gradient(coefficients[1], state)``, ``hessian(coefficients, state)``.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

LOW, HIGH = np.array([-5.0, 0.1, 4.0]), np.array([12.0, 0.7, 16.0])
SCALE = (1.25, 0.0625, 0.25, 32.0)  # powers of two and such: Keras rounds them to float32
PARASITIC_DRAG = 0.012

Array = np.ndarray[Any, Any]


def build(dtype: str = "float64", seed: int = 0) -> keras.Sequential:
    """The untrained surrogate."""
    keras.utils.set_random_seed(seed)
    middle, spread = (LOW + HIGH) / 2, (HIGH - LOW) / np.sqrt(12)
    return keras.Sequential(
        [
            keras.Input((3,), name="state", dtype=dtype),
            keras.layers.Normalization(mean=middle, variance=spread**2, dtype=dtype),
            keras.layers.Dense(32, activation="tanh", dtype=dtype),
            keras.layers.Dense(32, activation="tanh", dtype=dtype),
            keras.layers.Dense(4, dtype=dtype),
            keras.layers.Rescaling(SCALE, dtype=dtype, name="coefficients"),
        ],
        name="wing",
    )


def train(seed: int = 0, *, dtype: str = "float64", points: int = 4000, epochs: int = 30) -> keras.Sequential:
    """The surrogate fitted to :func:`formulas`."""
    model = build(dtype, seed)
    state = samples(np.random.default_rng(seed), points)["state"]
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse", loss_weights=None, steps_per_execution=50)
    model.fit(state, formulas(state), batch_size=64, epochs=epochs, verbose=0)
    return model


def samples(rng: np.random.Generator, rows: int = 32) -> dict[str, Array]:
    """States in the flight envelope: ``state (rows, 3)``."""
    return {"state": rng.uniform(LOW, HIGH, (rows, 3))}


def formulas(state: Array) -> Array:
    """Lifting-line theory with the Prandtl-Glauert correction: what the surrogate is fitted to."""
    angle, mach, aspect = np.radians(state[:, 0]), state[:, 1], state[:, 2]
    lift = 2 * np.pi * aspect / (aspect + 2) * angle / np.sqrt(1 - mach**2)
    drag = lift**2 / (np.pi * 0.9 * aspect)
    return np.stack([lift, drag, -lift / 4, lift / (PARASITIC_DRAG + drag)], 1)


def exact(model: keras.Sequential, state: Array) -> dict[str, Array]:
    """Outputs and Jacobian of this very network, by the chain rule written out in NumPy."""
    dense = [layer.get_weights() for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    spread = (HIGH - LOW) / np.sqrt(12)
    value = (state - (LOW + HIGH) / 2) / spread
    jacobian = np.broadcast_to(np.diag(1 / spread), (len(state), 3, 3))
    for index, (kernel, bias) in enumerate(dense):
        value, jacobian = value @ kernel + bias, np.einsum("io,bij->boj", kernel, jacobian)
        if index < len(dense) - 1:
            value = np.tanh(value)
            jacobian = (1 - value**2)[..., None] * jacobian
    scale = np.array(SCALE)
    return {"coefficients": value * scale, "dcoefficients_dstate": jacobian * scale[:, None]}
