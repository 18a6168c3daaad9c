"""Tries faults and rows in processes of their own, so that one that dies is a finding and not the end."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

from tests.error_rates.faults import all_faults
from tests.error_rates.outcome import Outcome, try_fault, try_right
from tests.error_rates.record import Task
from tests.error_rates.rows import NOT_RIGHT
from tests.error_rates.subjects import NETWORKS, SIZED, RowSubject, Subject
from tests.lowering.case import Case
from tests.lowering.test_rules import ROWS

# What a process does before it is replaced by a new one: TensorFlow keeps every function that it ever traced.
TASKS_PER_PROCESS = 150
# Rows that are tried for one fault at most, until one shows it.
MOST_ROWS = 6
# What one task may take: far more than any needs, and than the gate's own limit for one sample.
SECONDS = 180.0


def tasks(every: int, only: str | None) -> list[Task]:
    """Each N-th fault and each N-th right row."""
    faults = [] if only == "rows" else [("fault", index) for index in range(len(all_faults()))]
    rows = [] if only == "faults" else [("row", index) for index in range(len(right_rows()))]
    return faults[::every] + rows[::every]


def right_rows() -> list[tuple[Case, str, bool]]:
    """Every variant of every row that is right with cotangents too."""
    right = [case for case in ROWS if case.name not in NOT_RIGHT]
    return [(case, dtype, free) for case in right for dtype in case.dtypes for free in case.free]


def run(chosen: Sequence[Task], processes: int) -> Iterator[tuple[Task, Outcome]]:
    """Each task with its outcome, as they come; a process that dies or takes too long is a finding."""
    waiting = list(reversed(chosen))
    workers = [Worker() for _ in range(processes)]
    try:
        while waiting or any(worker.task is not None for worker in workers):
            for worker in workers:
                if worker.task is None and waiting:
                    worker.start(waiting.pop())
            multiprocessing.connection.wait([worker.connection for worker in workers], timeout=1)
            for worker in workers:
                task, found = worker.task, worker.outcome()
                if task is not None and found is not None:
                    yield task, found
    finally:
        for worker in workers:
            worker.stop()


class Worker:
    """A process that does one task after the other; replaced by a new one now and then, and when it fails."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self._renew()

    def _renew(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, other = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()
        self._done = 0

    def start(self, task: Task) -> None:
        """Hands out ``task``."""
        self.task, self._since = task, time.monotonic()
        self.connection.send(task)

    def outcome(self) -> Outcome | None:
        """What came of the task, once that is known."""
        if self.task is None:
            return None
        if self.connection.poll():
            with contextlib.suppress(EOFError, ConnectionError):
                found: Outcome = self.connection.recv()
                self._done += 1
                self.task = None
                if self._done == TASKS_PER_PROCESS:
                    self.stop()
                    self._renew()
                return found
        elif time.monotonic() - self._since < SECONDS and self._process.is_alive():
            return None
        verdict = "died" if time.monotonic() - self._since < SECONDS else "endless"
        name, self.task = _name(self.task), None
        self.stop()
        self._renew()
        return Outcome(name, "", "process", verdict)

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection) -> None:
    """Does tasks; what TensorFlow and ONNX Runtime print of planted faults is of no use to anybody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            connection.send(outcome(connection.recv()))


def outcome(task: Task) -> Outcome:
    """What the gate says."""
    kind, index = task
    if kind == "row":
        return try_right(*right_rows()[index])
    fault = all_faults()[index]
    return try_fault(fault, reaching(fault))


def _name(task: Task) -> str:
    kind, index = task
    return all_faults()[index].name if kind == "fault" else right_rows()[index][0].name


def reaching(fault: Any) -> list[Subject]:
    """Some rows, or for a rewrite all networks, that reach what is at fault; what is at fault in sizes, free ones."""
    if not fault.op_types:
        return list(NETWORKS)
    found = [case for case in ROWS if fault.op_types & set((case.ops,) if isinstance(case.ops, str) else case.ops)]
    spread = found[:: max(1, len(found) // MOST_ROWS)]
    rows = [RowSubject(case) for case in spread[:MOST_ROWS]]
    return [*SIZED, *rows] if fault.family == "sizes" else rows
