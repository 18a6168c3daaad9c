"""The vjp of every family of ``keras.applications`` has an exact reference: all operators in float64, convolutions in
groups included. A family that is not listed here fails, and so does one that Keras adds.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.overrides import overrides
from pullback_export.sources.opening import open_source


class Family(NamedTuple):
    """Its smallest network, on square images; all of them are made of the same layers."""

    network: str
    size: int = 64
    slow: bool = True


FAMILIES = {
    "convnext": Family("ConvNeXtTiny"),
    "densenet": Family("DenseNet121"),
    "efficientnet": Family("EfficientNetB0"),
    "efficientnet_v2": Family("EfficientNetV2B0"),
    "inception_resnet_v2": Family("InceptionResNetV2", 75),
    "inception_v3": Family("InceptionV3", 75),
    "mobilenet": Family("MobileNet", 32, slow=False),
    "mobilenet_v2": Family("MobileNetV2", 32),
    "mobilenet_v3": Family("MobileNetV3Small"),
    "nasnet": Family("NASNetMobile"),
    "resnet": Family("ResNet50"),
    "resnet_v2": Family("ResNet50V2"),
    "vgg16": Family("VGG16", 32),
    "vgg19": Family("VGG19", 32),
    "xception": Family("Xception", 71),
}


def test_every_network_is_of_a_listed_family() -> None:
    networks = {
        name: function.__module__.rsplit(".", 1)[-1]
        for name, function in vars(keras.applications).items()
        if inspect.isfunction(function)
    }
    assert set(networks.values()) == set(FAMILIES)
    assert all(networks[item.network] == family for family, item in FAMILIES.items())


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] if item.slow else []) for name, item in FAMILIES.items()]
)
def test_all_of_the_truth_is_in_float64(family: str) -> None:
    _, size, _ = FAMILIES[family]
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, FAMILIES[family].network)(
        weights=None, input_shape=(size, size, 3), classes=4, classifier_activation=None
    )

    def network(x: Any) -> Any:
        return {"y": model(x, training=False)}

    with overrides():
        source = open_source(network, [tf.TensorSpec([None, size, size, 3], tf.float32, name="x")], None, False, False)
        functions = Derivatives(source, [parse_request("vjp(y, x)")], "error").functions()
        x = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype(np.float32)
        for function in functions:
            exact = ExactFunction(trace(function))
            found = exact({"x": x, "adj_y": np.ones((1, 4), np.float32)})
            assert exact.coverage.exact, str(exact.coverage)
            assert all(array.dtype == np.float64 and np.isfinite(array).all() for array in found.values())
            assert any(array.any() for array in found.values())
