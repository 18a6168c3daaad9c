"""Batches of wide rows at once and in chunks: ``python -m tests.benchmarks.wide_rows [ROW ...]``.

Value and derivative of networks of ``tests.benchmarks.work``, one thread, processor time: medians of the ratios of a
call in chunks to one of the whole batch, in turns. ``*`` marks the chunk that a call takes by itself.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

import keras
import numpy as np
import pullback
from pullback.manifest import Tolerance
from pullback_export.artifacts import onnx_model
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.sources.opening import open_source

from tests.benchmarks import work
from tests.benchmarks.prepare import settle

ROWS = ["transformer", "mobilenet_v2", "efficientnet_b0", "resnet50", "densenet121", "unet", "lstm_48", "surrogate"]


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.wide_rows", description=__doc__)
    names = [item.name for item in work.ROWS if item.kind == "gradient"]
    parser.add_argument("rows", nargs="*", default=ROWS, metavar="ROW", help=f"of {', '.join(names)}")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if unknown := set(options.rows) - set(names):
        parser.error(f"there is no such row: {', '.join(sorted(unknown))}")
    for name in options.rows:
        print(_line(work.row(name), options.batch, options.rounds), flush=True)
    return 0


def _line(item: work.Work, batch: int, rounds: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "evaluate.onnx"
        path.write_bytes(_content(item))
        bundle = pullback.load(path, threads=1)
        x = np.random.default_rng(0).normal(size=(batch, *item.shape)).astype(np.float32)
        chunks = [size for size in (1, 2, 3, 4, 8, 16, 32, 64) if size < batch]
        seconds: dict[int, list[float]] = {size: [] for size in (*chunks, 0)}
        for number in range(rounds + 1):  # the first one warms up
            for size in list(seconds)[:: 1 if number % 2 else -1]:
                start = time.process_time()
                bundle(x, chunk=size)
                seconds[size].append(time.process_time() - start)
        own = bundle.functions["evaluate"].rows_at_a_time(batch)
    whole = statistics.median(seconds[0][1:])
    ratios = {size: statistics.median(map(float.__truediv__, seconds[size][1:], seconds[0][1:])) for size in chunks}
    shown = ", ".join(f"{size} {ratio:.2f}{'*' * (size == own)}" for size, ratio in ratios.items())
    return f"{item.title}, batch {batch}: {whole * 1e3:.1f} ms at once{'*' * (own >= batch)}; in chunks of {shown}"


def _content(item: work.Work) -> bytes:
    """The file of value and derivative, without an export's comparison."""
    keras.utils.set_random_seed(1)
    model = item.build()
    settle(model)
    source = open_source(model, None, ["y"], None, False)
    (function,) = Derivatives(source, [parse_request(item.request)], "error").functions()
    return onnx_model.build(trace(function), source.batched, 18, Tolerance()).content


if __name__ == "__main__":
    sys.exit(main())
