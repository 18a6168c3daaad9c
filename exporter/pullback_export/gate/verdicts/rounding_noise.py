"""What rounding does to the live model itself, where nothing more exact is known: a float64 model, above all.

The live model answers once more with its inputs moved by a unit in the last place. How far these answers are from the
first is its noise. More of them only ever widen it, so they are asked for one after the other, and first for the rows
that are in question: where that explains a difference, the rest would too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pullback.manifest import Tolerance

from pullback_export.derivatives.plan import Function
from pullback_export.gate.live_model import Arrays, live, live_rows, row_count, rows_of
from pullback_export.gate.verdicts.verdict import LIVE_FACTOR

# Probes of that error, in units in the last place of the inputs: the same way everywhere, or with random signs (None).
# A group is asked for at once.
PROBES: tuple[tuple[float | None, ...], ...] = ((1.0,), (-1.0, None, None, None))
# Rows of several probes that go through the live model at once.
PROBED_ROWS = 16


class Rounding:
    """The noise of ``function`` at ``inputs``, where the live model's answer is ``reference``.

    ``parted``: rows do not influence each other.
    """

    def __init__(self, function: Function, inputs: Arrays, reference: Arrays, parted: bool) -> None:
        self._function = function
        self._inputs = inputs
        self._reference = reference
        self._parted = parted
        self._noise = dict.fromkeys(reference, 0.0)
        self._answered: dict[int, set[int]] = {}

    def scales(self, rows: Sequence[int], tolerance: Tolerance) -> Iterator[dict[str, float]]:
        """Ever larger smallest scales per output, such that the bound covers the noise found so far.

        ``rows`` are asked about before the others.
        """
        if self._answered:
            yield self._scales(tolerance)
        every = range(row_count(self._inputs)) if self._parted else [0]
        for wanted in (rows, every) if self._parted and len(rows) else (every,):
            for number in range(len(PROBES)):
                answered = self._answered.setdefault(number, set())
                left = sorted(set(wanted) - answered)
                if left:
                    answered |= set(left)
                    self._widen(self._moved(number, left), left)
                    yield self._scales(tolerance)

    def _scales(self, tolerance: Tolerance) -> dict[str, float]:
        found = {}
        for name, array in self._reference.items():
            bound = tolerance.of(str(array.dtype))
            finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.zeros(0)
            noise = LIVE_FACTOR * self._noise[name] / bound if bound else 0.0
            found[name] = float(finite.max(initial=0.0)) + noise
        return found

    def _widen(self, answers: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> None:
        reference = rows_of(self._reference, rows) if self._parted else self._reference
        for answer in answers:
            for name, array in reference.items():
                difference = np.abs(answer[name].astype(np.float64) - array.astype(np.float64))
                finite = difference[np.isfinite(difference)]
                self._noise[name] = max(self._noise[name], float(finite.max(initial=0.0)))

    def _moved(self, group: int, rows: Sequence[int]) -> list[Arrays]:
        """The live model with every float input moved, next to a kink any of which may decide."""
        probes = [self._probe((group, number), step) for number, step in enumerate(PROBES[group])]
        if not self._parted:
            return [answer for probe in probes if (answer := live(self._function, probe)) is not None]
        probes = [rows_of(probe, rows) for probe in probes]
        if len(rows) * len(probes) > PROBED_ROWS:
            return [answer for probe in probes if (answer := live_rows(self._function, probe)) is not None]
        together = {name: np.concatenate([probe[name] for probe in probes]) for name in probes[0]}
        answer = live_rows(self._function, together)
        if answer is None:
            return []
        parts = {name: np.split(array, len(probes)) for name, array in answer.items()}
        return [{name: parts[name][index] for name in parts} for index in range(len(probes))]

    def _probe(self, seed: tuple[int, int], step: float | None) -> Arrays:
        """All rows, whichever are wanted: what moves an input does not depend on the company it has."""
        rng = np.random.default_rng((11, *seed))
        floats = {spec.name for spec in self._function.inputs if spec.dtype.is_floating}
        return {
            name: moved_by_units(array, step, rng) if name in floats else array for name, array in self._inputs.items()
        }


def moved_by_units(array: np.ndarray[Any, Any], step: float | None, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """``array`` moved by ``step`` units in the last place, None: by one in a random direction for each number."""
    signs: Any = rng.choice((-1.0, 1.0), array.shape) if step is None else step
    return np.asarray(array + signs * np.finfo(array.dtype).eps * np.abs(array), array.dtype)
