"""What each integration costs over a call of the bundle by hand: ``make overhead``.

Value and gradient in float64. In every round each integration and its call by hand take turns, and the ratio is that
of the two: the median over the rounds travels better than any time. Libraries clash, so each environment of the tests
measures the rows that it can: ``python -m tests.benchmarks.overhead NAME`` adds its rows to those of the others, and
``--publish`` puts all of them on the page. ``--live`` adds the searches of :mod:`tests.benchmarks.bfgs`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pullback

from tests.benchmarks import bfgs, regions
from tests.benchmarks.measured import Measured
from tests.benchmarks.overhead_calls import ATOMS, ROWS, Array, Bundles, Call, N, positions

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "build" / "benchmarks" / "overhead"
PAGE = ROOT / "docs" / "benchmarks.md"
CALLS = 5  # of a turn: those of others leave the caches cold for the first
WARM = 3  # rounds that compile


def measure(bundles: Bundles, rounds: int, chosen: Sequence[str] = ()) -> list[Measured]:
    """The rows whose library is installed; ``chosen`` are parts of their names."""
    pairs = {
        name: make(bundles)
        for name, module, make in ROWS
        if importlib.util.find_spec(module) and (not chosen or any(part in name for part in chosen))
    }
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
    point = np.linspace(-1, 1, N)
    for number in range(rounds + WARM):
        for name, pair in pairs.items():
            order = (0, 1) if number % 2 else (1, 0)  # the first of them may find the processor as others left it
            for which in order:
                best, point = _fastest((pair.hand, pair.call)[which], point)
                if number >= WARM:
                    seconds[name][which].append(best)
    return [Measured.of(name, *both) for name, both in seconds.items()]


def _fastest(call: Call, point: Array) -> tuple[float, Array]:
    """Seconds of the fastest of a turn, and the next point.

    They are of the processor: where others run beside, what takes longer than a time slice is always interrupted.
    """
    best = np.inf
    for _ in range(CALLS):
        point = point + 1e-7
        start = time.process_time()
        call(point)
        best = min(best, time.process_time() - start)
    return best, point


def exported(folder: pathlib.Path) -> Bundles:
    """The bundles, exported into ``folder``."""
    import tensorflow as tf
    from pullback_export import export, forces

    for width, name in bfgs.NETWORKS.items():
        path = folder / f"{name}.pullback"
        network = export(bfgs.surrogate(width), path, ["gradient(y, x)"], outputs=["y"], overwrite=True)

    def argon(positions: Any) -> Any:
        between = positions[:, None] - positions[None]
        square = tf.reduce_sum(between**2, -1) + 1e9 * tf.eye(ATOMS, dtype=tf.float64)
        attraction = (3.4**2 / square) ** 3
        return {"energy": tf.reduce_sum(4 * 0.0104 * (attraction**2 - attraction)) / 2}

    atoms = export(
        argon,
        folder / "atoms.pullback",
        [forces("energy", "positions")],
        inputs=[tf.TensorSpec([ATOMS, 3], tf.float64, name="positions")],
        batched=False,
        formats="onnx",
        samples=[{"positions": positions() + shift} for shift in (0.0, 0.1)],
        overwrite=True,
    )
    return Bundles(network, atoms, folder)


def table(rows: Sequence[Measured]) -> list[str]:
    """In Markdown."""
    lines = ["| | by hand | integration | ratio | quartiles |", "| --- | --: | --: | --: | --: |"]
    for row in rows:
        times = " | ".join(f"{seconds * 1e6:,.0f} us" for seconds in (row.hand, row.call))
        lines.append(f"| {row.name} | {times} | {row.ratio:.2f} | {row.low:.2f} to {row.high:.2f} |")
    return lines


def page(folder: pathlib.Path) -> str:
    """The section of the page, of what all environments have measured."""
    parts = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows = {row["name"]: Measured(**row) for part in parts for row in part["rows"]}
    order = [name for name, _, _ in ROWS if name in rows]
    machines = "; ".join(
        dict.fromkeys(
            f"{part['date']}, {part['cores']} cores with a load average of {part['load']:.1f}" for part in parts
        )
    )
    lines = [
        "## Integrations against a call by hand",
        "",
        "Value and gradient of a network 10-256-256-256-1 in float64 at a new point, or as the row says, against the"
        " bundle called by hand in the same round: processor time, medians over the rounds, and quartiles of the ratio."
        " *Alone* is the"
        " library with a model that returns constants: that much is its own. Made by `make overhead`, which measures"
        f" each row where its library is installed ({machines}).",
        "",
        *table([rows[name] for name in order]),
        "",
        "CasADi runs value and gradient as two graphs, each with a forward pass; UM-Bridge and Tesseract take two"
        " requests.",
    ]
    for part in parts:
        if part.get("live"):
            lines += ["", *bfgs.table(_measured_again(part["live"]))]
    return "\n".join(lines)


def _measured_again(live: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Measured]]]:
    return {
        width: {clock: {way: Measured(**row) for way, row in rows.items()} for clock, rows in clocks.items()}
        for width, clocks in live.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.overhead", description=__doc__)
    parser.add_argument("name", nargs="?", help="of the environment: its rows are kept under it")
    parser.add_argument("--rows", nargs="+", default=(), help="parts of the names of rows; nothing is kept then")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--live", action="store_true", help="BFGS against TensorFlow as well")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER, help="bundles and what was measured")
    parser.add_argument("--export", action="store_true", help="write the bundles")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks.md from what was measured")
    options = parser.parse_args()
    folder = options.folder.absolute()
    if options.export:
        folder.mkdir(parents=True, exist_ok=True)
        exported(folder)
    if options.name:
        _measured(options, folder)
    if options.publish:
        regions.replace(PAGE, "overhead", "make overhead", page(folder))


def _measured(options: argparse.Namespace, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "atoms.pullback").exists():  # in a process of its own: beside TensorFlow all are slower
        command = [sys.executable, "-m", "tests.benchmarks.overhead", "--export", "--folder", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True)
    network, atoms = (pullback.load(folder / f"{name}.pullback") for name in ("network", "atoms"))
    bundles = Bundles(network, atoms, folder)
    os.chdir(folder)  # OpenMDAO writes a folder where it runs
    rows = measure(bundles, options.rounds, options.rows)
    print("\n".join(table(rows)), flush=True)
    found: dict[str, Any] = {"rows": [dataclasses.asdict(row) for row in rows], "live": {}}
    if options.live:
        searches = {str(width): bfgs.measure(folder, width, max(options.rounds // 4, 5)) for width in bfgs.NETWORKS}
        print("\n".join(bfgs.table(searches)))
        found["live"] = {
            width: {
                clock: {way: dataclasses.asdict(row) for way, row in rows.items()} for clock, rows in clocks.items()
            }
            for width, clocks in searches.items()
        }
    found |= {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    if not options.rows:
        (folder / f"{options.name}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
