"""How much memory an export takes, as a multiple of the model's weights, stage by stage.

``python -m tests.benchmarks.export_memory`` exports a model of ``--megabytes`` of weights in a process of its own, and
prints its resident memory, without files that are only mapped: the peak of each stage over what was there before.
``--kind`` chooses dense layers, or one embedding; ``--limit`` makes a peak above 3 times the weights and 1 GB an error.
A second process, without TensorFlow, loads the bundle and verifies it; ``--megabytes 2200`` are weights that no ONNX
file can hold.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 3600
KINDS = ("dense", "embedding")
# What issue 12 promises: this many times the weights, and so many bytes.
TIMES, BYTES = 3.0, 10**9
_PAUSE = 0.01


def model_of(kind: str, megabytes: int) -> tuple[Any, str, dict[str, Any]]:
    """A model of so many megabytes of float32 weights, the requested derivative, and a sample."""
    import keras
    import numpy as np

    layers, rng = keras.layers, np.random.default_rng(0)
    numbers = megabytes * 10**6 // 4
    if kind == "embedding":
        tokens, scale = keras.Input((8,), dtype="int32", name="tokens"), keras.Input((8, 1), name="scale")
        rows = layers.Embedding(numbers // 64, 64)(tokens)
        y = layers.Dense(1, name="y")(layers.Flatten()(layers.Multiply()([rows, scale])))
        sample = {"tokens": rng.integers(0, numbers // 64, (3, 8), np.int32), "scale": rng.random((3, 8, 1), "f")}
        return keras.Model([tokens, scale], y), "gradient(y, scale)", sample
    width = int((numbers / 4) ** 0.5)
    first = x = keras.Input((16,), name="x")
    for _ in range(5):
        x = layers.Dense(width, "tanh")(x)
    model = keras.Model(first, layers.Dense(1, name="y")(x))
    return model, "gradient(y, x)", {"x": rng.random((3, 16), "f")}


def measure(kind: str, megabytes: int, format: str) -> Mapping[str, Any]:
    """One export in this process; Linux only, as it reads ``/proc``."""
    from pullback_export import export
    from pullback_export.gate.supervision.freed_memory import give_back

    model, request, sample = model_of(kind, megabytes)
    weights = sum(variable.numpy().nbytes for variable in model.variables)
    give_back()
    before, watch = resident(), Watch()
    peaks: dict[str, int] = {}
    stage = "derivatives"

    def progress(line: str) -> None:
        nonlocal stage
        peaks[stage] = max(peaks.get(stage, 0), watch.take() - before)
        if not line.startswith(("warning", "note")):
            stage = line.split(" ")[0]

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.pullback"
        formats = ("onnx", "saved_model") if format == "both" else (format,)
        export(model, path, [request], samples=sample, formats=formats, progress=progress)
        progress("done")
        watch.stop()
        after = resident() - before
        loaded = _child("--load", str(path), "onnx" if "onnx" in formats else "saved_model")
    return {"kind": kind, "weights": weights, "before": before, "after": after, "peaks": peaks, "loaded": loaded}


def load(path: str, backend: str) -> Mapping[str, Any]:
    """What loading a bundle and one run of its golden samples take in this process, in bytes."""
    import numpy
    import pullback

    assert numpy
    before, watch = resident(), Watch()
    pullback.load(path, backend=backend).verify()
    taken = watch.take() - before
    watch.stop()
    return {"taken": taken, "mapped": resident("RssFile")}


class Watch(threading.Thread):
    """Looks at the resident memory again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._largest, self._done = 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._done.wait(_PAUSE):
            self._largest = max(self._largest, resident())

    def take(self) -> int:
        """The largest since the last call, in bytes."""
        largest, self._largest = max(self._largest, resident()), 0
        return largest

    def stop(self) -> None:
        self._done.set()
        self.join()


def resident(kind: str = "RssAnon") -> int:
    """Bytes of this process in memory, without files that are only mapped; ``RssFile``: those alone."""
    fields = dict(
        line.split(":") for line in pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    )
    return 1024 * int(fields[kind].split()[0])


def in_process(kind: str, megabytes: int, format: str) -> Mapping[str, Any]:
    """The same in a process of its own."""
    return _child("--child", kind, str(megabytes), format)


def _child(*arguments: str) -> Mapping[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.export_memory", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, env=os.environ)
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.stderr[-2000:]}")
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak(row: Mapping[str, Any]) -> int:
    """Bytes of the whole process, TensorFlow and the live model among them, at the worst time."""
    return int(row["before"] + max(row["peaks"].values()))


def is_within(row: Mapping[str, Any]) -> bool:
    """Whether the peak keeps what is promised."""
    return peak(row) <= TIMES * row["weights"] + BYTES


def report(row: Mapping[str, Any]) -> str:
    """Lines for people: megabytes, and multiples of the weights."""
    weights = row["weights"]
    lines = [f"{name:<20} {size / 1e6:8.0f} MB  {size / weights:5.2f} x" for name, size in row["peaks"].items()]
    return "\n".join(
        (
            f"{row['kind']}: {weights / 1e6:.0f} MB of weights",
            f"{row['before'] / 1e6:.0f} MB before the export; over that:",
            *lines,
            f"left after it: {row['after'] / 1e6:.0f} MB",
            f"peak of the process {peak(row) / 1e6:.0f} MB, {(TIMES * weights + BYTES) / 1e6:.0f} MB are promised",
            f"loading and verifying: {row['loaded']['taken'] / 1e6:.0f} MB, beside files of"
            f" {row['loaded']['mapped'] / 1e6:.0f} MB that are only mapped",
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kind", choices=KINDS, default="dense")
    parser.add_argument("--megabytes", type=int, default=128)
    parser.add_argument("--format", choices=("both", "onnx", "saved_model"), default="both")
    parser.add_argument("--limit", action="store_true", help="fail where the peak is above the promise")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.load:
        print(json.dumps(load(*chosen.load)))
        return 0
    if chosen.child:
        print(json.dumps(measure(chosen.child[0], int(chosen.child[1]), chosen.child[2])))
        return 0
    row = in_process(chosen.kind, chosen.megabytes, chosen.format)
    print(report(row))
    return int(chosen.limit and not is_within(row))


if __name__ == "__main__":
    sys.exit(main())
