"""Engines taken in turn: one process each, one round after the other, so that a slow moment hits them all."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import select
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.benchmarks import engines
from tests.benchmarks.work import Work

ROOT = pathlib.Path(__file__).parents[2]
OPENING_SECONDS = 300
CALL_SECONDS = 180


@dataclasses.dataclass(frozen=True)
class Result:
    """Of one engine in one row: seconds of a call in each round, or why there are none."""

    engine: str
    seconds: tuple[float, ...] = ()
    skipped: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; all engines at one batch size and number of threads."""

    work: str
    batch: int
    threads: int
    results: tuple[Result, ...]

    def ratios(self, engine: str, to: str = engines.FLOOR) -> list[float]:
        """Time of ``engine`` to the time of ``to`` in the same round; empty where one has none."""
        mine, other = (next((r.seconds for r in self.results if r.engine == name), ()) for name in (engine, to))
        return [a / b for a, b in zip(mine, other, strict=False)]


def spread(numbers: list[float]) -> tuple[float, float, float]:
    """Median and quartiles."""
    if len(numbers) < 2:
        return numbers[0], numbers[0], numbers[0]
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return middle, low, high


class Process:
    """An engine in its own process."""

    def __init__(self, engine: engines.Engine, work: Work, folder: pathlib.Path, threads: int) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.worker", engine.name, work.name, str(folder), str(threads)]
        self.engine = engine.name
        self.log = (folder / f"{engine.name}.log").open("w")
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=engines.environment(engine, threads),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next line, or why there is none."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            self.close()
            return {"skipped": f"no answer in {seconds:.0f} s"}
        line = self.process.stdout.readline()
        if not line:
            return {"skipped": f"the process ended with code {self.process.wait()}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def measure(self, batch: int, calls: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"batch": batch, "calls": calls}) + "\n")
        self.process.stdin.flush()
        return self.answer(CALL_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def run(
    work: Work,
    folder: pathlib.Path,
    batches: tuple[int, ...],
    threads: int,
    chosen: tuple[engines.Engine, ...],
    rounds: int,
    slice_seconds: float,
) -> Iterator[Row]:
    """All batch sizes of one piece of work, each as soon as it is measured."""
    processes: list[Process] = []
    skipped: dict[str, str] = {}
    for process in [Process(engine, work, folder, threads) for engine in chosen]:  # they import side by side
        reply = process.answer(OPENING_SECONDS)
        if "ready" in reply:
            processes.append(process)
        else:
            skipped[process.engine] = reply["skipped"]
            process.close()
    try:
        for batch in batches:
            yield _row(work, batch, threads, processes, skipped, rounds, slice_seconds)
    finally:
        for process in processes:
            process.close()


def _row(
    work: Work,
    batch: int,
    threads: int,
    processes: list[Process],
    skipped: dict[str, str],
    rounds: int,
    slice_seconds: float,
) -> Row:
    failed = dict(skipped)
    calls: dict[str, int] = {}
    checks: dict[str, float] = {}
    for process in processes:  # warm up: compile, touch memory, and see how many calls fill a slice
        first = process.measure(batch, 1)
        reply = (
            first if "seconds" not in first else process.measure(batch, 1 if first["seconds"] > slice_seconds else 2)
        )
        if "seconds" not in reply:
            failed[process.engine] = reply.get("error") or reply["skipped"]
            continue
        checks[process.engine] = reply["check"]
        one = reply["seconds"] / (1 if first["seconds"] > slice_seconds else 2)
        calls[process.engine] = max(1, min(5000, round(slice_seconds / max(one, 1e-7))))
    _compare(checks, failed)
    seconds: dict[str, list[float]] = {name: [] for name in calls if name not in failed}
    for _ in range(rounds if all(calls[name] > 1 for name in seconds) else (rounds + 1) // 2):  # long calls: half
        for process in processes:
            if process.engine in seconds:
                reply = process.measure(batch, calls[process.engine])
                if "seconds" in reply:
                    seconds[process.engine].append(reply["seconds"] / calls[process.engine])
                else:
                    failed[process.engine] = reply.get("error") or reply["skipped"]
                    del seconds[process.engine]
    results = [Result(name, tuple(times)) for name, times in seconds.items()]
    results += [Result(name, (), reason) for name, reason in failed.items()]
    order = [engine.name for engine in engines.ENGINES]
    return Row(work.name, batch, threads, tuple(sorted(results, key=lambda result: order.index(result.engine))))


def _compare(checks: dict[str, float], failed: dict[str, str]) -> None:
    """An engine that computes something else is not ahead, it is wrong."""
    expected = checks.get("pullback")
    for name, found in checks.items():
        if expected and name != engines.FLOOR and not abs(found - expected) <= 1e-2 * abs(expected):
            failed[name] = f"another result: sum of absolute values {found:.6g}, not {expected:.6g}"
