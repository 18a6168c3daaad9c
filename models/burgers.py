"""A physics-informed network ``u(x, t)`` for Burgers' equation ``u_t + u u_x = nu u_xx``.

The travelling wave ``u = c - a tanh(a (x - c t) / (2 nu))`` solves it, and it is itself a network with one hidden tanh
layer. So the weights are set, not trained, and u, u_t, u_x, u_xx and the residual (zero) have closed forms.
Requests that suit it: ``derivative(u, t)``, ``derivative(u, x)``, ``derivative(u, x, x)``.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

NU, SPEED, HEIGHT = 0.1, 0.4, 0.5
HIDDEN = 16
STEEPNESS = HEIGHT / (2 * NU)

Array = np.ndarray[Any, Any]


def build(dtype: str = "float64", seed: int = 0) -> keras.Model:
    """``x (B, 1), t (B, 1) -> u (B, 1)``; the hidden units share the wave in random parts."""
    x = keras.Input((1,), name="x", dtype=dtype)
    t = keras.Input((1,), name="t", dtype=dtype)
    joined = keras.layers.Concatenate(dtype=dtype)([x, t])
    hidden = keras.layers.Dense(HIDDEN, activation="tanh", dtype=dtype, name="hidden")(joined)
    u = keras.layers.Dense(1, dtype=dtype, name="u")(hidden)
    model = keras.Model({"x": x, "t": t}, u, name="burgers")
    parts = np.random.default_rng(seed).uniform(0.5, 1.5, (HIDDEN, 1))
    slopes = np.tile([[STEEPNESS], [-STEEPNESS * SPEED]], HIDDEN)
    model.get_layer("hidden").set_weights([slopes, np.zeros(HIDDEN)])
    model.get_layer("u").set_weights([-HEIGHT * parts / parts.sum(), np.full(1, SPEED)])
    return model


def samples(rng: np.random.Generator, rows: int = 32) -> dict[str, Array]:
    """Points about the wave: ``x (rows, 1)`` in [-1, 1], ``t (rows, 1)`` in [0, 1]."""
    return {"x": rng.uniform(-1, 1, (rows, 1)), "t": rng.uniform(0, 1, (rows, 1))}


def exact(x: Array, t: Array) -> dict[str, Array]:
    """The wave and its derivatives, each ``(B, 1)``."""
    tanh = np.tanh(STEEPNESS * (x - SPEED * t))
    bell = 1 - tanh**2
    return {
        "u": SPEED - HEIGHT * tanh,
        "du_dt": HEIGHT * STEEPNESS * SPEED * bell,
        "du_dx": -HEIGHT * STEEPNESS * bell,
        "d2u_dx2": 2 * HEIGHT * STEEPNESS**2 * tanh * bell,
    }


def residual(u: Array, du_dt: Array, du_dx: Array, d2u_dx2: Array) -> Array:
    """How far the four are from Burgers' equation; zero for the exact wave."""
    return du_dt + u * du_dx - NU * d2u_dx2
