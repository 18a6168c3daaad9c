"""Rewrites of convolutional networks: which operators are left, and the same numbers as without the rewrite.

Each row at batches of 0, 1, 2 and 7, with sizes of images that are fixed and free, in float32 and float64 (where ONNX
Runtime has no convolutions, so that most of the rewrites have nothing to do).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from pullback_export.graph.serialization import to_model
from pullback_export.lowering.rules.layers import pooling
from pullback_export.optimize import pipeline
from pullback_export.optimize.local import identities

from tests.benchmarks.convolutional import layout_changes
from tests.exporter.optimize.test_counts import B, exported, run, types_of_calls
from tests.rotation import in_turn

L = keras.layers
Layers = Callable[[Any], Any]


def normalised(channels: int, seed: int = 1) -> Any:
    """BatchNormalization as training would leave it."""
    rng = np.random.default_rng(seed)
    layer = L.BatchNormalization()
    layer.build((None, None, None, channels))
    for weight, middle in zip(layer.weights, (1.0, 0.0, 0.0, 1.0), strict=True):
        weight.assign(middle + 0.3 * rng.uniform(-1, 1, weight.shape))
    return layer


def strided_pointwise(x: Any) -> Any:
    """As the border of two stages of a ResNet: both branches start with a stride, a block with a 3x3 is before."""
    first = L.ReLU()(L.Conv2D(16, 3, padding="same")(x))
    hidden = L.Conv2D(16, 1)(L.ReLU()(L.Conv2D(16, 3, padding="same")(first)))
    hidden = L.ReLU()(L.Add()([first, hidden]))
    branch = L.Conv2D(16, 1)(L.ReLU()(L.Conv2D(8, 1, strides=2)(hidden)))
    return L.ReLU()(L.Add()([branch, L.Conv2D(16, 1, strides=2)(hidden)]))


def strided_under_relu6(x: Any) -> Any:
    """One branch, a mask of two comparisons, and a stride that leaves places behind the last one."""
    hidden = L.ReLU(6.0)(L.Conv2D(16, 2, padding="same")(x))
    return L.Conv2D(8, 1, strides=3)(L.ReLU(6.0)(L.Conv2D(16, 1)(hidden)))


def dense_block(x: Any) -> Any:
    hidden = L.Conv2D(16, 3, padding="same")(x)
    for seed in range(2):
        normal = L.ReLU()(normalised(hidden.shape[-1], seed)(hidden))
        grown = L.Conv2D(16, 3, padding="same", use_bias=False)(normal)
        hidden = L.Concatenate()([hidden, grown])
    return L.ReLU()(normalised(48)(hidden))


def mobile_block(x: Any) -> Any:
    """Between two 1x1 convolutions one per channel, normalised, with relu6 and a sum, as in MobileNetV2."""
    first = L.Conv2D(16, 3, padding="same", use_bias=False)(x)
    hidden = L.ReLU(6.0)(normalised(32)(L.Conv2D(32, 1, use_bias=False)(first)))
    hidden = L.ReLU(6.0)(normalised(32)(L.DepthwiseConv2D(3, padding="same", use_bias=False)(hidden)))
    return L.Conv2D(16, 1)(L.Add()([first, normalised(16)(L.Conv2D(16, 1, use_bias=False)(hidden))]))


def averaged(x: Any) -> Any:
    return L.Conv2D(8, 3, padding="same")(L.AveragePooling2D(2)(L.Conv2D(8, 1, activation="tanh")(x)))


def relu6(x: Any) -> Any:
    return L.ReLU(6.0)(L.Conv2D(8, 3, padding="same")(L.ReLU(6.0)(L.Conv2D(8, 1)(x) * 5.0)))


def swish(x: Any) -> Any:
    return L.Conv2D(16, 3, activation="swish")(L.Conv2D(16, 3, padding="same", activation="swish")(x))


def hard_swish(x: Any) -> Any:
    """As in MobileNetV3, at points on both sides of both cuts."""
    hidden = L.Activation("hard_swish")(L.Conv2D(16, 3, padding="same")(x * 5.0))
    return L.Conv2D(16, 3, activation="hard_swish")(hidden)


@dataclasses.dataclass(frozen=True)
class Row:
    """``layers`` between an image and its mean; ``left``: operators of the float32 gradient with fixed sizes."""

    layers: Layers
    without: Callable[[], Any]
    left: dict[str, int]
    side: int = 12


def without(name: str) -> Callable[[], Any]:
    """Without a final rewrite."""
    return lambda: mock.patch.object(pipeline, "FINAL", tuple(row for row in pipeline.FINAL if row.name != name))


def without_and() -> Any:
    rules = {name: rule for name, rule in identities._RULES.items() if name != "And"}
    return mock.patch.object(identities, "_RULES", rules)


def without_tiles() -> Any:
    return mock.patch.object(pooling, "_are_tiles", return_value=False)


ROWS = [
    # The 3x3 convolution, and what is spread for the sum in front of it.
    Row(strided_pointwise, without("spread_late"), {"AveragePool": 2, "ConvTranspose": 2, "Add": 4, "Conv": 11}),
    Row(strided_under_relu6, without("spread_late"), {"AveragePool": 2, "ConvTranspose": 1, "Less": 2}),
    Row(dense_block, without("factor_before_mask"), {"Conv": 8, "Mul": 5}),
    Row(dense_block, without("affine_channels"), {"Conv": 8, "Add": 3}),
    # The gradient of the mean over all places is expanded.
    Row(averaged, without_tiles, {"Resize": 1, "Expand": 1}),
    Row(relu6, without_and, {"Less": 2, "And": 2, "Greater": 0, "Cast": 4}),
    Row(hard_swish, without("hard_swish"), {"HardSigmoid": 2, "Div": 0, "Clip": 0, "Mul": 8, "Less": 2}),
    Row(swish, without("blocked_scalar"), {"HardSigmoid": 2, "Sub": 0, "Conv": 4}),
]


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    before, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(request.param)
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(policy)


def network(row: Row, free: bool) -> Any:
    keras.utils.set_random_seed(1)
    x = keras.Input((None, None, 3) if free else (row.side, row.side, 3), name="x")
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(row.layers(x))))


def results(model: onnx.ModelProto, dtype: str, side: int) -> Iterator[list[Any]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (0, 1, 2, 7):
        x = np.random.default_rng(batch).normal(size=(batch, side, side, 3)).astype(dtype)
        if batch > 1:
            x[0] = 0  # at the kinks of what has no bias
        yield session.run(None, {"x": x})


def assert_same_numbers(after: onnx.ModelProto, plain: onnx.ModelProto, dtype: str, side: int) -> None:
    """Value and derivative of both graphs, for every batch of :func:`results`."""
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    for actual, expected in zip(results(after, dtype, side), results(plain, dtype, side), strict=True):
        for one, other in zip(actual, expected, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max(initial=0))


def variants(rows: Sequence[Any]) -> list[Any]:
    """Every row in both dtypes, of fixed and of free size: one of the four at a time, in turn."""
    found = []
    for row in rows:
        name = row.layers.__name__
        four = [
            pytest.param(row, dtype, free, id=f"{name}-{dtype}-{'free' if free else 'fixed'}")
            for dtype in ("float32", "float64")
            for free in (False, True)
        ]
        found += in_turn(name, four)
    return found


@pytest.mark.parametrize(("row", "dtype", "free"), variants(ROWS), indirect=["dtype"])
def test_numbers_with_and_without(row: Row, dtype: str, free: bool) -> None:
    model = network(row, free)
    with row.without():
        plain = exported(model, "gradient(y, x)")
    after = exported(model, "gradient(y, x)")
    assert_same_numbers(after, plain, dtype, row.side)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.layers.__name__)
def test_operators(row: Row) -> None:
    model = network(row, False)
    found = types_of_calls(exported(model, "gradient(y, x)").graph)
    assert {name: found[name] for name in row.left} == row.left
    with row.without():
        assert types_of_calls(exported(model, "gradient(y, x)").graph) != found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mask_of_relu6_at_all_kinds_of_numbers(dtype: str) -> None:
    """NaN is not inside, the smallest number is, both edges are not."""
    tiny, below = np.finfo(dtype).smallest_subnormal, np.nextafter(np.array(6, dtype), np.array(0, dtype))
    x = np.array([[np.nan, np.inf, -np.inf, tiny, -tiny, 0.0, -0.0, 6.0, below, 3.0]], dtype)

    def masked(graph: Any) -> Any:
        y = graph.emit("Clip", [graph.input("x", np.dtype(dtype), (B, 10)), *numbers(graph)])
        return graph.emit("Cast", [(y > 0.0) & (y < 6.0)], {"to": np.dtype(dtype)})

    def numbers(graph: Any) -> list[Any]:
        return [graph.constant(np.array(number, dtype)) for number in (0, 6)]

    graph = pipeline.new_graph()
    graph.outputs = [("result", masked(graph))]
    pipeline.finish(graph)
    model = to_model(graph, 18, {})
    assert types_of_calls(model.graph) == Counter({"Clip": 1, "Cast": 2, "Less": 1, "And": 1})
    np.testing.assert_array_equal(run(model, {"x": x}), [[0, 0, 0, 1, 0, 0, 0, 0, 1, 1]])


def test_hard_swish_at_its_cuts() -> None:
    """The derivative at the cuts is that outside, and a number that is none stays none."""
    keras.utils.set_random_seed(1)
    x = keras.Input((1, 1, 16), name="x")
    same = L.Conv2D(16, 1, use_bias=False, kernel_initializer=lambda shape, dtype: np.eye(16).reshape(shape))
    padded = L.ZeroPadding2D(1)(x)  # one pixel alone is not in blocks
    y = L.GlobalAveragePooling2D()(L.Conv2D(1, 1, kernel_initializer="ones")(L.Activation("hard_swish")(same(padded))))
    model = keras.Model(x, y)
    points = np.zeros((2, 1, 1, 16), np.float32)
    points[0, 0, 0, :8] = [-3, 3, -4, 4, 0, -2.5, 2.5, 1e-30]
    points[1, 0, 0, 0] = np.nan
    with without("hard_swish")():
        plain = exported(model, "gradient(y, x)")
    after = exported(model, "gradient(y, x)")
    assert types_of_calls(after.graph)["HardSigmoid"] == 1
    np.testing.assert_allclose(run(after, {"x": points}), run(plain, {"x": points}), atol=1e-6)
    sessions = [onnxruntime.InferenceSession(item.SerializeToString()) for item in (after, plain)]
    actual, expected = (session.run(None, {"x": points})[1] for session in sessions)
    np.testing.assert_allclose(actual[0], expected[0], atol=1e-6)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))


# How often the optimised graph enters and leaves ONNX Runtime's blocked layout of channels, where there is one: masks
# are comparisons, which it does not know. A change that lowers a number lowers its bound; one that raises it says why.
LAYOUT_CHANGES = [
    (mobile_block, 3, 7),
    (strided_pointwise, 3, 9),
    (dense_block, 4, 6),
    (swish, 0, 2),
]


@pytest.mark.parametrize(("layers", "enters", "leaves"), LAYOUT_CHANGES, ids=lambda item: getattr(item, "__name__", ""))
def test_layout_changes(layers: Layers, enters: int, leaves: int) -> None:
    x = keras.Input((16, 16, 3), name="x")
    keras.utils.set_random_seed(1)
    model = keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(layers(x))))
    if not layout_changes(exported(model).SerializeToString()).total():
        pytest.skip(
            "ONNX Runtime lays no channels out in blocks on this processor: there are no changes of layout to count"
        )
    found = layout_changes(exported(model, "gradient(y, x)").SerializeToString())
    assert found["ReorderInput"] <= enters
    assert found["ReorderOutput"] <= leaves
