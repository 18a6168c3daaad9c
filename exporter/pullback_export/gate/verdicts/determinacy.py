"""Is the live model's answer determined by its inputs? At a tie or a kink, and where it overflows, it is not.

The inputs move by a unit in the last place, to one side, to the other and to either at random: what then changes by
more than the tolerance is no verdict on anybody, since the same inputs in another rounding would say something else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pullback.parity import Report, Row

from pullback_export.derivatives.plan import Function
from pullback_export.gate.live_answers import Judged
from pullback_export.gate.live_model import Arrays, live
from pullback_export.gate.sampling.resizing import is_mask

Array = np.ndarray[Any, Any]
# Directions in which inputs move: all up, all down, and at random.
UP_AND_DOWN = (1.0, -1.0)
RANDOM = 6
# The share of what is off that has to be undetermined, where rows cannot be told apart: not every tie meets a move.
MOST = 0.9


class Spares:
    """Spares artifacts a verdict by drawn samples where these determine none; ``used`` are those samples' numbers."""

    def __init__(self, function: Function, judged: Mapping[int, Judged], parted: bool) -> None:
        self._of = {
            number: Determinacy(function, item.inputs, item.reference, item.best, parted)
            for number, item in judged.items()
            if item.sample.given is None
        }
        self._labels = {number: item.sample.label for number, item in judged.items()}
        self.used: set[int] = set()
        self._refused: set[int] = set()

    @property
    def notes(self) -> tuple[str, ...]:
        """Samples that the live model takes in the company of others only."""
        return tuple(
            f"{self._labels[number]}: the live model does not take it alone; left out"
            for number in sorted(self._refused)
        )

    def is_refused(self, number: int) -> bool:
        """Whether the live model does not take this sample alone: answers come from many samples at once."""
        if number in self._of and self._of[number].is_refused():
            self.used.add(number)
            self._refused.add(number)
        return number in self._refused

    def spared(self, number: int, report: Report, actual: Mapping[str, Array]) -> Report:
        """``report`` of ``actual`` at the sample of this number; that of the caller's as it is."""
        if number not in self._of:
            return report
        found = self._of[number].spared(report, actual, self._labels[number])
        if len(found.failures) < len(report.failures):
            self.used.add(number)
        return found


class Determinacy:
    """What becomes of the live model's ``reference`` at ``inputs`` when these move; asked for once, as far as needed.

    ``best`` is what artifacts are compared with: the truth, where there is one.
    ``parted``: rows do not influence each other, so that each is determined or not on its own.
    """

    def __init__(self, function: Function, inputs: Arrays, reference: Arrays, best: Arrays, parted: bool) -> None:
        self._function = function
        self._inputs = inputs
        self._reference = reference
        self._best = best
        self._parted = parted
        self._moved: list[Arrays] = []
        self._left = self._probes()

    def is_refused(self) -> bool:
        """Whether the live model does not take the inputs as they are, without other samples beside them."""
        return live(self._function, self._inputs) is None

    def spared(self, report: Report, actual: Mapping[str, Array], label: str) -> Report:
        """``report`` of ``actual`` without what is off where the reference is not determined, and notes that say so."""
        rows, notes = [], []
        for row in report.rows:
            off = None if row.ok else self._off(row, actual)
            if off is None or not self._excuses(row, off):
                rows.append(row)
                continue
            rows.append(self._rest(row, off, np.asarray(actual[row.output])))
            at = sorted(set(np.argwhere(off)[:, 0].tolist())) if self._parted else []
            where = f"row(s) {', '.join(map(str, at[:8]))}{', ...' if len(at) > 8 else ''} of " if at else ""
            notes.append(
                f"{label}: {where}{row.output} left out: the live model is not finite there, or changes by more than"
                " the tolerance when its inputs move by a unit in the last place"
            )
        return Report(tuple(rows), report.notes + tuple(notes))

    def _off(self, row: Row, actual: Mapping[str, Array]) -> Array | None:
        """Which entries are off; None where that is not a matter of numbers, or none is finite any more."""
        got, want = np.asarray(actual.get(row.output)), self._best.get(row.output)
        if want is None or got.shape != want.shape or got.dtype != want.dtype or (self._parted and not want.ndim):
            return None
        if want.dtype.kind != "f":
            return np.asarray(got != want)
        with np.errstate(all="ignore"):
            near = np.abs(got.astype(np.float64) - want) <= row.bound * row.scale
        return np.asarray(~(near | (got == want) | (np.isnan(got) & np.isnan(want))))

    def _excuses(self, row: Row, off: Array) -> bool:
        """Whether all of what is off is undetermined, asking for one move after the other."""
        want = self._reference[row.output]
        undetermined = ~np.isfinite(want) if want.dtype.kind == "f" else np.zeros(want.shape, bool)
        for moved in self._answers():
            if self._covers(undetermined, off):
                break
            with np.errstate(all="ignore"):
                change = np.abs(moved[row.output].astype(np.float64) - want)
            undetermined |= ~(change <= row.bound * row.scale)
        return bool(off.any()) and self._covers(undetermined, off)

    def _covers(self, undetermined: Array, off: Array) -> bool:
        if not self._parted:
            return bool((undetermined & off).sum() >= MOST * off.sum())
        axes = tuple(range(1, off.ndim))
        return not (off.any(axis=axes) & ~undetermined.any(axis=axes)).any()

    def _rest(self, row: Row, off: Array, got: Array) -> Row:
        """The row of what is left."""
        with np.errstate(all="ignore"):
            error = np.abs(got.astype(np.float64) - self._best[row.output])
        error = np.where(off | ~np.isfinite(error), 0.0, error)
        worst = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape)) if error.size else None
        rms = float(np.sqrt(np.mean(np.square(error)))) if error.size else 0.0
        largest = float(error.max(initial=0.0))
        return dataclasses.replace(row, max_error=largest, rms_error=rms, worst=worst, problem="")

    def _answers(self) -> Iterator[Arrays]:
        """What was asked for already, then more."""
        yield from tuple(self._moved)
        for inputs in self._left:
            answer = live(self._function, inputs)
            if answer is not None and all(answer[name].shape == a.shape for name, a in self._reference.items()):
                self._moved.append(answer)
                yield answer

    def _probes(self) -> Iterator[Arrays]:
        rng = np.random.default_rng(12)
        for sign in UP_AND_DOWN:
            yield {name: _moved(array, np.float64(sign)) for name, array in self._inputs.items()}
        for _ in range(RANDOM):
            yield {name: _moved(array, rng.choice((-1.0, 1.0), array.shape)) for name, array in self._inputs.items()}


def _moved(array: Array, signs: Any) -> Array:
    """Zeros move by a unit of the other numbers, or of one where there are no others."""
    if array.dtype.kind != "f" or (is_mask(array) and array.any()):
        return array
    finite = np.abs(array[np.isfinite(array)], dtype=np.float64)
    usual = float(finite[finite > 0].mean()) if (finite > 0).any() else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        unit = np.finfo(array.dtype).eps * np.where(array == 0, usual, np.abs(array))
        return np.asarray(array + signs * unit, array.dtype)
