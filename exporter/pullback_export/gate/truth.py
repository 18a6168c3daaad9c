"""What the exact reference says of the samples, and whether it speaks of the live model."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from pullback.parity import Report, Row

from pullback_export.derivatives.plan import Function
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.live_model import (
    Arrays,
    distinct,
    in_every_row,
    in_pieces,
    joined,
    of_one_size,
    row_count,
    rows_at_once,
    rows_of,
)
from pullback_export.gate.samples import Sample
from pullback_export.gate.supervision import limits

# Far closer than models that differ in more than their precision; at least half of the ordinary rows have to be.
AGREEMENT = 1e-3


@dataclasses.dataclass(frozen=True)
class Truth:
    """The ``answers`` to each sample in float64, of the outputs in ``names`` that the live model agrees with."""

    answers: Sequence[Arrays | None]
    names: frozenset[str]
    report: Report

    def of(self, index: int) -> Arrays:
        """The outputs of one sample; none where there is no exact reference."""
        answer = self.answers[index]
        return {} if answer is None else {name: array for name, array in answer.items() if name in self.names}


def without_truth(count: int, reason: str = "") -> Truth:
    """For what has no exact reference."""
    return Truth([None] * count, frozenset(), Report(notes=(reason,) if reason else ()))


def truth_of(
    function: Function,
    exact: ExactFunction,
    samples: Sequence[Sample],
    inputs: Sequence[Arrays],
    live: Sequence[Arrays | None],
    independent: bool,
    agreement: float = AGREEMENT,
) -> Truth:
    """What ``exact`` says where the live model takes the sample; ``independent``: rows do not influence each other."""
    try:
        coverage = exact.coverage
        answers, missing = _answers(exact, samples, inputs, live, independent)
    except (LookupError, ValueError) as problem:
        said = " ".join(str(problem).split())[:200]
        return without_truth(len(samples), f"{function.name}: no exact reference: {said}; the live model is asked")
    notes = Report(notes=(f"{function.name}: the truth has {coverage}", *missing))
    names = set()
    for name in function.outputs:
        row = agreement_of(function.name, name, samples, live, answers, independent, agreement)
        names |= {name} if not row.warning else set()
        notes += Report((row,)) if row.warning else Report()
    return Truth(answers, frozenset(names), notes)


def _answers(
    exact: ExactFunction,
    samples: Sequence[Sample],
    inputs: Sequence[Arrays],
    live: Sequence[Arrays | None],
    independent: bool,
) -> tuple[list[Arrays | None], list[str]]:
    """Rows of one size together where they may be, else sample by sample; a note for each that the graph does not take.

    Nothing is asked where there are no rows.
    """
    asked = [
        index
        for index, (item, answer) in enumerate(zip(inputs, live, strict=True))
        if answer is not None and all(array.size for array in item.values())
    ]
    found: list[Arrays | None] = [None] * len(inputs)
    notes: list[str] = []
    for group in of_one_size(inputs, asked, exact.whole) if independent else ():
        together = joined([inputs[index] for index in group], exact.whole) if len(group) > 1 else None
        if together is None:
            continue
        with contextlib.suppress(*_REFUSALS):
            kept, places = distinct(together, exact.whole)
            answer = rows_of(_watched(exact, rows_of(together, kept, exact.whole), independent), places)
            start = 0
            for index in group:
                rows = row_count(inputs[index], exact.whole)
                found[index] = rows_of(answer, slice(start, start + rows))
                start += rows
    for index in asked:
        if found[index] is not None:
            continue
        try:
            found[index] = _watched(exact, inputs[index], independent)
        except _REFUSALS as problem:
            said = " ".join(str(problem).split())[:200]
            notes.append(f"{samples[index].label}: no truth, the graph in float64 does not take it: {said}")
    return found, notes


_REFUSALS = (tf.errors.OpError, limits.OverLimit)


def _watched(exact: ExactFunction, inputs: Arrays, independent: bool) -> Arrays:
    """``exact(inputs)`` within the limits of an evaluation."""

    def run(some: Arrays) -> Arrays:
        return in_every_row(exact(some), exact.shared, some, exact.whole)

    with limits.watched(f"truth {','.join(exact.names)}"):
        size = rows_at_once(inputs, exact.whole)
        answer = in_pieces(run, inputs, size, exact.whole) if independent else run(inputs)
    assert answer is not None
    return answer


def agreement_of(
    stage: str,
    name: str,
    samples: Sequence[Sample],
    live: Sequence[Arrays | None],
    truth: Sequence[Arrays | None],
    independent: bool,
    agreement: float,
) -> Row:
    """The live model beside the truth on ordinary samples; the row has a warning where most rows disagree."""
    pairs = [
        (sample, one[name], other[name])
        for sample, one, other in zip(samples, live, truth, strict=True)
        if one is not None and other is not None
    ]
    pairs = [pair for pair in pairs if pair[0].smooth] or pairs
    agree = total = 0
    worst = scale = 0.0
    for _, one, other in pairs:
        size = _largest(other)
        errors = _errors(one, other, independent)
        agree += int((errors <= agreement * size).sum())
        total += len(errors)
        worst, scale = max(worst, float(errors.max(initial=0.0))), max(scale, size)
    warning = ""
    if 2 * agree < total:
        warning = (
            f"the traced graph in float64 is not what the live model says in {total - agree} of {total} rows, so"
            " artifacts are compared with the live model"
        )
    return Row(f"{stage}: live model", name, "float64", (), worst, worst, scale, agreement, None, warning=warning)


def _largest(array: np.ndarray[Any, Any]) -> float:
    values = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.zeros(0)
    return float(values.max(initial=0.0))


def _errors(live: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], independent: bool) -> np.ndarray[Any, Any]:
    """The largest error of each row, or of the whole; infinite where one is finite and the other is not."""
    if live.shape != truth.shape:
        return np.full(len(live) if independent else 1, np.inf)
    left, right = live.astype(np.float64), truth.astype(np.float64)
    both, one = np.isfinite(left) & np.isfinite(right), np.isfinite(left) != np.isfinite(right)
    error = np.abs(np.subtract(left, right, where=both, out=np.zeros(left.shape)))
    error = np.where(one, np.inf, error)
    flat = error.reshape(len(error), -1) if independent else error.reshape(1, -1)
    return np.asarray(flat.max(axis=1, initial=0.0))
