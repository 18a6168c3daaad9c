"""Derivatives of error functions in another precision than the model's have its precision, constants and all."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.overrides import overrides
from scipy import special

X = np.linspace(0.1, 0.9, 9)
# The function, and its derivative in closed form.
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "erf": (tf.math.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "erfc": (tf.math.erfc, lambda x: -2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "erfinv": (tf.math.erfinv, lambda x: np.sqrt(np.pi) / 2 * np.exp(special.erfinv(x) ** 2)),
    "ndtri": (tf.math.ndtri, lambda x: np.sqrt(2 * np.pi) * np.exp(special.ndtri(x) ** 2 / 2)),
}
HALF = ("erf", "erfc")  # the others have no kernel in half precision


def inside(function: Callable[[Any], Any], dtype: str, outside: str) -> Callable[[Any], Any]:
    """``function`` computed in ``dtype``, between casts."""
    return lambda x: {"y": tf.cast(function(tf.cast(x, dtype)), outside)}


@pytest.mark.parametrize(
    ("name", "dtype", "precision", "tolerance"),
    [
        *((name, half, "float32", 5e-7) for name in HALF for half in ("float16", "bfloat16")),
        *((name, "float32", "float64", 1e-13) for name in FUNCTIONS),
    ],
)
def test_a_derivative_in_a_higher_precision_is_exact(
    name: str, dtype: str, precision: str, tolerance: float, tmp_path: pathlib.Path
) -> None:
    function, derivative = FUNCTIONS[name]
    spec = tf.TensorSpec([None], tf.float32, name="x")
    samples = {"x": X.astype(np.float32)}
    model = inside(function, dtype, "float32")
    bundle = export(model, tmp_path / "m", ["gradient(y, x)"], inputs=[spec], samples=samples, precision=precision)
    x = X.astype(precision)
    np.testing.assert_allclose(bundle(x=x).dy_dx, derivative(x.astype(np.float64)), rtol=tolerance)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, half) for name in HALF for half in ("float16", "bfloat16")),
        *((name, dtype) for name in FUNCTIONS for dtype in ("float32", "float64")),
    ],
)
def test_in_its_own_precision_a_gradient_is_tensorflows(name: str, dtype: str) -> None:
    x = tf.constant(X, dtype)

    def gradient() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = FUNCTIONS[name][0](x)
        return tape.gradient(y, x).numpy()

    with overrides():
        ours = gradient()
    np.testing.assert_array_equal(ours, gradient())
