"""What the gate says of one export, right or wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import pullback

from tests.error_rates.faults import Planted
from tests.error_rates.rows import export_row
from tests.error_rates.subjects import Subject
from tests.lowering.case import Case

# A number that differs by more than this part of the largest is wrong, whatever the tolerance of the row.
VISIBLE = 1e-4


@dataclasses.dataclass(frozen=True)
class Outcome:
    """``verdict``: caught, missed, unseen (the fault changed no number), not planted; accepted, refused."""

    name: str
    family: str
    kind: str
    verdict: str
    detail: str = ""


def try_fault(fault: Any, subjects: Sequence[Subject]) -> Outcome:
    """Plants ``fault`` under each subject in turn, until one shows what the gate says of it."""
    last = Outcome(fault.name, fault.family, fault.kind, "not planted")
    for subject in subjects:
        verdict, detail = _under_fault(fault, subject)
        place = f"{subject.name}: {detail}" if detail else subject.name
        if verdict != "not planted" or last.verdict == "not planted":
            last = Outcome(fault.name, fault.family, fault.kind, verdict, place)
        if verdict in ("caught", "missed"):
            return last
    return last


def _under_fault(fault: Any, subject: Subject) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "it.pullback"
        with fault.planted() as planted, _only_if_changed(planted):
            try:
                subject.export(path)
            except _Unchanged:
                return "not planted", ""
            except pullback.ParityError:
                return "caught", ""
            except Exception as problem:  # the mistake stops the conversion: loud, but no proof of the gate
                return "stopped", f"{type(problem).__name__}: {_line(problem)}"
        error = subject.error(pullback.load(path))
        return ("missed", f"off by {error:.2g} of the largest") if error > VISIBLE else ("unseen", "")


class _Unchanged(BaseException):
    """No result of the conversion is another one: the gate is not asked. No export takes it for a failure."""


@contextlib.contextmanager
def _only_if_changed(planted: Planted) -> Iterator[None]:
    """Inside, an export that ``planted`` has changed nothing of ends where the gate would begin."""
    exporting = importlib.import_module("pullback_export.export")
    gate = exporting.check

    def check(*arguments: Any) -> Any:
        if not planted.changed:
            raise _Unchanged
        return gate(*arguments)

    with mock.patch.object(exporting, "check", check):
        yield


def _line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]


def try_right(case: Case, dtype: str, free: bool) -> Outcome:
    """Exports a row as it is: the gate must accept."""
    name = f"{case.name}, {dtype}, {'free' if free else 'fixed'} sizes"
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_row(case, dtype, free, pathlib.Path(folder) / "it.pullback")
        except Exception as problem:
            return Outcome(name, "", "right export", "refused", f"{type(problem).__name__}: {_line(problem)}")
    return Outcome(name, "", "right export", "accepted")
