"""One artifact on one sample: every output against the truth, with as much around the sample as decides."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from pullback.manifest import Tolerance
from pullback.parity import Report, Row

from pullback_export.gate.live_answers import AcceptedSample
from pullback_export.gate.live_model import Arrays
from pullback_export.gate.verdicts.both_sides import Ask, BothSides
from pullback_export.gate.verdicts.bounds import Bounds
from pullback_export.gate.verdicts.surroundings import SPORADIC
from pullback_export.gate.verdicts.verdict import LARGEST_LIVE_ERROR, Array, Verdict, assess, rows_off


def compare_sample(
    stage: str,
    accepted: AcceptedSample,
    actual: Arrays,
    bounds: Bounds,
    derivatives: set[str],
    least: Mapping[str, float],
    ask: Ask,
) -> tuple[Report, set[int]]:
    """One row per output: against the truth where it has one, else against the live model; ``ask`` the artifact more.

    And the rows of the sample that fit no comparison elsewhere: they were skipped, or lie beside a kink.
    """
    rows: list[Row] = []
    notes: list[str] = []
    unfit: set[int] = set()
    sides = BothSides(accepted.surroundings, ask)
    for name in dict.fromkeys((*accepted.reference, *actual)):
        if name not in accepted.reference or name not in actual:
            which = "missing from the result" if name in accepted.reference else "not expected"
            rows.append(Row(stage, name, "", (), math.nan, math.nan, math.nan, 0.0, None, problem=which))
            continue
        verdict = _verdict(stage, accepted, name, actual[name], bounds.of(name), least.get(name, 0.0), sides)
        row = verdict.row
        if name in derivatives and row.scale == 0 and actual[name].size:
            row = dataclasses.replace(row, warning="the derivative is zero in every sample")
        rows.append(row)
        unfit |= {*verdict.skipped, *verdict.around}
        if verdict.skipped:
            notes.append(_skipped_note(accepted, name, verdict.skipped))
        if verdict.around:
            notes.append(_around_note(accepted, name, verdict.around))
    return Report(tuple(rows), tuple(notes)), unfit


def _verdict(
    stage: str,
    accepted: AcceptedSample,
    name: str,
    actual: Array,
    tolerance: Tolerance,
    least: float,
    sides: BothSides,
) -> Verdict:
    """What lies around the sample is evaluated only where it decides, and as far as it does."""
    bound = tolerance.of(str(accepted.reference[name].dtype))
    expected = dataclasses.replace(accepted.expected(name, least), sure=SPORADIC)
    found = assess(stage, name, expected, actual, bound)
    comparable = actual.shape == expected.live.shape and actual.dtype == expected.live.dtype
    if found.row.ok or not comparable:
        return found
    rows = rows_off(expected, actual, found.row.bound * found.row.scale)
    if accepted.independent:  # whether what the live model is off by is rounding is decided beside those rows
        rows = sorted({*rows, *np.flatnonzero(expected.row_errors > SPORADIC * expected.scale).tolist()})
    for more in accepted.surroundings.informed(name, expected, rows):
        expected = more
        found = assess(stage, name, expected, actual, bound)
        if found.row.ok:
            return found
    if not expected.draws:  # nothing is known there
        expected = dataclasses.replace(expected, sure=LARGEST_LIVE_ERROR)
        found = assess(stage, name, expected, actual, bound)
    explained = sides.explained(name, expected, actual, found.row.bound * found.row.scale)
    return found if explained is expected else assess(stage, name, explained, actual, bound)


def _skipped_note(accepted: AcceptedSample, name: str, rows: Sequence[int]) -> str:
    return (
        f"{accepted.sample.label}: {_rows(accepted, rows)}{name} skipped: the live model is not finite there, loses all"
        " digits, or changes by more than the tolerance when its inputs move by a unit in the last place"
    )


def _around_note(accepted: AcceptedSample, name: str, rows: Sequence[int]) -> str:
    return (
        f"{accepted.sample.label}: {_rows(accepted, rows)}{name} compared around it: rounding decides there on which"
        " side of a kink it lies, and artifacts agree with the truth at points that are closer than the tolerance"
    )


def _rows(accepted: AcceptedSample, rows: Sequence[int]) -> str:
    if not accepted.independent:
        return ""
    return f"row(s) {', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''} of "
