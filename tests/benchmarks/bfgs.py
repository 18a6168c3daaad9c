"""SciPy's BFGS with the same steps on a bundle, on a ``tf.function`` and on Keras under a ``GradientTape``.

Part of ``make overhead``. Each way has a process of its own, as it has in use: beside TensorFlow, ONNX Runtime and
SciPy take a third longer. They take turns, and the ratios are those of a turn.
"""

from __future__ import annotations

import multiprocessing
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pullback

from tests.benchmarks.measured import Measured
from tests.benchmarks.overhead_calls import Array, N

WAYS = ("bundle", "tf.function", "GradientTape")
NETWORKS = {32: "small", 64: "middle", 256: "network"}  # the bundles by the units of their hidden layers
CLOCKS = ("wall", "processor")
SEARCHES = 5  # of a turn: those of others leave the caches cold for the first


def surrogate(width: int) -> Any:
    """A network in Keras, of three hidden layers, the same each time."""
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((N,), name="x", dtype="float64")
    hidden = x
    for _ in range(3):
        hidden = keras.layers.Dense(width, activation="tanh", dtype="float64")(hidden)
    return keras.Model(x, keras.layers.Dense(1, name="y", dtype="float64")(hidden))


def measure(folder: pathlib.Path, width: int, rounds: int) -> dict[str, dict[str, Measured]]:
    """By clock and way, against the bundle; raises ``RuntimeError`` where the ways took different steps."""
    context = multiprocessing.get_context("spawn")
    pipes = {way: context.Pipe() for way in WAYS}
    workers = [context.Process(target=_searcher, args=(way, folder, width, pipes[way][1])) for way in WAYS]
    for worker in workers:
        worker.start()
    seconds: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
    counts: dict[str, int] = {}
    for number in range(rounds + 1):
        for way, (pipe, _) in pipes.items():
            pipe.send(True)
            *found, counts[way] = pipe.recv()
            if number:  # the first one compiles
                seconds[way].append(tuple(found))
    for pipe, _ in pipes.values():
        pipe.send(False)
    for worker in workers:
        worker.join()
    if len(set(counts.values())) > 1:
        raise RuntimeError(f"the searches took different steps, their times cannot be compared: {counts}")
    times = {way: dict(zip(CLOCKS, zip(*found, strict=True), strict=True)) for way, found in seconds.items()}
    return {
        clock: {way: Measured.of(way, times[WAYS[0]][clock], times[way][clock]) for way in WAYS} for clock in CLOCKS
    }


def _searcher(way: str, folder: pathlib.Path, width: int, pipe: Any) -> None:
    """Takes a turn whenever it is told to; sends the fewest seconds by each clock, and the number of evaluations."""
    from scipy import optimize

    both = _bundle(folder, width) if way == WAYS[0] else _live(way, width)
    while pipe.recv():
        wall = processor = np.inf
        for _ in range(SEARCHES):
            start = time.perf_counter(), time.process_time()
            found = optimize.minimize(both, np.full(N, 0.3), jac=True, method="BFGS", options={"maxiter": 15})
            wall = min(wall, time.perf_counter() - start[0])
            processor = min(processor, time.process_time() - start[1])
        pipe.send((wall, processor, found.nfev))


def _bundle(folder: pathlib.Path, width: int) -> Callable[[Array], Any]:
    return pullback.load(folder / f"{NETWORKS[width]}.pullback").flat("y", "x").value_and_gradient


def _live(way: str, width: int) -> Callable[[Array], Any]:
    import tensorflow as tf

    model = surrogate(width)

    def tape(x: Any) -> Any:
        with tf.GradientTape() as recorded:
            recorded.watch(x)
            value = model(x)
        return value, recorded.gradient(value, x)

    function = tf.function(tape) if way == "tf.function" else tape

    def both(x: Array) -> Any:
        value, gradient = function(tf.constant(x[None]))
        return float(value.numpy()[0, 0]), gradient.numpy()[0]

    return both


def table(found: Mapping[str, Mapping[str, Mapping[str, Measured]]]) -> list[str]:
    """In Markdown, of what was measured by width."""
    lines = [
        "SciPy's BFGS with the same steps, on networks of three hidden layers of so many units, each way in a process"
        " of its own: ratios to that on the bundle, medians and quartiles over the rounds. The aims are 5 and 30. With"
        " few units, SciPy's own work is most of the time on the bundle. With 256 it is the product of one row with a"
        " matrix, which takes ONNX Runtime 20.6 us in float64 and 6.1 in float32, NumPy 7.8 and 5.6 (256 x 256, one"
        " thread: `OPENBLAS_NUM_THREADS=1 python -m tests.benchmarks.row_products`).",
        "",
        "| units | | wall time | ratio | quartiles | processor time | ratio | quartiles |",
        "| --: | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for width, clocks in found.items():
        for way in WAYS:
            cells = [str(width), way]
            for row in (clocks[clock][way] for clock in CLOCKS):
                cells += [f"{row.call * 1e3:.1f} ms", f"{row.ratio:.1f}", f"{row.low:.1f} to {row.high:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines
