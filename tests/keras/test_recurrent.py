"""Recurrent layers: every option of the table, and one graph for every number of steps."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import rotation
from tests.keras.layer_row import LayerRow
from tests.keras.layer_rows import RECURRENT
from tests.keras.recurrent_rows import ROWS
from tests.keras.test_layers import check_layer, rows_and_dtypes
from tests.lowering.case import TOLERANCE, Arg, assert_close, convert, run_onnx

# A loop differentiated twice takes TensorFlow seconds to trace. Of four commits in a row one does so in ``make test``;
# the others differentiate the layer once.
LATER = {row.title for row in ROWS if row.order > 1 and rotation.chosen(f"{row.title}, twice", 4)}


def rows_of_order(order: int) -> list[Any]:
    """Those whose turn it is to be differentiated as often as they can be, and those that are differentiated once.

    Of both, ``make test`` runs a third.
    """
    found = []
    for parameters in rows_and_dtypes(ROWS):
        row, dtype = parameters.values
        if order == 1 and row.title in LATER:
            once = dataclasses.replace(row, order=1)
            found.append(pytest.param(once, dtype, id=parameters.id, marks=parameters.marks))
        elif order == 2:
            marks = [pytest.mark.slow] if row.title in LATER else parameters.marks
            found.append(pytest.param(row, dtype, id=parameters.id, marks=marks))
    return rotation.in_turn(f"recurrent layers, {order}", found, 3)


@pytest.mark.parametrize(("row", "dtype"), rows_of_order(2))
def test_layer_agrees_with_tensorflow(row: LayerRow, dtype: str) -> None:
    check_layer(row, dtype)


@pytest.mark.parametrize(("row", "dtype"), rows_of_order(1))
def test_layer_agrees_once_differentiated(row: LayerRow, dtype: str) -> None:
    check_layer(row, dtype)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_one_graph_takes_any_number_of_steps(kind: str) -> None:
    keras.utils.set_random_seed(2)
    layer = getattr(keras.layers, kind)(4)
    layer.build((None, None, 3))

    def evaluate(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return [y, tape.gradient(y, x)]

    concrete = tf.function(evaluate, autograph=False).get_concrete_function(tf.TensorSpec([None, None, 3], tf.float32))
    model = convert(concrete, (Arg((2, 5, 3), free=(0, 1)),), free=True)
    for rows, steps in [(1, 1), (2, 2), (7, 17), (1, 200)]:
        x = np.random.default_rng(steps).normal(size=(rows, steps, 3)).astype(np.float32)
        expected = [item.numpy() for item in concrete(tf.constant(x))]
        for index, (mine, theirs) in enumerate(zip(run_onnx(model, [x]), expected, strict=True)):
            assert_close(mine, theirs, TOLERANCE["float32"], f"{kind} {rows} x {steps} output {index}")


def test_every_recurrent_layer_has_a_row() -> None:
    assert sorted(RECURRENT - {row.layer for row in ROWS}) == []
