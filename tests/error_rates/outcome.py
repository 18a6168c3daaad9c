"""What the gate says of one export, right or wrong."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import pullback

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
        with fault.planted() as planted:
            try:
                subject.export(path)
            except pullback.ParityError as refusal:
                return ("caught", "") if planted.changed else ("not planted", _line(refusal))
            except Exception as problem:  # the mistake stops the conversion: loud, but no proof of the gate
                return "stopped", f"{type(problem).__name__}: {_line(problem)}"
        if not planted.changed:
            return "not planted", ""
        error = subject.error(pullback.load(path))
        return ("missed", f"off by {error:.2g} of the largest") if error > VISIBLE else ("unseen", "")


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
