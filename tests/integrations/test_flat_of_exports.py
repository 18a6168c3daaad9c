"""Flat views of bundles that were exported with each kind: the same numbers from every source, on both backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pullback
import pytest
import tensorflow as tf
from pullback_export import export

Array = npt.NDArray[Any]

X = np.array([0.3, -0.7, 1.1, 0.4])
T = 0.6
SHIFT = np.arange(12.0).reshape(4, 3) / 7


def value(x: Array) -> Array:
    return np.asarray(np.tanh(x @ SHIFT) * T + (x**3).sum())


def jacobian(x: Array) -> Array:
    return np.asarray((SHIFT * T / np.cosh(x @ SHIFT) ** 2).T + 3 * x**2)


def hessian(x: Array, v: Array) -> Array:
    slope = -2 * T * np.tanh(x @ SHIFT) / np.cosh(x @ SHIFT) ** 2
    return np.asarray((SHIFT * (slope * v)) @ SHIFT.T + 6 * v.sum() * np.diag(x))


# What is exported besides the values: each alone must give everything of its order.
KINDS = {
    "dense": (["jacobian(y, x)", "hessian(y, x)"], "first second"),
    "reverse": (["vjp(y, x)", "weighted_hessian(y, x)"], "first second"),
    "forward": (["jvp(y, x)", "hvp(y, x)"], "first second"),
    "components": (
        [*(f"gradient(y[{i}], x)" for i in range(3)), *(f"hvp(y[{i}], x)" for i in range(3))],
        "first second",
    ),
    "second order alone": ([f"hvp(y[{i}], x)" for i in range(3)], "first second"),
    "second order alone, reverse": (["weighted_hessian(y, x)"], "first second"),
}


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "whole"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(tmp_path: Path, kind: str, batched: bool) -> None:
    """``x`` has two axes, and is raveled in C order."""
    lead = [None] if batched else []

    def model(x: Any, t: Any) -> Any:
        flat = tf.reshape(x, [-1, 4])
        y = tf.tanh(flat @ SHIFT) * tf.reshape(t, [-1, 1]) + tf.reduce_sum(flat**3, 1, keepdims=True)
        return {"y": y if batched else y[0]}

    inputs = [tf.TensorSpec([*lead, 2, 2], tf.float64, name="x"), tf.TensorSpec(lead, tf.float64, name="t")]
    formats = ("onnx", "saved_model") if kind == "reverse" else ("onnx",)
    bundle = export(
        model,
        tmp_path / "m.pullback",
        KINDS[kind][0],
        inputs=inputs,
        batched=None if batched else False,
        formats=formats,
    )
    v, p = np.array([0.5, -1.0, 2.0]), np.array([1.0, 0.5, -2.0, 0.25])
    for loaded in [bundle, *([pullback.load(bundle.path, "saved_model")] if "saved_model" in formats else [])]:
        f = loaded.flat(of="y", wrt="x", given={"t": T})
        assert (f.n, f.m) == (4, 3)
        found = {
            "value": (f.value(X), value(X)),
            "jacobian": (f.jacobian(X), jacobian(X)),
            "vjp": (f.vjp(X, v), v @ jacobian(X)),
            "jvp": (f.jvp(X, p), jacobian(X) @ p),
            "hess": (f.hess(X, v), hessian(X, v)),
            "hessp": (f.hessp(X, p, v), hessian(X, v) @ p),
        }
        one = loaded.flat(of="y[1]", wrt="x", given={"t": T})
        found |= {
            "value[1]": (one.value(X), value(X)[1]),
            "gradient[1]": (one.value_and_gradient(X)[1], jacobian(X)[1]),
            "hess[1]": (one.hess(X), hessian(X, np.eye(3)[1])),
        }
        for name, (got, want) in found.items():
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max() * 10, err_msg=name)


def test_products_of_two_inputs_and_a_free_axis(tmp_path: Path) -> None:
    """A whole-tensor model whose sizes the view is told, with two flat inputs; second order in mixed blocks."""
    bundle = export(
        lambda a, b: {"y": tf.reduce_sum(tf.sin(a), 0, keepdims=True) * b**2},
        tmp_path / "m.pullback",
        ["vjp(y, a)", "vjp(y, b)", "weighted_hessian(y, a)", "weighted_hessian(y, a, b)", "weighted_hessian(y, b)"],
        inputs=[tf.TensorSpec([None], tf.float64, name="a"), tf.TensorSpec([2], tf.float64, name="b")],
        batched=False,
        formats=("onnx",),
    )
    f = bundle.flat("y", ("b", "a"), shape={"a": (3,)})
    x, v = np.array([2.0, -1.0, 0.1, 0.2, 0.3]), np.array([1.0, -3.0])
    b, a = x[:2], x[2:]
    np.testing.assert_allclose(f.value(x), np.sin(a).sum() * b**2, rtol=1e-12)
    want = np.concatenate([np.diag(2 * b) * np.sin(a).sum(), np.outer(b**2, np.cos(a))], 1)
    np.testing.assert_allclose(f.jacobian(x), want, atol=1e-12)
    hess = np.zeros((5, 5))
    hess[2:, 2:] = np.diag(-np.sin(a)) * (v @ b**2)
    hess[:2, :2] = np.diag(2 * v) * np.sin(a).sum()
    hess[:2, 2:] = np.outer(2 * v * b, np.cos(a))
    hess[2:, :2] = hess[:2, 2:].T
    np.testing.assert_allclose(f.hess(x, v), hess, atol=1e-12)
