"""Points beside a sample, where inputs differ in the last place: the one way to tell what is determined there.

They are evaluated only where an artifact is off, and tell two things apart. The live model's error *there* is another
draw of its rounding, of which the sample itself may have had a lucky one; without a truth, how far its answer moves is
its noise. And where the answer *jumps*, as at a tie or a kink, inputs of this precision do not determine it.

Where large numbers cancel exactly in the order in which the live model adds them, they do so at every point beside it,
too. So at last the graph that the truth is the float64 form of is asked in its own precision, as TensorFlow optimises
it: as both are one graph, its error is rounding and nothing else. No artifact is involved.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.derivatives.plan import Function
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.live_model import Arrays, in_every_row, live, live_rows, row_count, rows_of
from pullback_export.gate.supervision import limits
from pullback_export.gate.verdicts.points_beside import STEPS, Answer, PointsBeside
from pullback_export.gate.verdicts.verdict import LARGEST_LIVE_ERROR, Array, Expected, moved_by

# Units in the last place between a sample and the points around it: less than the tolerance, and more than what the
# rounding of most networks is worth.
AROUND = 64.0
# From here on, relative to the scale, errors of the live model have to be alike at points beside each other.
SPORADIC = 2e-4
ALIKE = 10.0
# A point, and the best answer there; None where it is refused.
Around = tuple[Arrays, Arrays | None]


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """``function`` and its ``exact`` form, where it has one, beside ``inputs``.

    ``independent``: rows do not influence each other. ``drawn``: the sample is not the caller's, and what is zero among
    them moves too. A zero of the caller's, as in padding, is exactly that.
    """

    function: Function
    exact: ExactFunction | None
    inputs: Arrays
    independent: bool
    drawn: bool
    _around: dict[tuple[int, bool, tuple[int, ...]], list[Around]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def _points(self) -> PointsBeside:
        return PointsBeside(self.function, self.inputs, self.independent, self.drawn)

    def is_refused(self) -> bool:
        """Whether the live model rejects the inputs as they are, without other samples beside them."""
        return live(self.function, self.inputs) is None

    def informed(self, name: str, expected: Expected, rows: Sequence[int]) -> Iterator[Expected]:
        """``expected`` with ever more of what is known beside ``rows``, those that an artifact is off in.

        Without a truth the noise of the other rows counts at last: it is that of the same expression.
        """
        exact = self.exact if expected.has_truth else None
        for number in range(len(STEPS)):
            for answer in self._points.answers(number, rows, exact):
                expected = _told(name, expected, answer, rows if self.independent else ...)
            yield expected
        if exact is not None:
            yield self._rounded_by_trace(name, expected, rows)
        count = row_count(self.inputs, self.function.whole) if self.independent and exact is None else 0
        others = sorted(set(range(count)) - set(rows))
        for number in range(len(STEPS)) if others else ():
            for answer in self._points.answers(number, others, exact):
                expected = _told(name, expected, answer, others)
            yield expected

    def around(self, number: int, rows: Sequence[int], has_truth: bool) -> list[Around]:
        """The pair ``number`` of two opposite points around ``rows``, :data:`AROUND` units from them."""
        key = (number, has_truth, tuple(rows) if self.independent else ())
        if key not in self._around:
            points = [self._points.point((number, 2), None, rows, units) for units in (AROUND, -AROUND)]
            exact = self.exact if has_truth else None
            self._around[key] = [(point, self._best_at(exact, point)) for point in points]
        return self._around[key]

    def _best_at(self, exact: ExactFunction | None, point: Arrays) -> Arrays | None:
        if exact is None:
            return live_rows(self.function, point) if self.independent else live(self.function, point)
        try:
            with limits.watched(f"truth {self.function.name}"):
                return self._points.best(exact, point)
        except (tf.errors.OpError, limits.OverLimit):
            return None

    def _rounded_by_trace(self, name: str, expected: Expected, rows: Sequence[int]) -> Expected:
        """``expected`` with the rounding of the traced graph in ``rows``."""
        point = rows_of(self.inputs, list(rows), self.function.whole) if self.independent else self.inputs
        traced = self._trace_at(point)
        if traced is None or expected.live.dtype.kind != "f":
            return expected
        part: Any = rows if self.independent else ...
        there = dataclasses.replace(expected, live=traced[name], truth=expected.best[part])
        if there.live.shape != there.best.shape:
            return expected
        if there.live_error <= SPORADIC * expected.scale:
            return _with_noise(expected, there.live_error)
        draws = [there.row_errors, *self._trace_around(name, there, rows)]
        error = persistent(np.stack(draws) / expected.scale).max(initial=0.0) * expected.scale
        return _with_noise(expected, float(error))

    def _trace_around(self, name: str, expected: Expected, rows: Sequence[int]) -> Iterator[Array]:
        """The traced graph's errors at two points around ``rows``: a jump at the sample alone is no rounding."""
        for point, best in self.around(0, rows, True):
            traced = self._trace_at(point)
            if traced is not None and best is not None and traced[name].shape == best[name].shape:
                yield dataclasses.replace(expected, live=traced[name], truth=best[name]).row_errors

    def _trace_at(self, point: Arrays) -> Arrays | None:
        """What the traced graph says in its own precision; None where it does not take the inputs."""
        assert self.exact is not None
        try:
            with limits.watched(f"trace {self.function.name}"):
                found = self.exact.unconverted(point)
        except (tf.errors.OpError, limits.OverLimit):
            return None
        return in_every_row(found, self.exact.shared, point, self.exact.whole)


def _told(name: str, expected: Expected, answer: Answer, rows: Any) -> Expected:
    """``expected`` with what is said at one point beside ``rows``."""
    live_there, best_there = answer[0][name], answer[1][name]
    if live_there.shape != expected.live[rows].shape:
        return expected  # the sizes themselves are not determined
    moved = moved_by(expected.best[rows], best_there)
    moves = np.zeros(expected.live.shape) if expected.moves is None else expected.moves.copy()
    moves[rows] = np.maximum(moves[rows], moved)
    there = dataclasses.replace(expected, live=live_there, truth=best_there if expected.has_truth else None)
    if expected.has_truth:
        here = dataclasses.replace(expected, live=expected.live[rows], truth=expected.best[rows])
        expected = _drawn(expected, [there] if expected.draws else [here, there], rows)
    else:
        expected = _with_noise(expected, _noise(moved, LARGEST_LIVE_ERROR * expected.scale))
    beside = expected.beside
    if expected.live.dtype.kind != "f":
        for found in (live_there, best_there):
            whole = expected.live.copy()
            whole[rows] = found
            beside = (*beside, whole)
    return dataclasses.replace(expected, moves=moves, beside=beside)


def _drawn(expected: Expected, points: Sequence[Expected], rows: Any) -> Expected:
    """``expected`` with the live model's errors in ``rows`` at more points; all of them tell what of it is rounding."""
    found = [*expected.draws]
    for point in points:
        errors = np.zeros(len(expected.row_errors))
        errors[rows] = point.row_errors
        found.append(errors)
    noise = float(persistent(np.stack(found) / expected.scale).max(initial=0.0)) if expected.scale else 0.0
    return dataclasses.replace(expected, draws=tuple(found), noise=noise)


def persistent(draws: Array) -> Array:
    """The largest error of each row among ``draws``, ``(points, rows)``, without those that are jumps and no rounding.

    Rounding is of one size at all points so near to each other. Beyond :data:`SPORADIC` an error that is ten times what
    half of them reach says on which side of a kink that point lies.
    """
    typical = np.sort(draws, axis=0)[(len(draws) - 1) // 2]
    counted = draws <= np.maximum(SPORADIC, ALIKE * typical)
    return np.asarray(np.where(counted & (draws <= LARGEST_LIVE_ERROR), draws, 0.0).max(axis=0, initial=0.0))


def _with_noise(expected: Expected, error: float) -> Expected:
    """``expected`` with another draw of rounding, if that is what an ``error`` of this size is."""
    own = error / expected.scale if expected.scale else 0.0
    return dataclasses.replace(expected, noise=max(expected.noise, own if own <= LARGEST_LIVE_ERROR else 0.0))


def _noise(moved: Array, largest: float) -> float:
    """How far a number moves that does not jump."""
    return float(np.where(moved <= largest, moved, 0.0).max(initial=0.0))
