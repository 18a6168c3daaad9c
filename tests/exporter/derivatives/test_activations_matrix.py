"""Every activation of ``keras.activations`` x dtype x gradient and Jacobian x batch none, 0, 1, 2, 7 x both artifacts.

One export serves several activations, so that the whole matrix costs a few exports instead of hundreds.
"""

from __future__ import annotations

import inspect
import pathlib
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import Request, export
from pullback_export.derivatives.requests import parse_request

from tests.rotation import in_turn

ACTIVATIONS = sorted(
    name
    for name, item in vars(keras.activations).items()
    if inspect.isfunction(item) and name not in ("get", "serialize", "deserialize")
)
GROUP = 7
GROUPS = [tuple(ACTIVATIONS[start : start + GROUP]) for start in range(0, len(ACTIVATIONS), GROUP)]
WIDTH = 6
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
NEEDS = {"threshold": {"threshold": 0.1, "default_value": -0.3}}


def activation(name: str, x: Any) -> Any:
    return getattr(keras.activations, name)(x, **NEEDS.get(name, {}))


def compute(names: tuple[str, ...], x: Any) -> dict[str, Any]:
    """For each activation its vector, and one scalar made of it."""
    results = {}
    for name in names:
        vector = activation(name, x)
        weights = tf.cast(tf.cos(tf.range(vector.shape[-1], dtype=tf.float64)), x.dtype)
        results[f"{name}_v"] = vector
        results[f"{name}_s"] = tf.reduce_sum(vector * weights, -1)
    return results


def requests(names: tuple[str, ...]) -> list[Request]:
    texts = [text for name in names for text in (f"jacobian({name}_v, x)", f"gradient({name}_s, x)")]
    return [parse_request(text) for text in texts]


def points(rows: int | None, dtype: str) -> np.ndarray[Any, Any]:
    """Small and large values of both signs, and zero; a softmax over one row must not be over ties alone."""
    x = 2 * np.random.default_rng(rows or 0).normal(size=(WIDTH,) if rows is None else (rows, WIDTH))
    x[..., 0] *= 4
    x[..., 1] = 0
    return x.astype(dtype)


def live(names: tuple[str, ...], x: np.ndarray[Any, Any], batched: bool) -> dict[str, np.ndarray[Any, Any]]:
    """One plain backward pass for each component."""
    point = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(point)
        values = compute(names, point)
        parts = {name: tf.unstack(values[f"{name}_v"], axis=-1) for name in names}
    answers = {name: value.numpy() for name, value in values.items()}
    for name in names:
        answers[f"d{name}_s_dx"] = tape.gradient(values[f"{name}_s"], point).numpy()
        rows = [tape.gradient(part, point) for part in parts[name]]
        answers[f"d{name}_v_dx"] = tf.stack(rows, 1 if batched else 0).numpy()
    return answers


def test_the_namespace_was_enumerated() -> None:
    assert {"relu", "gelu", "sparsemax", "glu", "threshold", "squareplus", "hard_silu", "log_softmax", "celu"} <= set(
        ACTIVATIONS
    )
    assert len(ACTIVATIONS) >= 25


# Of each group of activations one variant at a time; make test-all runs all of them.
VARIANTS = [
    row
    for names in GROUPS
    for row in in_turn(
        "-".join(names),
        [
            pytest.param(names, batched, dtype, id=f"{'-'.join(names)}-{'batched' if batched else 'no batch'}-{dtype}")
            for batched in (True, False)
            for dtype in ("float32", "float64")
        ],
    )
]


@pytest.mark.parametrize(("names", "batched", "dtype"), VARIANTS)
def test_activations(names: tuple[str, ...], batched: bool, dtype: str, tmp_path: pathlib.Path) -> None:
    spec = tf.TensorSpec([None, WIDTH] if batched else [WIDTH], dtype, name="x")
    samples = {"x": points(7 if batched else None, dtype)}
    path = tmp_path / "it.pullback"
    export(
        lambda x: compute(names, x),
        path,
        requests(names),
        inputs=[spec],
        samples=samples,
        batched=batched,
        unconnected="zero",
    )
    for backend in ("onnx", "saved_model"):
        bundle = pullback.load(path, backend)
        for rows in (0, 1, 2, 7) if batched else (None,):
            x = points(rows, dtype)
            result = bundle(x)
            for name, expected in live(names, x, batched).items():
                actual = getattr(result, name)
                where = f"{name}, {backend}, {dtype}, {rows} rows"
                assert actual.shape == expected.shape, where
                assert actual.dtype == expected.dtype, where
                error = np.abs(actual - expected).max(initial=0)
                assert error <= TOLERANCE[dtype] * np.abs(expected).max(initial=0), f"{where}: {error}"
