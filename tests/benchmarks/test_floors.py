"""A floor computes the value of the same network: a graph by hand, and tf2onnx's."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest

from tests.benchmarks import floors, work
from tests.benchmarks.by_hand import by_hand
from tests.benchmarks.failures import Refused

L = keras.layers


def cell(kind: str, *, both: bool = False, **options: str) -> Any:
    x = keras.Input((6, 3), name="x")
    layer = getattr(L, kind)(4, **options)
    return keras.Model(x, L.Dense(1)((L.Bidirectional(layer) if both else layer)(x)))


NETWORKS = {
    "relu": (work.mlp(3, 5, 4), (3,)),
    "tanh": (work.mlp(3, 5, outputs=2, activation="tanh"), (3,)),
    "LSTM": (work.recurrent("LSTM", 4, 6, 3), (6, 3)),
    "GRU": (work.recurrent("GRU", 4, 6, 3), (6, 3)),
    "SimpleRNN": (work.recurrent("SimpleRNN", 4, 6, 3), (6, 3)),
    "hard LSTM": (lambda: cell("LSTM", recurrent_activation="hard_sigmoid"), (6, 3)),
    "hard GRU, both directions": (lambda: cell("GRU", both=True, recurrent_activation="hard_sigmoid"), (6, 3)),
    "relu LSTM": (lambda: cell("LSTM", activation="relu"), (6, 3)),
    "elu GRU": (lambda: cell("GRU", activation="elu"), (6, 3)),
    "both directions, masked": (work.bidirectional(4, 6, 3), (6, 3)),
    "transformer": (work.transformer(2, 8, 5, 2), (5, 8)),
}


def randomized(build: Any) -> Any:
    """Weights that are nowhere zero, as biases would be."""
    model, rng = build(), np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) / 2 for weight in model.get_weights()])
    return model


def padded(shape: tuple[int, ...], batch: int) -> Any:
    """Numbers; of sequences the last rows are zeros, as those are that a mask leaves out."""
    x = np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)
    for place, row in enumerate(x if len(shape) == 2 else ()):
        row[len(row) - place % 3 :] = 0
    return x


@pytest.mark.parametrize("name", NETWORKS)
def test_by_hand_is_the_same_network(name: str, tmp_path: pathlib.Path) -> None:
    build, shape = NETWORKS[name]
    model = randomized(build)
    (tmp_path / "by_hand.onnx").write_bytes(by_hand(model))
    run = floors.open_floor("by_hand")(work.row("bowl"), tmp_path, 1)
    for batch in (1, 2, 7):
        x = padded(shape, batch)
        np.testing.assert_allclose(run(x)[0], model(x), rtol=1e-4, atol=1e-5)


def test_a_layer_that_no_hand_wrote_is_refused() -> None:
    x = keras.Input((4, 4, 3))
    with pytest.raises(Refused, match="no graph by hand for Conv2D"):
        by_hand(keras.Model(x, L.Conv2D(2, 3)(x)))


def test_tf2onnx_is_the_same_network(tmp_path: pathlib.Path) -> None:
    model = randomized(work.recurrent("LSTM", 4, 6, 3))
    (tmp_path / "tf2onnx.onnx").write_bytes(floors.of_tf2onnx(model, (6, 3)))
    x = padded((6, 3), 2)
    found = floors.open_floor("tf2onnx")(work.row("bowl"), tmp_path, 1)(x)[0]
    np.testing.assert_allclose(found, model(x), rtol=1e-4, atol=1e-5)


def test_a_graph_that_is_missing_is_made_in_a_process_of_its_own(tmp_path: pathlib.Path) -> None:
    keras.utils.set_random_seed(0)
    model = work.mlp(3, 4)()
    model.save(tmp_path / "model.keras")
    opened = floors.open_floor("by_hand")
    x = padded((3,), 2)
    np.testing.assert_allclose(opened(work.row("bowl"), tmp_path, 1)(x)[0], model(x), rtol=1e-4, atol=1e-5)
    assert (tmp_path / "by_hand.onnx").exists()


def test_why_there_is_no_graph_is_told(tmp_path: pathlib.Path) -> None:
    x = keras.Input((4, 4, 3), name="x")
    keras.Model(x, L.Conv2D(2, 3)(x)).save(tmp_path / "model.keras")
    with pytest.raises(Refused, match="no graph by hand for Conv2D"):
        floors.open_floor("by_hand")(work.row("bowl"), tmp_path, 1)
