"""Masks of backward loops as factors: operators of a step, and numbers with and without, finite or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from pullback_export.optimize import pipeline

from tests.exporter.optimize.test_counts import exported
from tests.exporter.optimize.test_recurrent import Layer, assert_same, both, layer, masked, masks, network, session_of
from tests.rotation import in_turn

L = keras.layers

LSTM = {"Mul": 4, "Add": 1, "Concat": 1, "Gemm": 1}
LSTM_OF_SEQUENCES = {**LSTM, "Add": 2}
GRU = {"Concat": 1, "Mul": 2, "Gemm": 1}
GRU_OF_SEQUENCES = {**GRU, "Add": 1}
SIMPLE = {"Mul": 2, "Gemm": 1}

# Name, layer, and the operators in a backward step; a mask alone costs one operator more, of an LSTM or a simple cell.
STEPS: list[tuple[str, Layer, list[dict[str, int]]]] = [
    ("lstm", masked(layer("LSTM")), [LSTM]),
    ("lstm of sequences", masked(layer("LSTM", return_sequences=True)), [LSTM_OF_SEQUENCES]),
    ("lstm backwards", masked(layer("LSTM", go_backwards=True, return_sequences=True)), [LSTM_OF_SEQUENCES]),
    ("gru", masked(layer("GRU")), [GRU]),
    ("gru of sequences", masked(layer("GRU", return_sequences=True)), [GRU_OF_SEQUENCES]),
    ("simple", masked(layer("SimpleRNN")), [SIMPLE]),
    ("both directions", masked(both("LSTM")), [LSTM] * 2),
]
NAMES = [row[0] for row in STEPS]


def backward_steps(graph: onnx.GraphProto) -> Iterator[Counter[str]]:
    """The operators in a step of each loop that stands in the graph itself, where forward loops are in branches."""
    for node in graph.node:
        if node.op_type == "Scan":
            (body,) = (item.g for item in node.attribute if item.name == "body")
            yield Counter(item.op_type for item in body.node)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    loops = tuple(row for row in pipeline.LOOPS if row.name not in names)
    monkeypatch.setattr(pipeline, "LOOPS", loops)


@pytest.mark.parametrize(("build", "expected"), [row[1:] for row in STEPS], ids=NAMES)
def test_operators_of_a_step(build: Layer, expected: list[dict[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pairs")
    model = exported(network(build, 6), "gradient(y, x)")
    steps = list(backward_steps(model.graph))[-len(expected) :]
    assert [dict(found) for found in steps] == expected
    without(monkeypatch, "masked_steps")
    plain = list(backward_steps(exported(network(build, 6), "gradient(y, x)").graph))[-len(expected) :]
    assert all(sum(a.values()) < sum(b.values()) for a, b in zip(steps, plain, strict=True))


def variants() -> Iterator[Any]:
    """In float64, where forward loops stay what they are; float32 is in ``test_recurrent.test_masks``."""
    for name, build, _ in STEPS:
        for steps in (6, None):
            fast = (name, steps) in (("lstm of sequences", 6), ("gru", None), ("simple", 6))
            yield pytest.param(build, steps, id=f"{name}, {steps}", marks=[] if fast else [pytest.mark.slow])


@pytest.mark.parametrize(("build", "steps"), [*variants()])
def test_float64(build: Layer, steps: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = session_of(exported(network(build, steps, "float64"), "gradient(y, x)"))
    without(monkeypatch, "masked_steps")
    plain = session_of(exported(network(build, steps, "float64"), "gradient(y, x)"))
    for rows in (0, 1, 2, 7):
        for length in (6,) if steps else (0, 1, 6, 11):
            for mask in masks(rows, length):
                x = np.random.default_rng(rows).normal(size=(*mask.shape, 3))
                x[~mask] = 0
                assert_same(model.run(None, {"x": x}), plain.run(None, {"x": x}), 1e-14)


@keras.saving.register_keras_serializable("pullback_masked_steps")
class Started(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A layer with a mask and initial states that are inputs; its states at all steps and its last ones."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.layer = layer(kind, return_sequences=True, return_state=True, **options)("float32")
        self.states = 2 if kind == "LSTM" else 1

    def build(self, shape: Any) -> None:
        self.layer.build((None, 6, 3))

    def call(self, x: Any) -> Any:
        start = [x[:, k, :1] * tf.ones((1, 4)) for k in range(self.states)]
        counts = x[:, :, 2] < 1
        whole, *last = self.layer(x, initial_state=start, mask=counts)
        return tf.concat([whole[:, 2], whole[:, 4], *last], axis=-1)


def started(kind: str, **options: Any) -> Any:
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 3), name="x")
    return keras.Model(x, L.Dense(1, name="y")(Started(kind, **options)(x)))


STARTED: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {}),
    ("LSTM", {"zero_output_for_mask": True}),
    ("LSTM", {"go_backwards": True}),
    ("GRU", {"zero_output_for_mask": True}),
    ("SimpleRNN", {}),
]


@pytest.mark.parametrize(("kind", "options"), in_turn("initial states of masked layers", STARTED, 3))
def test_numbers_are_those_of_tensorflow(kind: str, options: dict[str, Any]) -> None:
    """Initial states of the user, and steps that do not count whose inputs are large, infinite or no numbers."""
    net = started(kind, **options)
    session = session_of(exported(net, "gradient(y, x)"))
    for rows in (1, 2, 7):
        for mask in masks(rows, 6):
            for number in (0.0, 1e3, 3e38, np.inf, np.nan):
                x = np.random.default_rng(rows).uniform(-1, 1, size=(rows, 6, 3)).astype(np.float32)
                x[~mask, 2] = 2
                x[:1, :, 1] = np.where(mask[:1], x[:1, :, 1], np.float32(number))
                given = tf.constant(x)
                with tf.GradientTape() as tape:
                    tape.watch(given)
                    value = net(given)
                assert_same(session.run(None, {"x": x}), [value.numpy(), tape.gradient(value, given).numpy()])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_cotangents_that_are_not_finite(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They pass over steps that do not count, whose inputs have a gradient of zero all the same."""
    net = started(kind)
    model = session_of(exported(net, "vjp(y, x)"))
    without(monkeypatch, "masked_steps")
    plain = session_of(exported(net, "vjp(y, x)"))
    zeros = 0
    for mask in masks(3, 6):
        x = np.random.default_rng(0).uniform(-1, 1, size=(3, 6, 3)).astype(np.float32)
        x[~mask, 2] = 2
        for number in (np.inf, np.nan, 3e38):
            feeds = {"x": x, "adj_y": np.array([[number], [1], [number]], np.float32)}
            expected = plain.run(None, feeds)
            zeros += sum((item[0][~mask[0]][:, 2] == 0).sum() for item in expected if item.shape == x.shape)
            assert_same(model.run(None, feeds), expected)
    assert zeros
