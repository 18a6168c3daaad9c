"""Millions of rows through ``pullback eval``: ``python -m tests.runtime.long_job [--rows N] [--from .parquet] ...``.

Evaluates a file once undisturbed and once killed (SIGKILL) at random moments and resumed, compares the outputs byte by
byte, and prints the largest resident memory of either. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import filecmp
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

NET = Path(__file__).parent / "fixtures" / "net.pullback"
LIMIT = 300 * 10**6
_BLOCK = 2**20


def write_rows(path: Path, rows: int) -> None:
    """Normal numbers, some at a time, as npy, csv or Parquet."""
    rng, blocks = np.random.default_rng(1), [min(_BLOCK, rows - start) for start in range(0, rows, _BLOCK)]
    arrays = (rng.standard_normal((count, 3), np.float32) for count in blocks)
    names = [f"x[{i}]" for i in range(3)]
    if path.suffix == ".npy":
        with open(path, "wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 3)}
            np.lib.format.write_array_header_1_0(stream, header)
            stream.writelines(array.data for array in arrays)
    elif path.suffix == ".csv":
        with open(path, "w", encoding="utf-8") as text:
            text.write(",".join(names) + "\n")
            for array in arrays:
                text.writelines(f"{a:.9g},{b:.9g},{c:.9g}\n" for a, b, c in array.tolist())
    else:
        import pyarrow
        import pyarrow.parquet

        schema = pyarrow.schema([(name, pyarrow.float32()) for name in names])
        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            for array in arrays:
                columns = [pyarrow.array(column) for column in np.ascontiguousarray(array.T)]
                writer.write_table(pyarrow.table(columns, schema))


def evaluate(source: Path, target: Path, seconds: float | None = None, *options: str) -> tuple[bool, float, int]:
    """Whether it came to its end before it was killed, the seconds it took, and its largest resident memory."""
    command = [sys.executable, "-m", "pullback.cli", "eval", str(NET), str(source), "-o", str(target), *options]
    start, largest = time.monotonic(), 0
    process = subprocess.Popen([*command, "--quiet"])
    while process.poll() is None:
        largest = max(largest, _resident(process.pid))
        if seconds is not None and time.monotonic() - start > seconds:
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        time.sleep(0.01)
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{command}: exit code {process.returncode}")
    return process.returncode == 0, time.monotonic() - start, largest


def _resident(pid: int) -> int:
    """The high-water mark of the process in bytes; 0 when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> int:
    """Print the figures; 1 when the outputs differ or memory was beyond the limit."""
    parser = argparse.ArgumentParser("python -m tests.runtime.long_job")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--from", dest="source", default=".npy", choices=(".npy", ".csv", ".parquet"))
    parser.add_argument("--to", dest="target", default=".npz", choices=(".npz", ".csv", ".parquet"))
    options = parser.parse_args()
    same, largest = measure(options.rows, options.kills, options.seed, options.source, options.target)
    return 0 if same and largest < LIMIT else 1


def measure(rows: int, kills: int, seed: int, source_kind: str, target_kind: str) -> tuple[bool, int]:
    """Whether the outputs are equal, and the largest resident memory in bytes."""
    rng, killed, done = random.Random(seed), 0, False
    with tempfile.TemporaryDirectory(prefix="long-job-") as name:
        source, calm, stormy = Path(name) / f"rows{source_kind}", Path(name) / f"a{target_kind}", Path(name) / "b"
        stormy = stormy.with_suffix(target_kind)
        write_rows(source, rows)
        _, needed, largest = evaluate(source, calm)
        print(f"undisturbed: {rows:,} rows in {needed:.1f} s, {largest / 1e6:.0f} MB resident", flush=True)
        while not done:
            seconds = rng.uniform(0, needed * 0.6) if killed < kills else None
            resume = ["--resume"] if stormy.with_name(stormy.name + ".part").exists() else []
            done, spent, memory = evaluate(source, stormy, seconds, *resume)
            largest, killed = max(largest, memory), killed + (not done)
            what = "finished" if done else "killed"
            print(f"{'resumed, ' if resume else ''}{what} after {spent:.1f} s, {memory / 1e6:.0f} MB", flush=True)
        same = filecmp.cmp(calm, stormy, shallow=False)
    verdict = "equal" if same else "DIFFERENT"
    print(f"{killed} kills; outputs {verdict}; at most {largest / 1e6:.0f} MB of {LIMIT / 1e6:.0f}")
    return same, largest


if __name__ == "__main__":
    sys.exit(main())
