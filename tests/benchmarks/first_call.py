"""The first call of a new process: ``python -m tests.benchmarks.first_call BUNDLE`` of a gradient of ``y``.

Every process imports, loads, opens a session and computes one result, of one thread. ``forward``: ONNX Runtime alone,
the graph that leads to ``y`` from its file. ``derivative``: ONNX Runtime alone, all of the graph. ``load``: Pullback,
value and gradient. ``cached``: the same with ``load(cache=)`` of a folder that an earlier process filled. They take
turns; each ratio is the median of those to the ``forward`` of the same round. A bundle of ``--row`` of the benchmarks
is made where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 300

_START = """
import json, resource, sys, time
wall = time.perf_counter()
import numpy as np
path, cache, shape = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
"""
_ALONE = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 4
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: np.zeros(shape, np.float32)})
"""
_OURS = """
import pullback
bundle = pullback.load(path, threads=1, cache=cache or None)
bundle(np.zeros(shape, np.float32))
"""
_END = """
wall = time.perf_counter() - wall
found = resource.getrusage(resource.RUSAGE_SELF)
scale = 2**20 if sys.platform == "darwin" else 2**10
print(json.dumps({"wall": wall, "processor": time.process_time(), "megabytes": found.ru_maxrss / scale}))
"""


def process(body: str, path: pathlib.Path, cache: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Seconds from the first import to the result, processor time of the whole process, and its peak memory."""
    command = [sys.executable, "-c", _START + body + _END, str(path), cache, json.dumps(shape)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runtime")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(bundle: pathlib.Path, output: str, rounds: int) -> dict[str, list[dict[str, float]]]:
    """By name, what every round took."""
    import pullback
    from pullback.storage.onnx_cut import cut

    loaded = pullback.load(bundle)
    shape = tuple(size if isinstance(size, int) else 1 for size in loaded.spec.inputs[0].shape)
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        graphs = {"forward": cut(loaded.graph(), {output}, output), "derivative": loaded.graph()}
        for name, content in graphs.items():
            (place / f"{name}.onnx").write_bytes(content)
        ways: dict[str, tuple[str, pathlib.Path, str]] = {
            **{name: (_ALONE, place / f"{name}.onnx", "") for name in graphs},
            "load": (_OURS, bundle, ""),
            "cached": (_OURS, bundle, str(place / "cache")),
        }
        for body, path, cache in ways.values():  # files come into memory, and the cache is filled
            process(body, path, cache, shape)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (body, path, cache) in ways.items():
                found[name].append(process(body, path, cache, shape))
    return found


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """A row for each way; ratios are medians over the rounds."""
    lines = ["| | processor time, s | to forward | wall time, s | to forward | memory, MB |", "| --- |" + " --: |" * 5]
    for name, turns in found.items():
        cells: list[str] = []
        for what in ("processor", "wall"):
            middle = statistics.median(turn[what] for turn in turns)
            ratios = [turn[what] / floor[what] for turn, floor in zip(turns, found["forward"], strict=True)]
            cells += [f"{middle:.2f}", f"{statistics.median(ratios):.2f}"]
        memory = statistics.median(turn["megabytes"] for turn in turns)
        lines.append(f"| {name} | {' | '.join(cells)} | {memory:.0f} |")
    return "\n".join(lines)


def prepared(name: str, folder: pathlib.Path) -> pathlib.Path:
    """The bundle of a row of the benchmarks."""
    command: list[Any] = [sys.executable, "-m", "tests.benchmarks.prepare", name, folder]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder / "derivative.pullback"


def main() -> None:
    parser = argparse.ArgumentParser(description="The first call of a new process against ONNX Runtime's forward pass.")
    parser.add_argument("bundle", nargs="?", type=pathlib.Path, help="a bundle of y and its gradient")
    parser.add_argument("--row", default="resnet50", help="where no bundle is given: which row of the benchmarks")
    parser.add_argument("--output", default="y")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = arguments.bundle or prepared(arguments.row, pathlib.Path(folder))
        print(f"load average {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores", flush=True)
        print(table(measure(bundle.absolute(), arguments.output, arguments.rounds)))
        print(f"load average {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
