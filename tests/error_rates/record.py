"""Outcomes in a file, one JSON line each, so that a run of an hour that is stopped need not begin anew."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from tests.error_rates.outcome import Outcome

Task = tuple[str, int]


class Record:
    """What is known from earlier runs on the same commit; without a path, nothing is read or kept.

    The numbers of the tasks are places in the lists of faults and rows: a record is worth something only as long as
    these do not change.
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        self._path = path
        self.known: dict[Task, Outcome] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                (kind, index), outcome = json.loads(line)
                self.known[kind, index] = Outcome(**outcome)

    def add(self, task: Task, outcome: Outcome) -> None:
        """Keeps ``outcome``, at once."""
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([task, dataclasses.asdict(outcome)]) + "\n")
