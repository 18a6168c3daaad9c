"""How long an export takes, stage by stage, and how that grows with the network.

``python -m tests.benchmarks.export_time`` exports each row in a process of its own, and prints the page
``docs/export_time.md``; ``--publish`` writes it and its picture. ``--rows`` chooses rows by name; ``--keep FILE`` keeps
what was measured in a file, and measures what is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
PICTURE = "export_time.png"
SECONDS = 3600
STAGES = ("derivatives", "tracing", "lowering", "writing", "comparing")
# Blocks of three layers, Dense - BatchNormalization - tanh, every second one with a residual connection.
BLOCKS = (5, 10, 25, 50, 100, 250, 500, 1000)
ROWS = ("bowl", *(f"blocks {count}" for count in BLOCKS), "MobileNetV3Small 64", "ResNet50 224")

Row = Mapping[str, Any]


def network(name: str) -> tuple[Any, str]:
    """The model of a row, and the requested derivative."""
    import keras

    layers = keras.layers
    kind, _, size = name.partition(" ")
    if kind == "bowl":
        dense = [layers.Dense(width, "tanh") for width in (64, 32, 32)]
        return keras.Sequential([keras.Input((1,), name="x"), *dense, layers.Dense(1, name="y")]), "gradient(y, x)"
    if kind != "blocks":
        shape = (int(size), int(size), 3)
        found = getattr(keras.applications, kind)(weights=None, input_shape=shape, classifier_activation=None)
        return found, f"gradient({found.output_names[0]}[3], x)"  # the only input has no name of its own
    x = first = keras.Input((8,), name="x")
    for index in range(int(size)):
        hidden = layers.Activation("tanh")(layers.BatchNormalization()(layers.Dense(8)(x)))
        x = layers.Add()([x, hidden]) if index % 2 else hidden
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)  # Keras walks along a chain of layers by calls within calls
    try:
        return keras.Model(first, layers.Dense(3, name="y")(x)), "jacobian(y, x)"
    finally:
        sys.setrecursionlimit(limit)


def measure(name: str) -> Row:
    """Processor seconds of each stage of one export with both formats, in this process."""
    import onnx
    from pullback_export import export

    model, request = network(name)
    seconds = dict.fromkeys(STAGES, 0.0)
    stage, since = STAGES[0], time.process_time()

    def progress(line: str) -> None:
        nonlocal stage, since
        now = time.process_time()
        seconds[stage] += now - since
        stage, since = next((item for item in STAGES if line.startswith(item)), STAGES[-1]), now

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.pullback"
        began = time.perf_counter()
        export(model, path, [request], progress=progress)
        wall = time.perf_counter() - began
        seconds[stage] += time.process_time() - since
        nodes = len(onnx.load(path / "evaluate.onnx").graph.node)
        graph = (path / "saved_model" / "saved_model.pb").stat().st_size
    return {"name": name, "layers": len(model.layers), "nodes": nodes, "pb": graph, "wall": wall, "stages": seconds}


def in_process(name: str) -> Row:
    """The same in a process of its own, so that no row profits from what another one has loaded."""
    command = [sys.executable, "-m", "tests.benchmarks.export_time", "--child", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, env=os.environ)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def page(rows: Sequence[Row]) -> str:
    """The page as Markdown; one line a row, the share of each stage in percent."""
    head = "| network | layers | nodes | processor s | wall s | " + " | ".join(STAGES) + " | `.pb` kB |"
    lines = [head, "| --- |" + " --: |" * (5 + len(STAGES))]
    for row in rows:
        total = sum(row["stages"].values())
        shares = " | ".join(f"{100 * row['stages'][stage] / total:.0f} %" for stage in STAGES)
        lines.append(
            f"| {row['name']} | {row['layers']:,} | {row['nodes']:,} | {total:.1f} | {row['wall']:.1f} | {shares} |"
            f" {row['pb'] / 1000:,.0f} |"
        )
    return "\n".join(
        (
            "# Export time",
            "",
            "Processor seconds of one export with both formats and the gate, after the imports, each row in a process"
            " of its own, and the share of each stage. *Blocks n* is n times Dense - BatchNormalization - tanh with"
            " residual connections, and its Jacobian. Wall time depends on what else the machine does:"
            f" {os.cpu_count()} cores, {os.getloadavg()[0]:.0f} processes that wanted one. Made by"
            " `python -m tests.benchmarks.export_time --publish`;"
            " `tests/exporter/graph/test_growth.py` counts in every run of the tests that nodes and calls grow as the"
            " layers do.",
            "",
            f"![Processor seconds over the number of nodes]({PICTURE})",
            "",
            *lines,
            "",
        )
    )


def picture(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Processor seconds over nodes of the rows ``blocks``, both axes logarithmic, beside a line of slope one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = [row for row in rows if row["name"].startswith("blocks")]
    nodes = [row["nodes"] for row in chosen]
    figure, axes = plt.subplots(figsize=(6, 4))
    for stage in STAGES:
        axes.loglog(nodes, [row["stages"][stage] for row in chosen], marker=".", label=stage)
    totals = [sum(row["stages"].values()) for row in chosen]
    axes.loglog(nodes, totals, "k", marker="o", label="all")
    axes.loglog(nodes, [totals[-1] * count / nodes[-1] for count in nodes], "k:", label="proportional to the nodes")
    axes.set(xlabel="nodes of evaluate.onnx", ylabel="processor seconds")
    axes.legend(loc="lower right", fontsize="small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--publish", action="store_true", help="write docs/export_time.md and its picture")
    parser.add_argument("--keep", metavar="FILE", help="rows that were measured; those that it lacks are added")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measure(chosen.child)))
        return 0
    rows = []
    kept = pathlib.Path(chosen.keep) if chosen.keep else None
    known = json.loads(kept.read_text(encoding="utf-8")) if kept is not None and kept.exists() else {}
    for name in chosen.rows:
        rows.append(known.get(name) or in_process(name))
        if kept is not None:
            known[name] = rows[-1]
            kept.write_text(json.dumps(known), encoding="utf-8")
        print(name, {stage: round(seconds, 2) for stage, seconds in rows[-1]["stages"].items()}, flush=True)
    text = page(rows)
    print(text)
    if chosen.publish:
        (ROOT / "docs" / "export_time.md").write_text(text, encoding="utf-8")
        picture(ROOT / "docs" / PICTURE, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
