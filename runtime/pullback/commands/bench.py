"""``pullback bench``: measure the time per call on this machine by batch size, and where it is spent."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle, load
from pullback.commands.profile import Entry, by_operator, profile
from pullback.errors import NotExportedError
from pullback.function import Function
from pullback.manifest import TensorSpec
from pullback.texts import STRING

NAME = "bench"
PROFILE_SECONDS = 0.5
SHOWN_NODES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments besides BUNDLE."""
    parser.add_argument("--function", default="evaluate", help="evaluate (the default), vjp, jvp or hvp")
    parser.add_argument("--fetch", metavar="NAME,...", help="only these results")
    parser.add_argument("--batch", metavar="N,...", default="1,64,4096", help="batch sizes (default 1,64,4096)")
    parser.add_argument("--threads", type=int, help="threads per evaluation")
    parser.add_argument("--seconds", type=float, default=0.5, help="time to spend on each row of the table")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="show where ONNX Runtime spends the time of the last batch, by operator and by node",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    """Print the time of one call: median and the 5th, 95th and 99th percentile."""
    if not 0 < arguments.seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"--seconds must be a positive number, got {arguments.seconds}")
    bundle = load(arguments.bundle, arguments.backend, threads=arguments.threads)
    function = bundle.function(arguments.function)
    names = function.fetch_names(tuple(arguments.fetch.split(",")) if arguments.fetch else None)
    sizes = _sizes(arguments.batch) if function.spec.batched else [1]
    shared = function.spec.shared_inputs
    rows = [
        {"batch": n, **measure(function, names, inputs(bundle, function, n), arguments.seconds, shared)} for n in sizes
    ]
    nodes, calls = [], 0
    if arguments.profile:
        calls = round(min(200, max(3, PROFILE_SECONDS * 1e6 / rows[-1]["median"])))
        nodes = profile(bundle, function, names, inputs(bundle, function, sizes[-1]), calls)
    if arguments.json:
        parts = {"rows": rows, "profile": nodes, "operators": by_operator(nodes)}
        print(json.dumps(parts, indent=2, default=dataclasses.asdict))
        return 0
    print(f"{bundle.path}: {function.spec.name} of {', '.join(names)} on {bundle.backend}")
    print(f"{'batch':>8} {'median us':>12} {'5 %':>12} {'95 %':>12} {'99 %':>12} {'rows per s':>14}")
    for row in rows:
        cells = (row["median"], row["p5"], row["p95"], row["p99"])
        print(
            f"{row['batch']:>8} " + " ".join(f"{cell:>12.1f}" for cell in cells) + f" {row['rows_per_second']:>14,.0f}"
        )
    if arguments.profile:
        _print_profile(nodes, calls, rows[-1])
    return 0


def inputs(bundle: Bundle, function: Function, batch: int) -> dict[str, Array]:
    """Inputs with ``batch`` rows: golden samples repeated, or random ones where there are none."""
    try:
        case = bundle.samples()[function.spec.name][0].inputs
    except NotExportedError:
        rng = np.random.default_rng(0)
        case = {t.name: _drawn(rng, t, [1 if isinstance(d, str) else d for d in t.shape]) for t in function.spec.inputs}
    free = [t.name for t in function.spec.inputs if t.shape[:1] == ("B",)]
    return {name: _repeated(array, batch) if name in free else array for name, array in case.items()}


def _drawn(rng: np.random.Generator, tensor: TensorSpec, shape: Sequence[int]) -> Array:
    if tensor.dtype == STRING:
        return np.full(shape, "", object)
    return np.asarray(rng.normal(size=shape)).astype(tensor.dtype)


def _repeated(array: Array, batch: int) -> Array:
    rows = array if len(array) else np.full((1, *array.shape[1:]), "" if array.dtype == object else 0, array.dtype)
    return np.ascontiguousarray(np.resize(rows, (batch, *array.shape[1:])))


def measure(
    function: Callable[..., Any],
    names: tuple[str, ...],
    feeds: dict[str, Array],
    seconds: float,
    shared: Container[str] = (),
) -> dict[str, float]:
    """Microseconds of one call: median and percentiles; feeds that are ``shared`` have no rows."""
    times: list[float] = []
    for _ in range(3):
        function(**feeds, fetch=names)
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        function(**feeds, fetch=names)
        times.append(time.perf_counter() - start)
    low, median, high, highest = (float(q) * 1e6 for q in np.quantile(times, (0.05, 0.5, 0.95, 0.99)))
    sizes = [array.shape[0] for name, array in feeds.items() if name not in shared and array.ndim]
    rows = sizes[0] if sizes else 1
    rate = rows / median * 1e6
    return {"median": median, "p5": low, "p95": high, "p99": highest, "calls": len(times), "rows_per_second": rate}


def _print_profile(entries: list[Entry], calls: int, row: dict[str, Any]) -> None:
    """By operator, then the slowest nodes."""
    total = sum(entry.us for entry in entries)
    print(f"where ONNX Runtime spends a call of batch {row['batch']}, mean of {calls} calls: {total:.1f} us in nodes")
    print(f"(a call takes {row['median']:.1f} us; the profiler makes short nodes longer, most of all those of loops)")
    for entry in by_operator(entries):
        print(f"{entry.us:>12.1f} us {entry.share:>7.1%}  {entry.op:<20} {entry.count} node{'s'[: entry.count > 1]}")
    print("the slowest nodes:")
    for entry in entries[:SHOWN_NODES]:
        shape = " x ".join(map(str, entry.shape))
        print(f"{entry.us:>12.1f} us {entry.share:>7.1%}  {entry.op:<20} {entry.node} {shape}".rstrip())
    if rest := entries[SHOWN_NODES:]:
        print(f"{sum(e.us for e in rest):>12.1f} us {sum(e.share for e in rest):>7.1%}  in {len(rest)} others")


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = [0]
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"--batch must be positive numbers such as 1,64, got {text!r}")
    return sizes
