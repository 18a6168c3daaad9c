"""Layer normalisations as ONNX's operator: which are, what is left of their derivative, and the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import onnx
import pytest
from keras import ops
from pullback_export.optimize import pipeline

from tests.benchmarks.convolutional import opened
from tests.exporter.optimize.test_convolutional import dtype
from tests.exporter.optimize.test_counts import exported, types_of_calls
from tests.rotation import in_turn

__all__ = ["dtype"]  # a fixture
L = keras.layers
STEPS, WIDTH = 5, 6
RULES = ("layer_norm", "scale_first")


def trained(layer: Any, sizes: tuple[int, ...] = (WIDTH,)) -> Any:
    """With a scale and an offset of its own for each place."""
    layer.build((None, None, STEPS, *sizes)[-max(3, len(sizes) + 1) :])
    rng = np.random.default_rng(3)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 2, weight.shape) if weight.name == "gamma" else rng.normal(size=weight.shape))
    return layer


def by_hand(x: Any) -> Any:
    """Divided by the deviation, and with numbers of its own."""
    centred = x - ops.mean(x, -1, keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(centred), -1, keepdims=True) + 1e-3)
    return centred / deviation * np.linspace(0.5, 2, WIDTH).astype(x.dtype) + np.arange(WIDTH).astype(x.dtype)


def with_its_mean(x: Any) -> Any:
    """The mean has another reader."""
    return ops.concatenate([L.LayerNormalization()(x), ops.mean(x, -1, keepdims=True)], -1)


def other_epsilons(x: Any) -> Any:
    """Two of one mean: only one of them has the operator's deviation."""
    return L.LayerNormalization(epsilon=1e-3)(x) - 2.0 * L.LayerNormalization(epsilon=0.1)(x)


ROWS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "trained": (lambda x: trained(L.LayerNormalization())(x), 1),
    "new": (lambda x: L.LayerNormalization()(x), 1),
    "without scale": (lambda x: trained(L.LayerNormalization(scale=False))(x), 1),
    "without offset": (lambda x: trained(L.LayerNormalization(center=False))(x), 1),
    "two axes": (lambda x: L.LayerNormalization((-2, -1))(ops.reshape(x, (-1, STEPS, 2, 3))), 1),
    "one after the other": (lambda x: trained(L.LayerNormalization())(trained(L.LayerNormalization())(x)), 2),
    "by hand": (by_hand, 1),
    "with its mean": (with_its_mean, 1),
    "other epsilons": (other_epsilons, 1),
    "root mean square": (lambda x: L.RMSNormalization()(x), 0),
    "axis in the middle": (lambda x: L.LayerNormalization(axis=1)(ops.reshape(x, (-1, STEPS, WIDTH))), 0),
}


def without() -> Any:
    return mock.patch.object(pipeline, "FINAL", tuple(row for row in pipeline.FINAL if row.name not in RULES))


def network(name: str, free: bool = False) -> Any:
    keras.utils.set_random_seed(1)
    x = keras.Input((None, WIDTH) if free and name in ("trained", "by hand") else (STEPS, WIDTH), name="x")
    hidden = ROWS[name][0](x)
    hidden = L.Dense(3, "tanh")(ops.reshape(hidden, (-1, STEPS, WIDTH)) if name == "two axes" else hidden)
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(hidden)))


@pytest.mark.parametrize("name", ROWS)
def test_operators(name: str) -> None:
    """One for each normalisation; means and roots are left only where something else reads them."""
    expected = ROWS[name][1]
    value, gradient = exported(network(name)), exported(network(name), "gradient(y, x)")
    for model in (value, gradient):
        found = types_of_calls(model.graph)
        assert found["LayerNormalization"] == expected
        assert found["Sqrt"] == (name == "other epsilons" or not expected)
    if name == "trained":
        assert {*types_of_calls(value.graph)} == {
            "LayerNormalization",
            "Reshape",
            "MatMul",
            "Tanh",
            "Gemm",
            "ReduceMean",
        }
        with without():
            plain = types_of_calls(exported(network(name), "gradient(y, x)").graph)
        found = types_of_calls(gradient.graph)
        assert (plain["Mul"] - found["Mul"], plain["ReduceMean"] - found["ReduceMean"]) == (5, 2)


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("dtype", ["float32", "float64"], indirect=True)
@pytest.mark.parametrize("name", in_turn("layer normalisation", list(ROWS), 3))
def test_numbers_with_and_without(name: str, dtype: str, free: bool) -> None:
    model = network(name, free)
    with without():
        plain = exported(model, "gradient(y, x)")
    assert_same_numbers(exported(model, "gradient(y, x)"), plain, dtype)


@pytest.mark.parametrize("request_", ["hessian(y, x)", "hvp(y, x)"])
def test_second_order_with_and_without(request_: str) -> None:
    model = network("trained")
    with without():
        plain = exported(model, request_)
    assert_same_numbers(exported(model, request_), plain, "float32")


def assert_same_numbers(after: onnx.ModelProto, plain: onnx.ModelProto, dtype: str) -> None:
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    sessions = [opened(item.SerializeToString()) for item in (after, plain)]
    for batch in (0, 1, 2, 7):
        rng = np.random.default_rng(batch)
        feeds = {
            item.name: (4 * rng.normal(size=(batch, STEPS, WIDTH))).astype(dtype) for item in sessions[0].get_inputs()
        }
        for one, other in zip(*(session.run(None, feeds) for session in sessions), strict=True):
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max(initial=0))


def test_far_from_zero() -> None:
    """The operator's deviation is as good as TensorFlow's where the mean is a hundred deviations."""
    model = keras.Sequential([keras.Input((STEPS, 64), name="x"), L.LayerNormalization(), L.Flatten()])
    x = (100 + np.random.default_rng(0).normal(size=(7, STEPS, 64))).astype(np.float32)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-3)
    (found,) = opened(exported(model).SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(found, exact.reshape(7, -1), atol=5e-5)
