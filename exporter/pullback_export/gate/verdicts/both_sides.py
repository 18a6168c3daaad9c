"""An artifact that is off at a sample and right all around it: rounding decides there on which side of a kink it lies.

Deep in a network rounding is far more than what a unit in the last place of the inputs changes, so that a kink may lie
beside a sample where :mod:`pullback_export.gate.verdicts.surroundings` does not find it, and the artifact, which adds
in another order than the live model, on its other side. The artifact itself is asked then at pairs of opposite points
around the sample, closer to it than the tolerance. The excuse is a proof by numbers, for each row that is off:

* at both points of a pair it agrees with the truth *there*, as it would have to at the sample, and by much less than it
  is off: whatever is wrong in it is wrong there, too;
* among these points the truth moves by as much as the artifact is off, give or take :data:`LIVE_FACTOR`, or the live
  model is off by as much beside the sample.

So no row goes without a comparison: it is that of the points. Around a deep network any point may lie beside some other
kink, which is why there are several pairs; a row that is wrong at all points of the first two has no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.gate.live_model import Arrays
from pullback_export.gate.verdicts.surroundings import Surroundings
from pullback_export.gate.verdicts.verdict import LIVE_FACTOR, Array, Expected, moved_by, off_of

# In a network of millions of relus every other point may lie beside a kink of its own.
PAIRS = 12
# After so many pairs, a row that agreed nowhere is wrong.
FIRST = 2
# How much less the artifact is off around a sample than at it.
MUCH = 0.5
# An artifact's answers to several inputs, each to be called: it raises what the artifact raised.
Ask = Callable[[Sequence[Arrays]], Sequence[Callable[[], Arrays]]]


@dataclasses.dataclass(frozen=True)
class BothSides:
    """``ask`` for what an artifact says around a sample, of which ``surroundings`` knows the truth."""

    surroundings: Surroundings
    ask: Ask
    _known: dict[tuple[int, tuple[int, ...]], list[Arrays | None]] = dataclasses.field(default_factory=dict)

    def explained(self, name: str, expected: Expected, actual: Array, allowed: float) -> Expected:
        """``expected`` with the rows that are right around the sample, if all are that are off by more than is
        ``allowed``; else as it was."""
        if expected.live.dtype.kind != "f":
            return expected
        given = actual.astype(np.float64)
        off = off_of(expected.wanted, given, allowed)
        rows = np.flatnonzero(expected.in_rows(off).any(axis=1) & ~expected.undetermined(off, allowed))
        if not rows.size or not self._are_right(name, expected, given, rows, allowed):
            return expected
        around = np.zeros(len(expected.in_rows(off)), bool)
        around[rows] = True
        return dataclasses.replace(expected, around=around)

    def _are_right(self, name: str, expected: Expected, given: Array, rows: Array, allowed: float) -> bool:
        here = expected.in_rows(expected.best)[rows]
        off = moved_by(expected.in_rows(expected.wanted)[rows], expected.in_rows(given)[rows]).max(axis=1)
        moved = np.max([np.zeros(len(rows)), *(draw[rows] for draw in expected.draws)], axis=0)
        agreed, settled = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        for number in range(PAIRS):
            found = self._pair(number, name, rows, expected)
            if found is None:
                return False
            both = np.ones(len(rows), bool)
            for best, answer in found:
                near = moved_by(best, answer).max(axis=1) <= np.minimum(allowed, MUCH * off)
                moved = np.maximum(moved, moved_by(here, best).max(axis=1))
                both, agreed = both & near, agreed | near
            settled |= both
            if (settled & (off <= LIVE_FACTOR * moved)).all():
                return True
            if number + 1 == FIRST and not agreed.all():
                return False
        return False

    def _pair(self, number: int, name: str, rows: Array, expected: Expected) -> list[tuple[Array, Array]] | None:
        """What is best and what the artifact says at two opposite points, ``(rows, rest)``; None where one fails."""
        key = (number, tuple(rows.tolist()))
        around = self.surroundings.around(number, key[1], expected.has_truth)
        if key not in self._known:
            answers = self.ask([point for point, _ in around])
            self._known[key] = [_answered(answer) for answer in answers]
        found = []
        for (_, best), answer in zip(around, self._known[key], strict=True):
            if best is None or answer is None or name not in answer or best[name].shape != answer[name].shape:
                return None
            found.append((best[name].reshape(len(rows), -1), answer[name].reshape(len(rows), -1)))
        return found if all(best.shape[1] == expected.in_rows(expected.live).shape[1] for best, _ in found) else None


def _answered(answer: Callable[[], Any]) -> Arrays | None:
    try:
        found: Arrays = answer()
    except Exception:  # whatever it is, nothing is right there
        return None
    return found
