"""Rows per second of ``pullback eval`` against those of a call in memory: ``python -m tests.benchmarks.eval_rate``.

The command is run in this process, from an npy file of inputs to an npy file of results on the same disk, and so is one
call for all rows, in turn; the ratio is the median over the rounds, of wall times and of processor times. Starting the
interpreter is not counted, loading the bundle is.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pullback
from pullback import cli

TESTS = Path(__file__).parents[1]
AIM = 0.5

# A bundle and the result that is fetched.
ROWS = (
    ("golden/v1/bowl", "dy_dx"),
    ("golden/v1/bowl", "y"),
    ("runtime/fixtures/net", "dy_dx"),
)


@dataclasses.dataclass(frozen=True)
class Rate:
    """Seconds of either, and the rate of the command over that of the call."""

    row: str
    call: float
    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.row:34} {self.call:10.3f} {self.wall:10.2f} {self.processor:10.2f}"


def measure(name: str, result: str, rows: int, rounds: int, *options: str) -> Rate:
    """One row."""
    path = TESTS / f"{name}.pullback"
    bundle = pullback.load(path)
    (tensor,) = bundle.spec.inputs
    shape = [size for size in tensor.shape[1:] if isinstance(size, int)]
    x = np.random.default_rng(0).normal(size=(rows, *shape)).astype(tensor.dtype)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "x.npy"), Path(folder, "out.npy")
        np.save(source, x)
        line = ["eval", str(path), str(source), "-o", str(target), "--fetch", result, "--overwrite", "--quiet"]

        def command() -> None:
            if cli.main([*line, *options]):
                raise SystemExit("pullback eval failed")

        def call() -> None:
            bundle(x, fetch=(result,))

        times = [(taken(call), taken(command)) for _ in range(1 + rounds)][1:]
        expected = bundle(x, fetch=(result,))[0]
        np.testing.assert_allclose(np.load(target), expected, rtol=1e-5, atol=1e-6 * float(np.abs(expected).max()))
    wall, processor = (statistics.median(a[kind] / b[kind] for a, b in times) for kind in (0, 1))
    return Rate(f"{Path(name).name}: {result}", min(a[0] for a, _ in times), wall, processor)


def taken(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the wall and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> int:
    """Print the table; 1 where the command has less than half of the rate."""
    parser = argparse.ArgumentParser(description="Rows per second of pullback eval against those of a call in memory.")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {arguments.rows} rows")
    print(f"{'rate of the command / of the call':34} {'call, s':>10} {'wall':>10} {'processor':>10}")
    rates = [measure(*row, arguments.rows, arguments.rounds) for row in ROWS]
    print(*rates, sep="\n")
    return int(any(min(rate.wall, rate.processor) < AIM for rate in rates if rate.row.startswith("bowl")))


if __name__ == "__main__":
    raise SystemExit(main())
