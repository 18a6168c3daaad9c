"""Many exports in processes where TensorFlow was imported, and has computed, before the exporter: none may crash.

``python -m tests.benchmarks.many_exports`` exports attention, strided 1x1 convolutions and LSTMs with their Jacobians,
each with other sizes, and evaluates every bundle at batches of 0, 1, 2 and 7. The environment says nothing of oneDNN,
as by default: on a processor with AVX-512 TensorFlow's own products are wrong there (:mod:`pullback.onednn`).
``--each`` says how many exports a process makes; one that dies is counted, and the next one goes on.
"""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from pullback import onednn

ROOT = pathlib.Path(__file__).parents[2]
KINDS = ("attention", "strided convolution", "lstm")
BATCHES = (0, 1, 2, 7)
SECONDS = 600


def model_of(number: int) -> tuple[str, Any]:
    """The kind and the model of one export: kinds take turns, sizes change."""
    import keras

    layers, kind, size = keras.layers, KINDS[number % len(KINDS)], number // len(KINDS)
    keras.utils.set_random_seed(number)
    if kind == "attention":
        x = keras.Input((5 + size % 12, 8 + 4 * (size % 3)), name="x")
        y = layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4 + size % 5)(x, x)))
    elif kind == "lstm":
        x = keras.Input((3 + size % 6, 4), name="x")
        y = layers.Dense(2)(layers.LSTM(6 + size % 10)(x))
    else:
        x = keras.Input((8 + 4 * (size % 3), 16, 4), name="x")
        hidden = layers.Conv2D(8 + size % 5, 1, strides=2, activation="tanh")(x)
        y = layers.Dense(2)(layers.GlobalAveragePooling2D()(hidden))
    return kind, keras.Model(x, layers.Identity(name="y")(y))


def run(first: int, last: int) -> None:
    """Exports ``first`` to ``last`` in this process, with a line for each that has ended well or with an error."""
    import numpy as np
    import tensorflow as tf

    tf.nn.conv2d(tf.ones([1, 4, 4, 1]), tf.ones([3, 3, 1, 1]), 1, "SAME")  # oneDNN has been used
    from pullback_export import ExportError, export

    for number in range(first, last):
        kind, model = model_of(number)
        print(f"begins\t{number}\t{kind}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            try:
                bundle = export(model, pathlib.Path(folder) / "m.pullback", ["jacobian(y, x)"])
            except (ExportError, AssertionError) as problem:
                print(f"refused\t{number}\t{' '.join(str(problem).split())[:300]}", flush=True)
                continue
            rng = np.random.default_rng(number)
            for batch in BATCHES:
                x = rng.normal(size=(batch, *model.input_shape[1:])).astype(np.float32)
                assert bundle(x=x).dy_dx.shape == (batch, 2, *x.shape[1:])
        state = "safe" if onednn.make_safe() else "unsafe"
        print(f"done\t{number}\t{state}", flush=True)


def outcomes(count: int, each: int) -> Iterator[tuple[int, str, str]]:
    """Number, outcome and what was said of each export; ``crashed`` where its process died."""
    environment = {name: item for name, item in os.environ.items() if name not in (onednn.SWITCH, *onednn.LIMITS)}
    number = 0
    while number < count:
        last = min(number + each, count)
        command = [sys.executable, "-m", "tests.benchmarks.many_exports", "--child", str(number), str(last)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS * each, check=False
        )
        for line in done.stdout.splitlines():
            outcome, at, said = (*line.split("\t"), "", "")[:3]
            if outcome in ("done", "refused"):
                number = int(at) + 1
                yield int(at), outcome, said
        if number < last:
            said = f"exit code {done.returncode}; {' '.join(done.stderr.split())[-300:]}"
            yield number, "crashed", said
            number += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--each", type=int, default=10, help="exports of one process")
    parser.add_argument("--child", nargs=2, type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        run(*chosen.child)
        return 0
    print(f"processor {'with' if onednn.has_avx512() else 'without'} AVX-512", flush=True)
    total: collections.Counter[str] = collections.Counter()
    start = time.monotonic()
    for number, outcome, said in outcomes(chosen.count, chosen.each):
        total[outcome] += 1
        print(f"{number} {KINDS[number % len(KINDS)]}: {outcome} {said}", flush=True)
    print(f"{chosen.count} exports in {time.monotonic() - start:.0f} s: {dict(total)}")
    return int(total["done"] < chosen.count)


if __name__ == "__main__":
    sys.exit(main())
