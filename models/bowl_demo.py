"""``make demo``, first half: trains the bowl, saves it, exports it with its derivative, and asks the live model.

The second half, :mod:`models.bowl_report`, runs in a new process that has neither TensorFlow nor Keras loaded.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from pullback_export import Gradient, export

from models import bowl

BATCHES = (1, 1024)


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m models.bowl_demo", description="From a trained network to its derivative in a file."
    )
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default="demo", help="where to write (default: demo)")
    parser.add_argument("--seed", type=int, default=bowl.SEED)
    parser.add_argument("--epochs", type=int, default=bowl.EPOCHS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    print(f"Training y = (x - 5)^2 / 25: {options.epochs} epochs, batches of {bowl.BATCH}")
    model = bowl.train(options.seed, epochs=options.epochs)
    model.save(options.folder / "bowl.keras")

    print(f"\nExporting {options.folder / 'bowl.pullback'}")
    export(
        model,
        options.folder / "bowl.pullback",
        [Gradient("y", "x")],
        samples=bowl.samples(np.random.default_rng(options.seed)),
        overwrite=True,
        progress=lambda line: print(f"  {line}", flush=True),
    )
    np.savez(options.folder / "live.npz", **ask_live(model))

    print("\nLoading it in a new process, without TensorFlow and Keras", flush=True)
    return subprocess.run([sys.executable, "-m", "models.bowl_report", options.folder], check=False).returncode


def ask_live(model: keras.Model) -> dict[str, Any]:
    """What the live model and the curve itself say, and the seconds that one call of the live model takes."""
    x = np.linspace(bowl.LOW, bowl.HIGH, 2001, dtype=np.float32)[:, None]
    y, dy_dx = tape_gradient(model, x)
    exact = bowl.exact(x.astype(np.float64))
    answers = {"x": x, "live_y": y, "live_dy_dx": dy_dx, "exact_y": exact["y"], "exact_dy_dx": exact["dy_dx"]}
    for batch in BATCHES:
        rows = np.resize(x, (batch, 1))
        answers[f"live_seconds_{batch}"] = seconds_per_call(lambda rows=rows: tape_gradient(model, rows), calls=50)
    return answers


def tape_gradient(model: keras.Model, x: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Value and gradient as a user of Keras computes them."""
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        y = model(point)
    return y.numpy(), tape.gradient(y, point).numpy()


def seconds_per_call(function: Callable[[], object], calls: int) -> float:
    """The median over ``calls`` calls, after a warm-up."""
    for _ in range(calls // 10 + 1):
        function()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
