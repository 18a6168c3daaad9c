"""What is left to compute in each step of a recurrent layer, and that it is the same as without the rewrites."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from pullback_export.optimize import pipeline

from tests.exporter.optimize.test_counts import exported

L = keras.layers


@keras.saving.register_keras_serializable("pullback_scan_steps")
class Projected(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A cell whose output is no state: no step reads the last output, and no other state ends as it does."""

    state_size = output_size = 4

    def build(self, shape: Any) -> None:
        self.weights_in = self.add_weight(shape=(shape[-1], 4), name="in")
        self.weights_out = self.add_weight(shape=(4, 4), name="out")

    def call(self, x: Any, states: Any) -> Any:
        state = keras.ops.tanh(x @ self.weights_in + states[0] @ self.weights_out)
        return keras.ops.sin(state), [state]


@keras.saving.register_keras_serializable("pullback_scan_steps")
class Scaled(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A cell that scales its state by constants before the product: a factor that belongs into the weights."""

    state_size = output_size = 4

    def build(self, shape: Any) -> None:
        self.weights_in = self.add_weight(shape=(shape[-1], 4), name="in")
        self.weights_out = self.add_weight(shape=(4, 4), name="out")

    def call(self, x: Any, states: Any) -> Any:
        scaled = states[0] * np.array([0.3, 0.7, 1.1, 1.9], np.float32)
        state = keras.ops.tanh(x @ self.weights_in + scaled @ self.weights_out)
        return state, [state]


LSTM = {"Gemm": 1, "Split": 1, "Sigmoid": 3, "Tanh": 2, "Mul": 3, "Add": 1}
CELL = {"Mul": 1, "Add": 1}
LSTM_BACK = {"Mul": 3, "Add": 1, "Concat": 1, "Gemm": 1}
LSTM_OF_SEQUENCES = {**LSTM_BACK, "Add": 2}
GRU = {"MatMul": 1, "Slice": 3, "Add": 4, "Sigmoid": 2, "Mul": 3, "Sub": 1, "Tanh": 1, "Identity": 1}
GRU_BACK = {"Concat": 1, "Mul": 2, "Gemm": 1}
PROJECTED = {"Gemm": 1, "Tanh": 1, "Sin": 1, "Identity": 1}
PROJECTED_BACK = {"Mul": 2, "Add": 1, "Gemm": 1, "Identity": 1}

# A layer, and the operators in the steps of its loops, forward and backward. Between the two stands the loop that sums
# the cells of an LSTM for few rows, of which its operator gives the hidden states only.
STEPS: list[tuple[str, Callable[[], Any], list[dict[str, int]]]] = [
    ("lstm", lambda: L.LSTM(4), [LSTM, CELL, LSTM_BACK]),
    ("lstm backwards", lambda: L.LSTM(4, go_backwards=True), [LSTM, CELL, LSTM_BACK]),
    (
        "lstm of sequences",
        lambda: L.LSTM(4, return_sequences=True),
        [{**LSTM, "Identity": 1}, CELL, {**LSTM_BACK, "Add": 2}],
    ),
    ("gru", lambda: L.GRU(4), [GRU, GRU_BACK]),
    ("projected", lambda: L.RNN(Projected()), [PROJECTED, PROJECTED_BACK]),
    ("simple", lambda: L.SimpleRNN(4), [{"Gemm": 1, "Tanh": 1, "Identity": 1}, {"Mul": 1, "Gemm": 1}]),
]


def network(layer: Callable[[], Any]) -> Any:
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 3), name="x")
    return keras.Model(x, L.Dense(1)(L.Flatten()(layer()(x))))


def steps(graph: onnx.GraphProto) -> Iterator[Counter[str]]:
    """The operators in a step of each loop, those in branches too."""
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Scan" and attribute.name == "body":
                yield Counter(item.op_type for item in attribute.g.node)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from steps(attribute.g)


@pytest.mark.parametrize(("layer", "expected"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_operators_of_a_step(
    layer: Callable[[], Any], expected: list[dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported(network(layer), "gradient(y, x)")
    assert [dict(found) for found in steps(model.graph)] == expected
    monkeypatch.setattr(pipeline, "LOOPS", ())
    monkeypatch.setattr(pipeline, "FINAL", ())  # which see the steps too, and join sums and products there
    plain = exported(network(layer), "gradient(y, x)")
    before, after = (sum(sum(found.values()) for found in steps(item.graph)) for item in (plain, model))
    assert before > after
    for rows in (1, 2, 7):
        x = np.random.default_rng(rows).normal(size=(rows, 6, 3)).astype(np.float32)
        for actual, reference in zip(run_all(model, x), run_all(plain, x), strict=True):
            np.testing.assert_allclose(actual, reference, rtol=0, atol=1e-6 * np.abs(reference).max())


def run_all(model: onnx.ModelProto, x: Any) -> list[Any]:
    return list(opened(model.SerializeToString(deterministic=True)).run(None, {"x": x}))


@functools.lru_cache(maxsize=4)
def opened(content: bytes) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def test_final_rules_see_the_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factors of the state go into the weights, which are scaled once, outside of the loop."""
    model = exported(network(lambda: L.RNN(Scaled())), "gradient(y, x)")
    monkeypatch.setattr(pipeline, "FINAL", ())
    plain = exported(network(lambda: L.RNN(Scaled())), "gradient(y, x)")
    (after, _), (before, _) = (list(steps(item.graph)) for item in (model, plain))
    assert (before["Mul"], after["Mul"]) == (1, 0)
    for rows in (1, 2, 7):
        x = np.random.default_rng(rows).normal(size=(rows, 6, 3)).astype(np.float32)
        for actual, reference in zip(run_all(model, x), run_all(plain, x), strict=True):
            np.testing.assert_allclose(actual, reference, rtol=0, atol=1e-6 * np.abs(reference).max())
