"""Differences at one step beside what a derivative predicts, and which steps to try."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.gate.differences.difference_quotient import DifferenceQuotient

Array = np.ndarray[Any, Any]
# How much shorter a second step is that tells a jump from curvature.
CLOSER = 8.0


@dataclasses.dataclass(frozen=True)
class Precision:
    """How differences are taken in one dtype: steps relative to the input's size, and the bound that suits them.

    One-sided differences that are further apart than ``kink`` of the size lie at a kink; curvature brings them apart
    by as much as the step is long. Extrapolation begins with the step ``longest``.
    """

    dtype: str
    steps: tuple[float, ...]
    bound: float
    kink: float
    longest: float

    def agrees(self, attempt: Attempt) -> bool:
        """Whether at least half of the entries could be compared, and none is off."""
        return attempt.covers and attempt.worst <= self.bound * attempt.size


FLOAT64 = Precision("float64", (1e-5, 1e-6, 1e-4, 1e-7, 1e-8), 1e-5, 1e-5, 3e-3)
# Of the exact reference, at points that a float32 model is made for: not as flat as a test function.
TRUTH = dataclasses.replace(FLOAT64, kink=1e-3)
FLOAT32 = Precision("float32", (1e-2, 3e-3, 3e-2, 1e-3), 2e-2, 2e-2, 1e-1)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Differences at one ``step``; ``smooth`` marks the entries that do not lie at a kink."""

    step: float
    predicted: Array
    measured: Array
    smooth: Array
    noise: float
    size: float

    @functools.cached_property
    def worst(self) -> float:
        """The largest difference from the prediction, beyond the noise."""
        return _distance(self.measured, self.predicted, self.smooth, self.noise)

    @property
    def covers(self) -> bool:
        """Whether at least half of the entries could be compared."""
        return not self.smooth.size or bool(self.smooth.mean() >= 0.5)

    @property
    def relative(self) -> float:
        return self.worst / self.size if self.size else 0.0


def _distance(left: Array, right: Array, where: Array, noise: float) -> float:
    """The largest difference beyond the noise."""
    return float(np.where(where, np.maximum(np.abs(left - right) - noise, 0), 0).max(initial=0.0))


def settled(attempts: Sequence[Attempt], bound: float) -> bool:
    """Whether two steps agree with each other: only then can differences contradict anything."""
    for i, one in enumerate(attempts):
        for other in attempts[i + 1 :]:
            where = one.smooth & other.smooth
            if where.mean() < 0.5:
                continue
            largest = float(np.where(where, np.abs(one.measured), 0).max(initial=0.0))
            if _distance(one.measured, other.measured, where, one.noise + other.noise) <= bound * largest:
                return True
    return len(attempts) == 1


def of_one_row(
    quotient: DifferenceQuotient, result: Array, precision: Precision
) -> tuple[list[Attempt], tuple[float, ...]]:
    """Attempts at the first row, and the steps in the order in which to try them for all, where rows are large.

    The first step at which that row is smooth comes first. Where it lies at a kink at every step, and the last row at
    the shortest ones, as in a network with millions of relus, there are no steps.
    """
    attempts = tried(quotient.row(0), result[:1], precision.steps, precision, None, _covers)
    shortest = sorted(precision.steps)[:2]
    last = attempts if attempts[-1].covers else tried(quotient.row(-1), result[-1:], shortest, precision, None, _covers)
    if not last[-1].covers:
        return attempts, ()
    step = last[-1].step
    met = [attempt.step for attempt in attempts if attempt.step != step]
    return attempts, (step, *(left for left in precision.steps if left not in (step, *met)), *met)


def _covers(attempt: Attempt) -> bool:
    return attempt.covers


def tried(
    quotient: DifferenceQuotient,
    result: Array,
    steps: Sequence[float],
    precision: Precision,
    summed_rows: int | None,
    is_enough: Callable[[Attempt], bool],
) -> list[Attempt]:
    """One attempt after the other until one is enough; of those that are left, smaller steps come first past kinks."""
    attempts: list[Attempt] = []
    left = list(steps)
    while left:
        step = left.pop(0)
        attempts.append(attempt_at(quotient, result, step, precision.kink, summed_rows))
        if is_enough(attempts[-1]):
            break
        if not attempts[-1].covers:
            left = past_kinks(left, step, attempts[-1], precision.bound)
    return attempts


def attempt_at(
    quotient: DifferenceQuotient, result: Array, step: float, kink: float, summed_rows: int | None
) -> Attempt:
    """Differences at ``step`` beside what ``result``, the derivative, predicts; ``summed_rows`` only as their sum."""

    def over_batch(array: Array) -> Array:
        return array if summed_rows is None else np.asarray(array.sum(axis=0))

    predicted = over_batch(quotient.predicted(result))
    measured, apart = (over_batch(array).reshape(predicted.shape) for array in quotient.measured(step))
    noise = quotient.noise(step) * (summed_rows or 1)
    size = max(float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) for array in (predicted, measured))
    smooth = (apart <= kink * size + noise) & np.isfinite(measured - predicted)
    return Attempt(step, predicted, measured, smooth, noise, size)


def steady_at(quotient: DifferenceQuotient, attempt: Attempt, precision: Precision) -> Array:
    """The entries where the derivative itself does not jump; where it does, the function need not bend.

    What TensorFlow says at a tie is a convention: ``max(x, 0) + min(x, 0)`` has the slope 2 at zero. A derivative that
    is wrong is so beside the sample too.
    """
    step, allowed = min(precision.steps), precision.bound * attempt.size
    apart = _apart(quotient, step, attempt.smooth.shape)
    steady = apart <= allowed
    if not steady.all():  # curvature brings them apart in proportion to the step, a jump whatever it is
        closer = _apart(quotient, step / CLOSER, attempt.smooth.shape)
        with np.errstate(invalid="ignore"):
            steady = steady | (np.abs(CLOSER * closer - apart) <= (CLOSER - 1) * allowed)
    return np.asarray(steady)


def _apart(quotient: DifferenceQuotient, step: float, shape: tuple[int, ...]) -> Array:
    """How far the derivative a ``step`` to either side is from the one here, at most."""
    here, *others = (found.reshape(shape) for found in quotient.around(step))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.max([np.abs(beside - here) for beside in others], axis=0))


def past_kinks(steps: Sequence[float], step: float, attempt: Attempt, bound: float) -> list[float]:
    """The steps that are left, where ``step`` met too many kinks: first the smallest that rounding hardly touches.

    Longer ones meet more kinks, and come last.
    """
    allowed = 1e-3 * bound * attempt.size
    fine = sorted(left for left in steps if left < step and attempt.noise * step / left <= allowed)
    shorter = [left for left in steps if left < step and left not in fine]
    return fine + shorter + [left for left in steps if left > step]
