"""Recurrent networks against the best forward pass: ``python -m tests.benchmarks.recurrent``.

The floor is the fastest of our value alone, tf2onnx's graph of the same model and one by hand with ONNX's ``LSTM``,
``GRU`` or ``RNN`` operator, as in the tables of ``make bench``, which has torch.onnx's besides. All have one thread and
are timed in turn with value and gradient, in one process: each number is the median of the ratios of neighbours, which
a busy machine disturbs least. Times are processor time. ``before``: the same model without the rewrites of
:mod:`pullback_export.optimize.recurrent`. Arguments, if any, are parts of the names of the networks to be measured.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
import numpy as np
import onnxruntime
from pullback.storage.onnx_cut import cut
from pullback_export.optimize import pipeline

from tests.benchmarks.by_hand import by_hand
from tests.benchmarks.floors import of_tf2onnx
from tests.exporter.optimize.test_counts import exported

_RECURRENT = ("fused", "masked_steps", "linear_steps", "pairs")


@dataclasses.dataclass(frozen=True)
class Network:
    """One recurrent layer and a column on its last state."""

    kind: str
    units: int
    steps: int
    features: int
    hard: bool = False
    """Whether its gates are hard sigmoids."""
    activation: str = "tanh"
    """Of what the gates scale, as Keras spells it."""

    def __str__(self) -> str:
        names = [", hard"] * self.hard + [f", {self.activation}"] * (self.activation != "tanh")
        return f"{self.kind}({self.units}){''.join(names)}, {self.steps} x {self.features}"


NETWORKS = (
    Network("LSTM", 64, 200, 16),
    Network("LSTM", 48, 120, 12),
    Network("GRU", 48, 120, 12),
    Network("SimpleRNN", 48, 120, 12),
    Network("LSTM", 64, 200, 16, hard=True),
    Network("GRU", 64, 200, 16, hard=True),
    Network("LSTM", 64, 200, 16, activation="relu"),
    Network("LSTM", 64, 200, 16, activation="elu"),
    Network("GRU", 64, 200, 16, activation="relu"),
)
BATCHES = (1, 32)


def model(network: Network) -> Any:
    keras.utils.set_random_seed(0)
    x = keras.Input((network.steps, network.features), name="x")
    options = {"activation": network.activation} | ({"recurrent_activation": "hard_sigmoid"} if network.hard else {})
    hidden = getattr(keras.layers, network.kind)(network.units, **options)(x)
    return keras.Model(x, keras.layers.Dense(1, name="y")(hidden))


def runners(network: Network) -> dict[str, Callable[[Any], Any]]:
    net = model(network)
    after = exported(net, "gradient(y, x)").SerializeToString()
    loops = tuple(row for row in pipeline.LOOPS if row.name not in _RECURRENT)
    with mock.patch.object(pipeline, "LOOPS", loops):
        before = exported(net, "gradient(y, x)").SerializeToString()
    contents = {
        "by hand": by_hand(net),
        "tf2onnx": of_tf2onnx(net, (network.steps, network.features)),
        "value": cut(after, {"y"}, "value"),
        "value and gradient": after,
        "value before": cut(before, {"y"}, "value"),
        "value and gradient before": before,
    }
    return {name: session(content) for name, content in contents.items()}


def session(content: bytes) -> Callable[[Any], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    opened = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda x: opened.run(None, {"x": x})


def seconds(run: Callable[[Any], Any], x: Any) -> float:
    start = time.process_time()
    for _ in range(2):
        run(x)
    return (time.process_time() - start) / 2


def measure(network: Network, batch: int, rounds: int) -> Iterator[tuple[str, float, float]]:
    """Name, least microseconds, and the median of the ratios to the floor of the same round."""
    chosen = runners(network)
    x = np.random.default_rng(0).normal(size=(batch, network.steps, network.features)).astype(np.float32)
    for run in chosen.values():
        run(x)
    times = {name: np.empty(rounds) for name in chosen}
    for turn in range(rounds):
        for name, run in chosen.items():
            times[name][turn] = seconds(run, x)
    floor = min((times["by hand"], times["tf2onnx"], times["value"]), key=np.median)
    for name, taken in times.items():
        yield name, float(taken.min()) * 1e6, float(np.median(taken / floor))


def main() -> None:
    chosen = [network for network in NETWORKS if not sys.argv[1:] or any(item in str(network) for item in sys.argv[1:])]
    for network in chosen:
        for batch in BATCHES:
            for name, least, ratio in measure(network, batch, 60 if batch == 1 else 15):
                print(f"{network!s:26} batch {batch:3} {name:26} {least:8.0f} us {ratio:6.2f} x", flush=True)


if __name__ == "__main__":
    main()
