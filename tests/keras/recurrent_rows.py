"""Rows for the recurrent layers and their cells: every option, masks, initial states, free time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tests.keras.layer_row import LayerRow
from tests.lowering.case import Arg

STEPS = (5, 3)
BOTH = (0, 1)


class Leaky(keras.layers.Layer):
    """A cell of one's own: ``h' = 0.9 h + tanh(W x + U h)``."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = self.state_size = self.output_size = units

    def build(self, input_shape: Sequence[int]) -> None:
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

    def call(self, inputs: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        state = 0.9 * states[0] + keras.ops.tanh(inputs @ self.kernel + states[0] @ self.recurrent)
        return state, [state]


def _mask(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.uniform(size=shape) > 0.3


def _zero_steps(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    values = rng.normal(size=shape)
    values[:, 1::2] = 0
    return values


MASK = Arg((2, 5), _mask, dtype="bool", free=BOTH)
ZEROS = Arg((2, 5, 3), _zero_steps, free=BOTH)


def _masked(layer: Any, inputs: Sequence[Any]) -> Any:
    return layer(inputs[0], mask=inputs[1])


def _after_masking(layer: Any, inputs: Sequence[Any]) -> Any:
    return layer(keras.layers.Masking(dtype=inputs[0].dtype.name)(inputs[0]))


def _from_state(layer: Any, inputs: Sequence[Any]) -> Any:
    return layer(inputs[0], initial_state=list(inputs[1:]))


def _cell(layer: Any, inputs: Sequence[Any]) -> Any:
    return layer(inputs[0], list(inputs[1:]))


def _inner(kind: str, **options: Any) -> Any:
    return lambda dtype: getattr(keras.layers, kind)(3, dtype=dtype, **options)


def _stacked(dtype: str) -> Any:
    """Two cells; the list form of Keras makes the stack in float32 whatever its cells are."""
    cells = [keras.layers.GRUCell(3, dtype=dtype), keras.layers.LSTMCell(2, dtype=dtype)]
    return keras.layers.StackedRNNCells(cells, dtype=dtype)


def _rows_of(layer: str, states: int) -> list[LayerRow]:
    """What all three layers share."""
    state = tuple((4,) for _ in range(states))
    plain: dict[str, Any] = {"units": 4}
    return [
        LayerRow(layer, (STEPS,), plain, free=BOTH),
        LayerRow(layer, (STEPS,), plain | {"return_sequences": True}, free=BOTH),
        LayerRow(layer, (STEPS,), plain | {"return_state": True, "return_sequences": True}, free=BOTH),
        LayerRow(layer, (STEPS,), plain | {"go_backwards": True, "return_sequences": True}, free=BOTH),
        LayerRow(layer, (STEPS,), plain | {"unroll": True}),
        LayerRow(layer, (STEPS,), plain | {"use_bias": False, "activation": "sigmoid"}, free=BOTH),
        LayerRow(layer, (STEPS,), plain | {"dropout": 0.3, "recurrent_dropout": 0.2}, free=BOTH),
        LayerRow(layer, (STEPS, MASK), plain, free=BOTH, call=_masked),
        LayerRow(layer, (STEPS, MASK), plain | {"return_sequences": True, "zero_output_for_mask": True}, call=_masked),
        LayerRow(layer, (ZEROS,), plain | {"return_sequences": True}, call=_after_masking),
        LayerRow(layer, (STEPS, *state), plain, free=(0,), call=_from_state),
    ]


ROWS: list[LayerRow] = [
    *_rows_of("LSTM", 2),
    *_rows_of("GRU", 1),
    *_rows_of("SimpleRNN", 1),
    LayerRow("GRU", (STEPS,), {"units": 4, "reset_after": False}, free=BOTH),
    LayerRow("GRU", (STEPS,), {"units": 4, "reset_after": False, "unroll": True}),
    LayerRow("RNN", (STEPS,), {"cell": _inner("LSTMCell")}, free=BOTH),
    LayerRow("RNN", (STEPS,), {"cell": lambda dtype: Leaky(3, dtype=dtype), "return_sequences": True}, free=BOTH),
    LayerRow(
        "RNN",
        (STEPS,),
        {"cell": _stacked},
        free=BOTH,
    ),
    *(
        LayerRow(
            "Bidirectional",
            (STEPS,),
            {"layer": _inner("LSTM", return_sequences=True), "merge_mode": mode},
            free=BOTH,
        )
        for mode in ("concat", "sum", "mul", "ave")
    ),
    LayerRow("Bidirectional", (STEPS, MASK), {"layer": _inner("GRU")}, free=BOTH, call=_masked),
    LayerRow("TimeDistributed", (STEPS,), {"layer": _inner("Dense", activation="tanh")}),
    LayerRow("LSTMCell", ((3,), (4,), (4,)), {"units": 4}, call=_cell),
    LayerRow("GRUCell", ((3,), (4,)), {"units": 4}, call=_cell),
    LayerRow("SimpleRNNCell", ((3,), (4,)), {"units": 4}, call=_cell),
    LayerRow(
        "StackedRNNCells",
        ((3,), (3,), (3,)),
        {
            "cells": lambda dtype: [
                keras.layers.SimpleRNNCell(3, dtype=dtype),
                keras.layers.SimpleRNNCell(3, dtype=dtype),
            ]
        },
        call=lambda layer, inputs: layer(inputs[0], [[inputs[1]], [inputs[2]]]),
    ),
    LayerRow("ConvLSTM1D", ((3, 6, 2),), {"filters": 2, "kernel_size": 3, "padding": "same"}),
    LayerRow("ConvLSTM2D", ((3, 5, 4, 2),), {"filters": 2, "kernel_size": 3, "return_sequences": True}),
    LayerRow("ConvLSTM2D", ((3, 4, 4, 2),), {"filters": 2, "kernel_size": (3, 1), "strides": 2, "padding": "same"}),
    LayerRow("ConvLSTM3D", ((2, 3, 4, 3, 1),), {"filters": 2, "kernel_size": 2, "padding": "same"}, order=1),
]
