"""What is exported under a fault: a row of the tables, or a small network with a request."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
import pullback
import tensorflow as tf
from pullback_export import export

from tests.error_rates.rows import export_row, function_of
from tests.exporter.optimize import test_convolutional as convolutional
from tests.exporter.optimize import test_counts as networks
from tests.lowering.case import Case, draw_inputs


class Subject(Protocol):
    """Something to export, and how wrong a bundle of it is whatever the gate said."""

    @property
    def name(self) -> str: ...

    def export(self, path: pathlib.Path) -> None:
        """Raises what :func:`pullback_export.export` raises."""

    def error(self, bundle: pullback.Bundle) -> float:
        """The largest error of a value or derivative, relative to the largest of its array."""


@dataclasses.dataclass(frozen=True)
class RowSubject:
    """A row, in its last dtype; its values and vjps against TensorFlow's."""

    case: Case

    @property
    def name(self) -> str:
        return self.case.name

    def export(self, path: pathlib.Path) -> None:
        """As :func:`export_row`."""
        export_row(self.case, self.case.dtypes[-1], self.case.free[0], path)

    def error(self, bundle: pullback.Bundle) -> float:
        """On the row's inputs, for one cotangent of each output."""
        arrays = draw_inputs(self.case, self.case.dtypes[-1])
        feeds = {f"x{index}": array for index, array in enumerate(arrays)}
        tensors = {name: tf.constant(array) for name, array in feeds.items()}
        watched = {name: tensor for name, tensor in tensors.items() if tensor.dtype.is_floating}
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(list(watched.values()) if self.case.order else [])  # a row of order 0 may have no gradient
            outputs = function_of(self.case)(*tensors.values())
        found = bundle(**feeds, fetch=tuple(outputs))
        worst = max((relative_error(getattr(found, name), want) for name, want in outputs.items()), default=0.0)
        taken = {spec.name for spec in bundle.functions["vjp"].spec.inputs} if "vjp" in bundle.functions else set()
        floats = {name: tensor for name, tensor in outputs.items() if f"adj_{name}" in taken}
        for name, output in floats.items():
            rng = np.random.default_rng(7)
            seeds = {
                f"adj_{other}": rng.normal(size=tensor.shape).astype(tensor.dtype.as_numpy_dtype) * (other == name)
                for other, tensor in floats.items()
            }
            results = bundle.vjp(**feeds, **seeds)
            seed = tf.constant(seeds[f"adj_{name}"])
            for wrt, tensor in watched.items():
                expected = tape.gradient(output, tensor, seed, unconnected_gradients="zero")
                error = relative_error(getattr(results, f"adj_{wrt}"), tf.convert_to_tensor(expected))
                worst = max(worst, error)
        return worst


@dataclasses.dataclass(frozen=True)
class NetworkSubject:
    """A Keras network with one request; against the bundle that is written without the fault."""

    name: str
    build: Callable[[], Any]
    request: str

    def export(self, path: pathlib.Path) -> None:
        """Without samples of ours: the gate draws its own."""
        keras.utils.set_random_seed(1)
        export(self.build(), path, [self.request], outputs=["y"], formats=("onnx",))

    def error(self, bundle: pullback.Bundle) -> float:
        """On three random rows."""
        with tempfile.TemporaryDirectory() as folder:
            right = pathlib.Path(folder) / "right.pullback"
            self.export(right)
            honest = pullback.load(right)
            rng = np.random.default_rng(5)
            worst = 0.0
            for name, function in honest.functions.items():
                feeds = {
                    spec.name: rng.normal(size=[size if isinstance(size, int) else 3 for size in spec.shape]).astype(
                        spec.dtype
                    )
                    for spec in function.spec.inputs
                }
                pairs = zip(bundle.functions[name](**feeds), function(**feeds), strict=True)
                worst = max([worst, *(relative_error(found, want) for found, want in pairs)])
            return worst


L = keras.layers


def padded_and_strided() -> Any:
    """Pads before strided convolutions, whose adjoints are then cropped; one kernel for each of eight channels."""
    x = keras.Input((16, 16, 8), name="x")
    hidden = L.Conv2D(8, 3, strides=2, activation="swish")(L.ZeroPadding2D(((0, 1), (0, 1)))(x))
    hidden = L.DepthwiseConv2D(3, strides=2, padding="same", activation="tanh")(hidden)
    return keras.Model(x, L.Dense(1)(L.Flatten()(L.Conv2D(4, 1, strides=2)(hidden))))


def swish_between_convolutions() -> Any:
    """Sixteen channels, which ONNX Runtime lays out in blocks."""
    x = keras.Input((8, 8, 16), name="x")
    hidden = L.Conv2D(16, 3, activation="swish")(L.Conv2D(16, 3, padding="same", activation="swish")(x))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(hidden)))


def of_images(layers: Callable[[Any], Any]) -> Callable[[], Any]:
    """``layers`` between small images and one number."""

    def build() -> Any:
        x = keras.Input((12, 12, 3), name="x")
        return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(layers(x))))

    return build


def normalised() -> Any:
    """A scale for each place, as training leaves it."""
    x = keras.Input((5, 6), name="x")
    hidden = L.LayerNormalization(gamma_initializer="random_normal", beta_initializer="random_normal")(x)
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(L.Dense(3, "tanh")(hidden))))


def gru() -> Any:
    """All states count."""
    x = keras.Input((5, 3), name="x")
    return keras.Model(x, L.Dense(1)(L.Flatten()(L.GRU(4, return_sequences=True)(x))))


def masked_in_both_directions() -> Any:
    """Steps of zeros do not count; all states are read, then the last ones."""
    x = keras.Input((5, 3), name="x")
    states = L.Bidirectional(L.LSTM(4, return_sequences=True))(L.Masking()(x))
    return keras.Model(x, L.Dense(1)(L.Bidirectional(L.GRU(4))(states)))


def summed_parts(parts: Callable[[Any, Any], list[Any]]) -> Any:
    """Sums over parts ``(B, size, 3)`` of a sequence, whose sizes are computed from its length."""
    x = keras.Input((None, 2), name="x")

    def sums(value: Any) -> Any:
        return tf.concat([tf.reduce_sum(part, 1) for part in parts(value, tf.shape(value)[1])], 1)

    return keras.Model(x, L.Dense(1)(L.Lambda(sums)(L.Dense(3, "tanh")(x))))


def slices() -> Any:
    """Sizes by division, remainder, minimum and maximum."""
    return summed_parts(lambda x, n: [x[:, : n // 2], x[:, n % 2 :], x[:, :4], x[:, ::2]])


def pairs() -> Any:
    """A size by division that a reshape takes."""
    return summed_parts(lambda x, n: [tf.reshape(x[:, : n // 2 * 2], [-1, n // 2, 2, 3])[:, :, 0]])


# Between them they reach every rewrite of the pipeline: a test checks it.
NETWORKS = (
    *(NetworkSubject(bound.name, bound.build, bound.request) for bound in networks.BOUNDS if bound.name != "surrogate"),
    NetworkSubject("padded and strided", padded_and_strided, "gradient(y, x)"),
    NetworkSubject("swish between convolutions", swish_between_convolutions, "gradient(y, x)"),
    NetworkSubject("dense block", of_images(convolutional.dense_block), "gradient(y, x)"),
    NetworkSubject("strided 1x1", of_images(convolutional.strided_pointwise), "gradient(y, x)"),
    NetworkSubject("hard swish", of_images(convolutional.hard_swish), "gradient(y, x)"),
    NetworkSubject("GRU", gru, "gradient(y, x)"),
    NetworkSubject("normalised", normalised, "gradient(y, x)"),
    NetworkSubject("masked in both directions", masked_in_both_directions, "gradient(y, x)"),
)
# With free sizes, of which others are computed.
SIZED = tuple(NetworkSubject(build.__name__, build, "gradient(y, x)") for build in (slices, pairs))


def relative_error(actual: Any, expected: Any) -> float:
    """``max|actual - expected|`` over ``max|expected|``; infinite for other shapes or other infinities."""
    want, got = np.asarray(expected), np.asarray(actual)
    if want.shape != got.shape:
        return float("inf")
    if want.dtype.kind != "f":
        return float((want != got).any())
    if not np.array_equal(np.isfinite(want), np.isfinite(got)):
        return float("inf")
    finite = np.isfinite(want)
    scale = np.abs(want[finite]).max(initial=0.0)
    difference = np.abs(want[finite].astype(float) - got[finite]).max(initial=0.0)
    return float(difference / scale) if scale else float(difference)
