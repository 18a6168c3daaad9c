"""Points beside a sample, one unit in the last place away: asked for only where an artifact is off from the truth.

They tell two things apart. The live model's error *from the truth there* is another draw of its rounding, of which the
sample itself may have had a lucky one. And where the truth jumps, as at a tie or a kink, it is not determined by
inputs of this precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pullback_export.derivatives.plan import Function
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.live_model import Arrays, live, live_rows, rows_of
from pullback_export.gate.verdicts.rounding_noise import moved_by_units
from pullback_export.gate.verdicts.verdict import LARGEST_LIVE_ERROR, Array, Expected

# Steps in units in the last place: the same way everywhere, or with random signs (None).
STEPS = (1.0, -1.0, None, None, None, None, None, None)


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """``function`` and its ``exact`` form beside ``inputs``; ``parted``: rows do not influence each other."""

    function: Function
    exact: ExactFunction
    inputs: Arrays
    parted: bool
    _known: dict[tuple[int, ...], list[tuple[Arrays, Arrays]]] = dataclasses.field(default_factory=dict)

    def informed(self, name: str, expected: Expected, rows: Sequence[int]) -> Expected:
        """``expected`` with what the neighbours of ``rows`` say; all rows where they influence each other."""
        truth = expected.truth[list(rows)] if self.parted else expected.truth
        spread = np.zeros(len(np.atleast_1d(expected.live)))
        moves = np.zeros(np.atleast_1d(expected.live).shape)
        others, scale = expected.others, expected.scale
        for found, exact in self._answers(tuple(rows) if self.parted else ()):
            errors = _errors(exact[name], truth)
            moved = errors.reshape(len(errors), -1).max(axis=1, initial=0.0)
            where = list(rows) if self.parted else slice(None)
            moves[where] = np.maximum(moves[where], errors)
            if self.parted:
                spread[list(rows)] = np.maximum(spread[list(rows)], moved)
            else:
                spread = np.maximum(spread, float(np.max(moved, initial=0.0)))
            here = Expected(found[name], exact[name])
            own = here.live_error / scale if scale else 0.0
            others = max(others, own if own <= LARGEST_LIVE_ERROR else 0.0)
        return dataclasses.replace(expected, others=others, spread=spread, moves=moves)

    def _answers(self, rows: tuple[int, ...]) -> list[tuple[Arrays, Arrays]]:
        if rows not in self._known:
            points = [self._moved(number, rows) for number in range(len(STEPS))]
            ask = live_rows if self.parted else live
            found = [(ask(self.function, point), self.exact(point)) for point in points]
            self._known[rows] = [(answer, truth) for answer, truth in found if answer is not None]
        return self._known[rows]

    def _moved(self, number: int, rows: tuple[int, ...]) -> Arrays:
        rng = np.random.default_rng((13, number))
        floats = {spec.name for spec in self.function.inputs if spec.dtype.is_floating}
        point = {
            name: moved_by_units(array, STEPS[number], rng) if name in floats else array
            for name, array in self.inputs.items()
        }
        return rows_of(point, list(rows)) if self.parted else point


def _errors(left: Array, right: Array) -> Array:
    """How far apart each pair of numbers is; infinite where one is finite and the other is not."""
    left, right = np.atleast_1d(left.astype(np.float64)), np.atleast_1d(right.astype(np.float64))
    both = np.isfinite(left) & np.isfinite(right)
    error = np.abs(np.subtract(left, right, where=both, out=np.zeros(left.shape)))
    return np.asarray(np.where(np.isfinite(left) != np.isfinite(right), np.inf, error))
