"""Millions of rows through ``pullback eval``: ``python -m tests.runtime.long_job [ROWS] [KILLS] [SEED]``.

Evaluates a file once undisturbed and once killed (SIGKILL) at random moments and resumed, compares the outputs byte by
byte, and prints the largest resident memory of either. Linux only: it reads /proc.
"""

from __future__ import annotations

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


def write_rows(path: Path, rows: int) -> None:
    """Normal numbers, some at a time."""
    rng, header = np.random.default_rng(1), {"descr": "<f4", "fortran_order": False, "shape": (rows, 3)}
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, rows, 2**20):
            stream.write(rng.standard_normal((min(2**20, rows - start), 3), np.float32).data)


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


def main(rows: int = 10_000_000, kills: int = 5, seed: int = 0) -> int:
    """Print the figures; 1 when the outputs differ or memory was beyond the limit."""
    rng, largest, killed = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory(prefix="long-job-") as name:
        source, calm, stormy = (Path(name) / file for file in ("rows.npy", "calm.npz", "stormy.npz"))
        write_rows(source, rows)
        _, needed, largest = evaluate(source, calm)
        print(f"undisturbed: {rows:,} rows in {needed:.1f} s, {largest / 1e6:.0f} MB resident", flush=True)
        done = False
        while not done:
            seconds = rng.uniform(0, needed * 0.6) if killed < kills else None
            resume = ["--resume"] if stormy.with_name("stormy.npz.part").exists() else []
            done, spent, memory = evaluate(source, stormy, seconds, *resume)
            largest, killed = max(largest, memory), killed + (not done)
            what = "finished" if done else "killed"
            print(f"{'resumed, ' if resume else ''}{what} after {spent:.1f} s, {memory / 1e6:.0f} MB", flush=True)
        same = filecmp.cmp(calm, stormy, shallow=False)
    verdict = "equal" if same else "DIFFERENT"
    print(f"{killed} kills; outputs {verdict}; at most {largest / 1e6:.0f} MB of {LIMIT / 1e6:.0f}")
    return 0 if same and largest < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
