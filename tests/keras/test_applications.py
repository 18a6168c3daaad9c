"""Whole networks of ``keras.applications`` with random weights: a logit and its derivative for the image."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export.overrides.strided_1x1_convolution import safe_convolution

from tests.lowering.case import Arg, convert, run_onnx


@dataclasses.dataclass(frozen=True)
class Network:
    """A class of ``keras.applications`` on square images; ``tolerance`` for float32, deep networks add up more."""

    name: str
    size: int = 64
    tolerance: float = 2e-5
    slow: bool = True


NETWORKS = [
    Network("MobileNet", 32, slow=False),
    Network("MobileNetV2", 32, slow=False),
    Network("MobileNetV3Small"),
    Network("MobileNetV3Large"),
    Network("ResNet50"),
    Network("ResNet50V2"),
    Network("EfficientNetB0"),
    Network("EfficientNetV2B0"),
    Network("DenseNet121", tolerance=2e-4),
    Network("InceptionV3", 75, tolerance=2e-4),
    Network("InceptionResNetV2", 75, tolerance=2e-4),
    Network("Xception", 71),
    Network("VGG16"),
    Network("NASNetMobile", 64, tolerance=2e-4),
    Network("ConvNeXtTiny"),
]


@pytest.mark.parametrize(
    "network", [pytest.param(item, id=item.name, marks=[pytest.mark.slow] if item.slow else []) for item in NETWORKS]
)
def test_gradient_of_a_logit_for_the_image(network: Network) -> None:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, network.name)(
        weights=None, input_shape=(network.size, network.size, 3), classes=10, classifier_activation=None
    )
    shake(model)

    @tf.function
    def value_and_gradient(image: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            logit = model(image, training=False)[:, 3]
        return [logit, tape.gradient(logit, image)]

    shape = (2, network.size, network.size, 3)
    with safe_convolution():
        concrete = value_and_gradient.get_concrete_function(tf.TensorSpec([None, *shape[1:]], tf.float32))
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    results = run_onnx(convert(concrete, [Arg(shape)], free=True), [images])
    expected = [item.numpy() for item in concrete(tf.constant(images))]
    for mine, theirs, noise in zip(results, expected, rounding(concrete, images, expected), strict=True):
        scale = max(float(np.abs(theirs).max()), 8 * noise / network.tolerance)
        error = float(np.abs(mine - theirs).max())
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        assert error <= network.tolerance * scale, f"{network.name}: error {error:.3g}, rounding {noise:.3g}"


def rounding(concrete: Any, images: np.ndarray[Any, Any], expected: list[np.ndarray[Any, Any]]) -> list[float]:
    """What rounding does to TensorFlow's own results: of millions of units some lie on a kink, and jump there.

    As in the exporter's parity: the images moved by units in the last place, at random.
    """
    rng = np.random.default_rng(2)
    largest = [0.0] * len(expected)
    for step in (1, 16, 16, 16):
        moved = images * (1 + step * np.finfo(np.float32).eps * rng.choice([-1.0, 1.0], images.shape))
        for index, item in enumerate(concrete(tf.constant(moved.astype(np.float32)))):
            largest[index] = max(largest[index], float(np.abs(item.numpy() - expected[index]).max()))
    return largest


def shake(model: keras.Model) -> None:
    """Statistics of batch normalisation as after training: not 0 and 1."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.path.endswith("moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.path.endswith(("moving_mean", "beta")):
            weight.assign(rng.normal(size=weight.shape) * 0.1)
