"""Wide images in parts of their channels: the operators that are left, and the same numbers as without."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import onnx
import pytest
from pullback_export.optimize import pipeline
from pullback_export.optimize.channels import parts as channel_parts

from tests.exporter.optimize.test_convolutional import (
    assert_same_numbers,
    dtype,
    mobile_block,
    network,
    normalised,
    variants,
)
from tests.exporter.optimize.test_counts import exported, types_of_calls

__all__ = ["dtype"]  # a fixture
L = keras.layers


def strided(x: Any) -> Any:
    """A stride, by which the gradient has phases; the convolution behind has a bias, and is read by another one."""
    hidden = L.ReLU(6.0)(L.Conv2D(32, 1)(L.Conv2D(16, 3, padding="same")(x)))
    hidden = L.ReLU(6.0)(normalised(32)(L.DepthwiseConv2D(3, strides=2, padding="same")(hidden)))
    return L.Conv2D(8, 1)(L.Conv2D(16, 3)(hidden))


def gated(x: Any) -> Any:
    """Swish, squeeze and excitation, as in EfficientNet; padded by a layer."""
    hidden = L.Conv2D(48, 1, activation="swish")(L.Conv2D(16, 3, padding="same")(x))
    hidden = L.DepthwiseConv2D(5, strides=2, activation="swish")(L.ZeroPadding2D(((1, 2), (1, 2)))(hidden))
    gate = L.GlobalAveragePooling2D(keepdims=True)(hidden)
    gate = L.Conv2D(48, 1, activation="sigmoid")(L.Conv2D(4, 1, activation="swish")(gate))
    return normalised(16)(L.Conv2D(16, 1, use_bias=False)(L.Multiply()([hidden, gate])))


def from_the_image(x: Any) -> Any:
    """The gradient of the image is a transposed convolution: the parts are joined in front of it."""
    hidden = L.ReLU(6.0)(L.Conv2D(32, 3, strides=2, padding="same")(x))
    return L.Conv2D(8, 1)(L.ReLU(6.0)(L.DepthwiseConv2D(3, padding="same")(hidden)))


def hard(x: Any) -> Any:
    """Hard swish, as in MobileNetV3."""
    hidden = L.Activation("hard_swish")(normalised(32)(L.Conv2D(32, 1)(L.Conv2D(16, 3)(x))))
    return L.Conv2D(8, 1)(L.Activation("hard_swish")(L.DepthwiseConv2D(3, padding="same")(hidden)))


@dataclasses.dataclass(frozen=True)
class Row:
    """``left``: operators of the float32 gradient with fixed sizes, in parts of 16 channels."""

    layers: Callable[[Any], Any]
    left: dict[str, int]
    side: int = 12


ROWS = [
    Row(mobile_block, {"Conv": 16, "Mul": 8, "Less": 4, "Add": 8}),
    Row(strided, {"Conv": 22, "Mul": 6, "Less": 4, "Concat": 6}),
    Row(gated, {"Conv": 41, "Mul": 36, "Sigmoid": 10, "Concat": 9}),
    Row(from_the_image, {"Conv": 10, "Mul": 4, "Less": 4, "Concat": 1, "ConvTranspose": 1}),
    Row(hard, {"Conv": 14, "Mul": 14, "Add": 8, "HardSigmoid": 4}),
]


def small_parts() -> Any:
    """Parts of 16 channels for images of this file, which are small."""
    return mock.patch.object(channel_parts, "_PART", 1000)


def without() -> Any:
    return mock.patch.object(pipeline, "WHOLE", ())


@pytest.mark.parametrize(("row", "dtype", "free"), variants(ROWS), indirect=["dtype"])
def test_numbers_with_and_without(row: Any, dtype: str, free: bool) -> None:
    model = network(row, free)
    with without():
        plain = exported(model, "gradient(y, x)")
    with small_parts():
        after = exported(model, "gradient(y, x)")
    assert_same_numbers(after, plain, dtype, row.side)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.layers.__name__)
def test_operators(row: Any) -> None:
    model = network(row, False)
    with small_parts():
        found = types_of_calls(exported(model, "gradient(y, x)").graph)
    assert {name: found[name] for name in row.left} == row.left
    with without():
        assert types_of_calls(exported(model, "gradient(y, x)").graph) != found


def wide(side: int, channels: int) -> Any:
    x = keras.Input((side, side, 3), name="x")
    hidden = L.ReLU(6.0)(L.Conv2D(channels, 1)(L.Conv2D(16, 3, padding="same")(x)))
    hidden = L.Conv2D(16, 1)(L.ReLU(6.0)(L.DepthwiseConv2D(3, padding="same")(hidden)))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(hidden)))


@pytest.mark.parametrize(
    ("side", "channels", "parts"),
    [(56, 192, 2), (112, 64, 2), (112, 96, 3), (112, 32, 1), (28, 192, 1), (112, 40, 1)],
    ids=str,
)
def test_parts_of_images_as_they_are(side: int, channels: int, parts: int) -> None:
    """What fits the cache stays whole, and so does what has no whole blocks of channels."""
    model = wide(side, channels)
    found = depthwise(exported(model, "gradient(y, x)"), channels // parts)
    assert found == 2 * parts
    assert depthwise(exported(model), channels) == 1, "a value alone gains nothing"


def of_an_image_with_many_channels() -> Any:
    """No kernels make them, of which some could be taken."""
    x = keras.Input((112, 112, 32), name="x")
    hidden = x
    for _ in range(3):
        hidden = L.ReLU(6.0)(L.DepthwiseConv2D(3, padding="same")(hidden))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(L.Conv2D(16, 1)(hidden))))


def two_to_be_joined() -> Any:
    """In front of the transposed convolutions of both branches."""
    x = keras.Input((224, 224, 3), name="x")
    branches = [L.ReLU(6.0)(L.Conv2D(32, 3, strides=2, padding="same")(x)) for _ in range(2)]
    hidden = L.ReLU(6.0)(L.DepthwiseConv2D(3, padding="same")(L.Add()(branches)))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(L.Conv2D(16, 1)(hidden))))


@pytest.mark.parametrize("build", [of_an_image_with_many_channels, two_to_be_joined])
def test_what_has_no_parts_stays_whole(build: Callable[[], Any]) -> None:
    assert depthwise(exported(build(), "gradient(y, x)"), 16) == 0


def depthwise(model: onnx.ModelProto, channels: int) -> int:
    """Convolutions with one kernel for each of so many channels."""
    groups = Counter(
        item.i for node in model.graph.node if node.op_type == "Conv" for item in node.attribute if item.name == "group"
    )
    return groups[channels]


def test_a_file_does_not_hold_weights_twice() -> None:
    model = wide(56, 144)
    with without():
        before = exported(model, "gradient(y, x)")
    after = exported(model, "gradient(y, x)")
    assert sum(map(size, after.graph.initializer)) <= 1.05 * sum(map(size, before.graph.initializer))


def size(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims)) * 4


def test_a_subject_of_the_error_rates_is_in_parts() -> None:
    from tests.error_rates.subjects import wide_and_separable

    assert depthwise(exported(wide_and_separable(), "gradient(y, x)"), 1280) == 4
