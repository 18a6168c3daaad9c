"""Activations other than a sigmoid and tanh in ONNX's recurrent operators: which are known, their numbers and kinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from pullback.storage.onnx_cut import cut

from tests.exporter.optimize.test_counts import exported
from tests.exporter.optimize.test_recurrent import (
    Layer,
    assert_same,
    both,
    conditions,
    found,
    inputs,
    layer,
    masked,
    network,
    session_of,
    with_and_without,
)
from tests.exporter.optimize.test_scan_steps import run_all
from tests.rotation import in_turn

L = keras.layers
HARD = {"recurrent_activation": "hard_sigmoid"}


@keras.saving.register_keras_serializable("pullback_recurrent")
class Gated(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """An LSTM without biases, with functions for its gates, its candidate and its output."""

    def __init__(self, gate: Callable[[Any], Any], new: Callable[[Any], Any] = tf.tanh, **options: Any) -> None:
        super().__init__(**options)
        self.state_size, self.output_size = [4, 4], 4
        self.gate, self.new = gate, new

    def build(self, shape: Any) -> None:
        self.of_input = self.add_weight(shape=(shape[-1], 16), name="w", initializer=spread(3))
        self.of_state = self.add_weight(shape=(4, 16), name="u", initializer=spread(2))

    def call(self, x: Any, states: Any) -> Any:
        shown, memory = states
        one, two, three, four = tf.split(x @ self.of_input + shown @ self.of_state, 4, axis=-1)
        memory = self.gate(one) * memory + self.gate(two) * self.new(three)
        shown = self.gate(four) * self.new(memory)
        return shown, [shown, memory]


def spread(size: float) -> Any:
    return keras.initializers.RandomUniform(-size, size, seed=3)


def own(gate: Callable[[Any], Any], new: Callable[[Any], Any] = tf.tanh) -> Layer:
    return lambda dtype: L.RNN(Gated(gate, new, dtype=dtype), dtype=dtype, return_sequences=True)


def clipped(x: Any) -> Any:
    return tf.clip_by_value(0.2 * x + 0.5, 0, 1)


def falling(x: Any) -> Any:
    return 1 - tf.nn.relu6(2 * x + 3) / 6


def of_two(x: Any) -> Any:
    return tf.minimum(tf.nn.relu(x + 0.5), 1)


def stretched(x: Any) -> Any:
    return 1.7159 * tf.tanh(x * (2 / 3))


# Name, layer, and the activations of its operator with their parameters. Where a GRU adds its biases in a step, the 3
# of a hard sigmoid is among them.
KNOWN: list[tuple[str, Layer, list[Any]]] = [
    ("lstm", layer("LSTM", **HARD), [b"HardSigmoid", b"Tanh", b"Tanh", 1 / 6, 0.5]),
    ("lstm of sequences", layer("LSTM", return_sequences=True, **HARD), [b"HardSigmoid", b"Tanh", b"Tanh", 1 / 6, 0.5]),
    ("lstm of one", layer("LSTM", activation="hard_sigmoid", **HARD), [b"HardSigmoid"] * 3 + [1 / 6] * 3 + [0.5] * 3),
    (
        "lstm, hard outside",
        layer("LSTM", activation="hard_sigmoid"),
        [b"Sigmoid", *[b"HardSigmoid"] * 2, *[1 / 6] * 2, *[0.5] * 2],
    ),
    ("gru", layer("GRU", **HARD), [b"HardSigmoid", b"Tanh", 1 / 6, 0]),
    ("gru that resets before", layer("GRU", reset_after=False, **HARD), [b"HardSigmoid", b"Tanh", 1 / 6, 0]),
    (
        "gru, hard outside",
        layer("GRU", activation="hard_sigmoid", return_sequences=True),
        [b"Sigmoid", b"HardSigmoid", 1 / 6, 0],
    ),
    ("both directions", both("GRU", return_sequences=True, **HARD), [b"HardSigmoid", b"Tanh", 1 / 6, 0]),
    ("masked", masked(layer("LSTM", return_sequences=True, **HARD)), [b"HardSigmoid", b"Tanh", b"Tanh", 1 / 6, 0.5]),
    ("clipped", own(clipped), [b"HardSigmoid", b"Tanh", b"Tanh", 0.2, 0.5]),
    ("falling", own(falling), [b"HardSigmoid", b"Tanh", b"Tanh", -1 / 3, 0.5]),
    ("of two operators", own(of_two), [b"HardSigmoid", b"Tanh", b"Tanh", 1, 0.5]),
    ("stretched", own(tf.sigmoid, stretched), [b"Sigmoid", b"ScaledTanh", b"ScaledTanh", *[1.7159] * 2, *[2 / 3] * 2]),
    (
        "both kinds",
        own(clipped, stretched),
        [b"HardSigmoid", *[b"ScaledTanh"] * 2, 0.2, *[1.7159] * 2, 0.5, *[2 / 3] * 2],
    ),
    ("relu", layer("LSTM", activation="relu"), [b"Sigmoid", b"Relu", b"Relu"]),
    ("gru of relu", layer("GRU", activation="relu", return_sequences=True), [b"Sigmoid", b"Relu"]),
    ("relu that resets before", layer("GRU", activation="relu", reset_after=False), [b"Sigmoid", b"Relu"]),
    ("both directions of relu", both("LSTM", activation="relu"), [b"Sigmoid", b"Relu", b"Relu"]),
    ("masked relu", masked(layer("LSTM", activation="relu")), [b"Sigmoid", b"Relu", b"Relu"]),
    ("leaky relu", layer("LSTM", activation="leaky_relu"), [b"Sigmoid", b"LeakyRelu", b"LeakyRelu", 0.2, 0.2]),
    ("elu", layer("LSTM", activation="elu"), [b"Sigmoid", b"Elu", b"Elu", 1, 1]),
    ("gru of elu", layer("GRU", activation="elu"), [b"Sigmoid", b"Elu", 1]),
    ("linear", layer("LSTM", activation="linear"), [b"Sigmoid", b"Affine", b"Affine", 1, 1, 0, 0]),
    ("linear gru", layer("GRU", activation="linear"), [b"Sigmoid", b"Affine", 1, 0]),
    ("hard outside, relu", layer("LSTM", activation="relu", **HARD), [b"HardSigmoid", b"Relu", b"Relu", 1 / 6, 0.5]),
]

# No activation of ONNX has these values, or a gate has no bound: the loop stays.
UNKNOWN: list[tuple[str, Layer]] = [
    ("hard tanh", layer("LSTM", activation="hard_tanh")),
    ("relu6", layer("LSTM", activation="relu6")),
    ("softplus", layer("GRU", activation="softplus")),
    ("selu", layer("LSTM", activation="selu")),
    ("gates of relu", own(tf.nn.relu)),
    ("gates of elu", own(tf.nn.elu)),
    ("linear gates", own(tf.identity)),
    ("up to two", own(lambda x: tf.clip_by_value(x + 1, 0, 2))),
    ("moved tanh", own(tf.sigmoid, lambda x: tf.tanh(x) + 0.25)),
]


def operators(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        if node.op_type in ("LSTM", "GRU", "RNN"):
            yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from operators(attribute.g)


def activations(node: onnx.NodeProto) -> list[Any]:
    stored = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return [item for key in ("activations", "activation_alpha", "activation_beta") for item in stored.get(key, [])]


FAST = [
    *(("lstm", 6), ("gru", None), ("masked", 6), ("falling", 6), ("of two operators", 6), ("both kinds", None)),
    *(
        ("relu", 6),
        ("gru of relu", None),
        ("masked relu", 6),
        ("elu", 6),
        ("linear", 6),
        ("both directions of relu", None),
    ),
]


def variants() -> list[Any]:
    """Every row with a fixed and a free number of steps; most are left to ``make test-all``."""
    return [
        pytest.param(build, expected, steps, id=f"{name}, {steps}", marks=marks)
        for name, build, expected in KNOWN
        for steps in (6, None)
        for marks in ([] if (name, steps) in FAST else [pytest.mark.slow],)
    ]


@pytest.mark.parametrize(("build", "expected", "steps"), variants())
def test_known_activation(
    build: Layer, expected: list[Any], steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value and gradient, and the value alone, with the operator and without it; small and saturated sums."""
    model, plain = with_and_without(network(build, steps), monkeypatch)
    nodes = list(operators(model.graph))
    assert nodes
    for node in nodes:
        names = [item for item in expected if isinstance(item, bytes)]
        assert activations(node)[: len(names)] == names
        np.testing.assert_allclose(activations(node)[len(names) :], expected[len(names) :], rtol=1e-7)
    alone = onnx.load_from_string(cut(model.SerializeToString(), {"y"}, "model"))
    for x in inputs(steps):
        for size in (1, 8) if x.shape[:2] == (7, 6) else (1,):
            numbers = run_all(plain, size * x)
            assert_same(run_all(model, size * x), numbers)
            assert_same(run_all(alone, size * x), numbers[:1])


@pytest.mark.parametrize("build", [row[1] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_unknown_activation(build: Layer) -> None:
    assert found(exported(network(build, 6), "gradient(y, x)")) == {}


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_float64_keeps_the_loop(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = with_and_without(network(layer(kind, **HARD), 6, "float64"), monkeypatch)
    assert found(model) == {}
    for x in inputs(6, "float64"):
        assert_same(run_all(model, x), run_all(plain, x), 1e-14)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_kinks(kind: str) -> None:
    """Sums of gates that are exactly -3 and 3, or next to them: values and slopes are those of TensorFlow."""
    keras.utils.set_random_seed(1)
    x = keras.Input((5, 1), name="x")
    hidden = getattr(L, kind)(4, kernel_initializer="ones", recurrent_initializer="zeros", unroll=False, **HARD)(x)
    net = keras.Model(x, L.Dense(1, name="y")(hidden))
    model = exported(net, "gradient(y, x)")
    assert sum(found(model).values()) == 1
    ends = np.array([-3, 3, 3, -3, 2, -2], np.float32)
    near = [np.nextafter(ends, np.float32(0)), ends, np.nextafter(2 * ends, ends)]
    data = np.stack([np.resize(np.roll(numbers, k), (5, 1)) for numbers in near for k in range(4)])
    given = tf.constant(data)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = net(given)
    y, slope = run_all(model, data)
    np.testing.assert_allclose(y, value.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(slope, tape.gradient(value, given).numpy(), rtol=0, atol=1e-6)
    assert (slope == 0).any()


@pytest.mark.parametrize(("options", "most"), [(HARD, 512), ({"activation": "elu"}, 128)])
def test_loop_for_many_rows(options: dict[str, Any], most: int) -> None:
    """The kernels call a function for each number of such an activation: the value alone has a limit, too."""
    model = exported(network(layer("LSTM", **options), 6), "gradient(y, x)")
    alone = onnx.load_from_string(cut(model.SerializeToString(), {"y"}, "model"))
    whether = session_of(conditions(alone))
    taken = [bool(whether.run(None, {"x": np.ones((rows, 6, 3), np.float32)})[0]) for rows in (1, most, most + 1)]
    assert taken == [True, True, False]


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("options", [HARD, {"activation": "relu"}, {"activation": "elu"}], ids=["hard", "relu", "elu"])
def test_what_the_operator_would_lose(kind: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN, an infinity and sums that overflow: the loop computes them."""
    model, plain = with_and_without(network(layer(kind, **options), 6), monkeypatch)
    for number in (np.nan, np.inf, -np.inf, 3e38, 1e20, 1e14):
        x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
        x[0, 2, 1] = number
        assert_same(run_all(model, x), run_all(plain, x))


def growing(kind: str) -> Callable[..., Any]:
    """Recurrent weights with which states grow about ten thousand times in each step, and no sum cancels."""
    signs = [-1, 1, 1] if kind == "GRU" else [1, 1, 1, 1]  # the update gate of a GRU would keep the state
    return lambda shape, dtype: np.broadcast_to(np.repeat(3e3 * np.array(signs), 4), shape).astype(dtype)


GROWING = [(kind, activation) for activation in ("relu", "linear", "leaky_relu") for kind in ("LSTM", "GRU")]


@pytest.mark.parametrize(("kind", "activation"), in_turn("states that grow", GROWING, 3))
def test_states_that_grow(kind: str, activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs of usual size whose states grow up to infinities and NaNs: the numbers are those of the loop."""
    build = layer(kind, activation=activation, kernel_initializer="ones", recurrent_initializer=growing(kind))
    model, plain = with_and_without(network(build, None), monkeypatch)
    assert sum(found(model).values()) == 1
    kinds = set()
    for steps in range(1, 15):
        x = np.random.default_rng(steps).uniform(0.1, 1, (2, steps, 3)).astype(np.float32)
        expected = run_all(plain, x)
        kinds.add("not finite" if not np.isfinite(expected[0]).all() else bool(np.abs(expected[0]).max() > 1e16))
        assert_same(run_all(model, x), expected)
        assert all(
            np.array_equal(np.isfinite(a), np.isfinite(b)) for a, b in zip(run_all(model, x), expected, strict=True)
        )
    assert kinds == {"not finite", True, False}
