"""Loops side by side as one for few rows: where they are joined, and that the numbers are those of two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from pullback_export.optimize import pipeline

from tests.exporter.optimize.test_counts import exported
from tests.exporter.optimize.test_recurrent import Layer, assert_same, both, layer, masked, masks, network, session_of
from tests.rotation import in_turn

L = keras.layers

LSTM = {"Mul": 3, "Add": 1, "Concat": 1, "Gemm": 1}
MASKED_LSTM = {**LSTM, "Mul": 4}
GRU = {"Add": 1, "Concat": 1, "Mul": 2, "Gemm": 1}


def stacked(dtype: str) -> Any:
    """One layer in both directions after the other."""
    layers = [both("LSTM", return_sequences=True)(dtype), both("LSTM")(dtype)]
    return keras.Sequential([L.Masking(dtype=dtype), *layers])


def different(dtype: str) -> Any:
    """Another layer backwards: its steps are others."""
    forward, backward = layer("LSTM")(dtype), layer("GRU", go_backwards=True)(dtype)
    return L.Bidirectional(forward, backward_layer=backward, dtype=dtype)


# Name, layer, and the operators in each step that is one of two loops.
ROWS: list[tuple[str, Layer, list[dict[str, int]]]] = [
    ("lstm", both("LSTM"), [LSTM]),
    ("gru of sequences", both("GRU", return_sequences=True), [GRU]),
    ("simple", both("SimpleRNN"), [{"Mul": 1, "Gemm": 1}]),
    ("masked lstm", masked(both("LSTM")), [MASKED_LSTM]),
    ("stacked", stacked, [MASKED_LSTM, {**MASKED_LSTM, "Add": 2}]),
    ("one direction", layer("LSTM"), []),
    ("different", different, []),
]


def joined(model: onnx.ModelProto) -> Iterator[dict[str, int]]:
    """The operators in a step of loops that stand in the place of two."""
    for node in model.graph.node:
        branches = {item.name: item.g for item in node.attribute if item.type == onnx.AttributeProto.GRAPH}
        if node.op_type == "If" and [item.op_type for item in branches["else_branch"].node].count("Scan") == 2:
            (scan,) = (item for item in branches["then_branch"].node if item.op_type == "Scan")
            (body,) = (item.g for item in scan.attribute if item.name == "body")
            yield dict(Counter(item.op_type for item in body.node))


def without_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LOOPS", tuple(row for row in pipeline.LOOPS if row.name != "pairs"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("build", "expected"), in_turn("pairs", [pytest.param(*row[1:], id=row[0]) for row in ROWS], 3)
)
def test_one_loop_for_few_rows(
    build: Layer, expected: list[dict[str, int]], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported(network(build, 6, dtype), "gradient(y, x)")
    loops = list(joined(model))
    assert loops[-len(expected) :] == expected if expected else not loops
    without_pairs(monkeypatch)
    plain = exported(network(build, 6, dtype), "gradient(y, x)")
    assert not list(joined(plain))
    sessions = [session_of(item) for item in (model, plain)]
    for rows in (0, 1, 2, 7):
        for mask in masks(rows, 6):
            x = np.random.default_rng(rows).normal(size=(*mask.shape, 3)).astype(dtype)
            x[~mask] = 0
            mine, theirs = (session.run(None, {"x": x}) for session in sessions)
            assert_same(mine, theirs, 2e-6 if dtype == "float32" else 1e-14)


def test_free_steps_keep_two_loops() -> None:
    assert not list(joined(exported(network(both("LSTM"), None), "gradient(y, x)")))


def test_wide_states_keep_two_loops() -> None:
    """Of many columns the zeros between the weights take longer than half of the operators."""

    def build(dtype: str) -> Any:
        return L.Bidirectional(L.LSTM(65, dtype=dtype), dtype=dtype)

    assert not list(joined(exported(network(build, 6), "gradient(y, x)")))


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38])
def test_numbers_that_are_not_finite(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one direction they do not reach the other one: zeros between the weights are not zeros times those."""
    build = both("LSTM", return_sequences=True)
    model = session_of(exported(network(build, 6), "gradient(y, x)"))
    without_pairs(monkeypatch)
    plain = session_of(exported(network(build, 6), "gradient(y, x)"))
    for step in range(6):
        x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
        x[0, step, 1] = number
        assert_same(model.run(None, {"x": x}), plain.run(None, {"x": x}))
