"""What the live model says at points beside a sample, and the truth there: each row is asked at most once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

import numpy as np

from pullback_export.derivatives.plan import Function
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.live_model import (
    Arrays,
    in_every_row,
    joined,
    live,
    live_rows,
    row_count,
    rows_at_once,
    rows_of,
)
from pullback_export.gate.sampling.resizing import is_mask
from pullback_export.gate.verdicts.verdict import Array

# Steps in units in the last place: the same way everywhere, or with random signs (None). A group is asked at once.
STEPS: tuple[tuple[float | None, ...], ...] = ((1.0,), (-1.0, None, None, None), (None, None, None))
# Rows of several points that go through the live model at once, where they are not large.
ROWS_AT_ONCE = 16
# The live model's answer at a point, and the best one: the truth, or the same where there is none.
Answer = tuple[Arrays, Arrays]
# What stands for all rows where they influence each other.
_ALL = -1


@dataclasses.dataclass(frozen=True)
class PointsBeside:
    """Points beside ``inputs`` of ``function``; for the rest see
    :class:`~pullback_export.gate.verdicts.surroundings.Surroundings`."""

    function: Function
    inputs: Arrays
    independent: bool
    drawn: bool
    _known: dict[tuple[bool, int, int], list[Answer | None]] = dataclasses.field(default_factory=dict)

    def answers(self, number: int, rows: Sequence[int], exact: ExactFunction | None) -> list[Answer]:
        """What is said in ``rows`` at the points of the group ``number``, of what the live model takes.

        What is known of a row is not asked again, whichever rows it was asked with.
        """
        has_truth, wanted = exact is not None, list(rows) if self.independent else [_ALL]
        missing = [row for row in wanted if (has_truth, number, row) not in self._known]
        if missing:
            self._learn(number, missing, exact)
        found = zip(*(self._known[has_truth, number, row] for row in wanted), strict=True)
        return [_of_rows(parts) for parts in found if _are_of_one_size(parts)]

    def _learn(self, number: int, rows: Sequence[int], exact: ExactFunction | None) -> None:
        for group, answers in self._asked(number, rows, exact):
            if None in answers and len(rows) > 1:  # each alone says which of them the model refuses
                for row in rows:
                    self._learn(group, [row], exact)
                continue
            for place, row in enumerate(rows):
                self._known[exact is not None, group, row] = [self._of_row(answer, place) for answer in answers]

    def point(self, seed: tuple[int, int], step: float | None, rows: Sequence[int], units: float = 1.0) -> Arrays:
        """What moves an input does not depend on which rows are wanted, nor on the number of ``units``."""
        rng = np.random.default_rng((13, *seed))
        floats = {spec.name for spec in self.function.inputs if spec.dtype.is_floating}
        point = {
            name: moved_by_units(array, step, rng, self.drawn, units) if name in floats else array
            for name, array in self.inputs.items()
        }
        return rows_of(point, list(rows), self.function.whole) if self.independent else point

    def best(self, exact: ExactFunction, point: Arrays) -> Arrays:
        """The truth at a point."""
        return in_every_row(exact(point), exact.shared, point, exact.whole)

    def _asked(
        self, number: int, rows: Sequence[int], exact: ExactFunction | None
    ) -> Iterator[tuple[int, list[Answer | None]]]:
        """Groups, ``number`` among them, with what is said in ``rows`` at each of their points.

        Where the points of all groups may go through the model together, they do: a pass costs more than a row.
        """
        groups = [[self.point((one, i), step, rows) for i, step in enumerate(STEPS[one])] for one in range(len(STEPS))]
        points = list(itertools.chain.from_iterable(groups))
        together = self._together(points)
        answer = live_rows(self.function, together) if together is not None else None
        if answer is None:
            yield number, self._with_truth(groups[number], self._live(groups[number]), exact)
            return
        found = iter(self._with_truth(points, _split(answer, len(points)), exact))
        for one, group in enumerate(groups):
            yield one, list(itertools.islice(found, len(group)))

    def _with_truth(
        self, points: Sequence[Arrays], answers: Sequence[Arrays | None], exact: ExactFunction | None
    ) -> list[Answer | None]:
        """The live model's ``answers`` and the best ones, where it has one."""
        taken = [point for point, answer in zip(points, answers, strict=True) if answer]
        if exact is None or not taken:
            return [(answer, answer) if answer else None for answer in answers]
        best = iter(self._bests(exact, taken))
        return [(answer, next(best)) if answer else None for answer in answers]

    def _bests(self, exact: ExactFunction, points: Sequence[Arrays]) -> Sequence[Arrays]:
        """The truth at each point."""
        together = self._together(points)
        if together is None:
            return [self.best(exact, point) for point in points]
        return _split(self.best(exact, together), len(points))

    def _live(self, points: Sequence[Arrays]) -> Sequence[Arrays | None]:
        if not self.independent:
            return [live(self.function, point) for point in points]
        together = self._together(points)
        if together is None:
            return [live_rows(self.function, point) for point in points]
        answer = live_rows(self.function, together)
        return [None] * len(points) if answer is None else _split(answer, len(points))

    def _together(self, points: Sequence[Arrays]) -> Arrays | None:
        """The rows of all points, where there are few, none is large, and they may go through a model together."""
        whole = self.function.whole
        most = min(ROWS_AT_ONCE, rows_at_once(points[0], whole))
        if not self.independent or len(points) * row_count(points[0], whole) > most:
            return None
        return joined(points, whole)

    def _of_row(self, answer: Answer | None, place: int) -> Answer | None:
        """The row at ``place`` of an answer; all of it where rows are not independent."""
        if answer is None or not self.independent:
            return answer
        one = slice(place, place + 1)
        return rows_of(answer[0], one), rows_of(answer[1], one)


def _are_of_one_size(parts: Sequence[Answer | None]) -> TypeGuard[Sequence[Answer]]:
    """Whether no row is missing, and results of all have the sizes of the first: else sizes are not determined."""
    sizes = [
        None if part is None else [(name, array.shape[1:]) for side in part for name, array in side.items()]
        for part in parts
    ]
    return None not in sizes and all(size == sizes[0] for size in sizes)


def _of_rows(parts: Sequence[Answer]) -> Answer:
    """The answer of several rows."""
    return _in_one([live for live, _ in parts]), _in_one([best for _, best in parts])


def _in_one(rows: Sequence[Arrays]) -> Arrays:
    return rows[0] if len(rows) == 1 else {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _split(answer: Arrays, count: int) -> list[Arrays]:
    """The parts of an answer to as many points."""
    parts = {name: np.split(array, count) for name, array in answer.items()}
    return [{name: found[index] for name, found in parts.items()} for index in range(count)]


def moved_by_units(
    array: Array, step: float | None, rng: np.random.Generator, zeros: bool, units: float = 1.0
) -> Array:
    """``array`` moved by ``step`` times ``units`` in the last place, None: in a random direction for each number.

    With ``zeros`` these move too, by a unit of the other numbers, or of one where there are no others; masks stay.
    """
    signs: Any = rng.choice((-1.0, 1.0), array.shape) if step is None else step
    size = np.abs(array, dtype=np.float64)
    if zeros and is_mask(array) and array.any():
        return array
    if zeros:
        finite = size[np.isfinite(size) & (size > 0)]
        size = np.where(size == 0, float(finite.mean()) if finite.size else 1.0, size)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(array + signs * units * np.finfo(array.dtype).eps * size, array.dtype)
