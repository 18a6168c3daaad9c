"""Engines taken in turn: one process each, one round after the other, so that a slow moment hits them all."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tests.benchmarks import agreement, bounds, engines, machine
from tests.benchmarks.rows import REFERENCE, Result, Row, ordered
from tests.benchmarks.work import Work

ROOT = pathlib.Path(__file__).parents[2]
OPENING_SECONDS = 300
CALL_SECONDS = 180
MOVES = 3

Array = np.ndarray[Any, Any]


class Process:
    """An engine in its own process; ``variables``: of its environment, besides those of the engine."""

    def __init__(
        self,
        engine: engines.Engine,
        work: Work,
        folder: pathlib.Path,
        threads: int,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.worker", engine.name, work.name, str(folder), str(threads)]
        self.engine = engine.name
        self.log = (folder / f"{engine.name}.log").open("w")
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**engines.environment(engine, threads), **(variables or {})},
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

    def measure(self, batch: int, calls: int, save: pathlib.Path | None = None, moved: int = 0) -> dict[str, Any]:
        """Seconds of ``calls`` calls; ``save``: where the last results are written; ``moved``: see ``inputs.draw``."""
        assert self.process.stdin is not None
        request = {"batch": batch, "calls": calls, "moved": moved} | ({"save": str(save)} if save else {})
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"skipped": f"the process ended with code {self.process.wait()}"}
        return self.answer(CALL_SECONDS if save is None else OPENING_SECONDS)

    def results(self, batch: int, moved: int = 0) -> tuple[dict[str, Array], dict[str, Any]]:
        """Results of one call by name, none where it failed; and the reply."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.npz"
            reply = self.measure(batch, 1, path, moved)
            if "seconds" not in reply:
                return {}, reply
            with np.load(path) as saved:
                return dict(saved), reply

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
            flops = bounds.count(work, folder, batch).flops
            row = _row(work, batch, threads, processes, skipped, rounds, slice_seconds)
            yield dataclasses.replace(row, flops=flops)
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
    calls, failed = _warm_up(processes, batch, slice_seconds)
    failed = {**skipped, **failed}
    seconds: dict[str, list[float]] = {name: [] for name in calls if name not in failed}
    load = os.getloadavg()[0]
    for _ in range(rounds if all(calls[name] > 1 for name in seconds) else (rounds + 1) // 2):  # long calls: half
        for process in processes:
            if process.engine in seconds:
                reply = process.measure(batch, calls[process.engine])
                if "seconds" in reply:
                    seconds[process.engine].append(reply["seconds"] / calls[process.engine])
                else:
                    failed[process.engine] = _reason(reply)
                    del seconds[process.engine]
    date, reference = time.strftime("%Y-%m-%d"), tuple(seconds.get(REFERENCE, ()))
    results = [Result(name, tuple(times), "", reference, date) for name, times in seconds.items()]
    results += [Result(name, (), reason, (), date) for name, reason in failed.items()]
    return Row(work.name, batch, threads, ordered(results), load=load, machine=machine.name())


def _warm_up(processes: list[Process], batch: int, slice_seconds: float) -> tuple[dict[str, int], dict[str, str]]:
    """Compiles, touches memory and compares the answers; how many calls fill a slice, and who failed and why."""
    calls: dict[str, int] = {}
    failed: dict[str, str] = {}
    answers: dict[str, dict[str, Array]] = {}
    for process in processes:
        answer, reply = process.results(batch)
        repeats = 1 if reply.get("seconds", 0) > 10 * slice_seconds else 2
        reply = process.measure(batch, repeats) if "seconds" in reply else reply
        if "seconds" not in reply:
            failed[process.engine] = _reason(reply)
            continue
        answers[process.engine] = answer
        calls[process.engine] = max(1, min(5000, round(slice_seconds * repeats / max(reply["seconds"], 1e-7))))
    return calls, {**failed, **_confirmed(compared(answers), processes, batch)}


def _confirmed(wrong: dict[str, str], processes: Sequence[Process], batch: int) -> dict[str, str]:
    """Those that are wrong at inputs moved by a unit in the last place, too.

    Where a network of millions of relus has a unit at its kink, rounding decides on the derivative; not next to it.
    """
    for moved in range(1, MOVES + 1) if REFERENCE not in wrong else ():
        if not wrong:
            break
        asked = [process for process in processes if process.engine in wrong or process.engine == REFERENCE]
        answers = {process.engine: answer for process in asked if (answer := process.results(batch, moved)[0])}
        again = compared(answers)
        wrong = {name: reason for name, reason in wrong.items() if name in again or name not in answers}
    return wrong


def compared(answers: Mapping[str, Mapping[str, Array]]) -> dict[str, str]:
    """What is wrong with the answers of each engine: one that computes something else is not ahead, it is wrong."""
    if REFERENCE not in answers:
        return dict.fromkeys(answers, f"not compared: {engines.engine(REFERENCE).title} has no answer")
    found = {name: agreement.complaint(answer, answers[REFERENCE]) for name, answer in answers.items()}
    return {name: wrong for name, wrong in found.items() if wrong}


def agree(
    work: Work, folder: pathlib.Path, threads: int, chosen: tuple[engines.Engine, ...]
) -> Iterator[tuple[bool, str]]:
    """Of each engine, whether its answer is wrong at the smallest batch of this work, and a line that says so.

    One that has no answer is not wrong, unless it is Pullback. Two processes at a time: Pullback's and one other.
    """
    batch = min(work.batches)
    reference = Process(engines.engine(REFERENCE), work, folder, threads)
    try:
        expected, reply = _first_answer(reference, batch)
        if not expected:
            yield True, f"{work.name}, {engines.engine(REFERENCE).title}: {_reason(reply)}"
            return
        for engine in (item for item in chosen if item.name != REFERENCE):
            process, started = Process(engine, work, folder, threads), time.perf_counter()
            try:
                answer, reply = _first_answer(process, batch)
                found = compared({REFERENCE: expected, engine.name: answer})
                wrong = _confirmed(found, (reference, process), batch)
            finally:
                process.close()
            verdict = ", ".join(wrong.values()) or _agreement(answer, expected, found) if answer else _reason(reply)
            yield bool(wrong), f"{work.name}, {engine.title}: {verdict} ({time.perf_counter() - started:.0f} s)"
    finally:
        reference.close()


def _first_answer(process: Process, batch: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """Results by name of a process that was just started, none where it failed; and the reply."""
    reply = process.answer(OPENING_SECONDS)
    return process.results(batch) if "ready" in reply else ({}, reply)


def _reason(reply: Mapping[str, Any]) -> str:
    return str(reply.get("error") or reply["skipped"])


def _agreement(answer: Mapping[str, Array], expected: Mapping[str, Array], first: Mapping[str, str]) -> str:
    """How well an engine that is not wrong agrees; ``first``: what was wrong before the inputs were moved."""
    errors = [agreement.difference(answer[name], expected[name]) for name in answer if name in expected]
    if not errors:
        return "has no result that Pullback has"
    further = f", and to {agreement.LARGEST:.0e} a unit in the last place further" if first else ""
    return f"agrees to {max(errors):.1e}{further}"
