"""Ridders' method: difference quotients at ever smaller steps, extrapolated to the step zero, with an error of each.

C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Advances in Engineering Software 4 (1982), as in
Numerical Recipes, section 5.7. Central differences have an error in even powers of the step, which a tableau of steps
that shrink by a constant factor removes one after the other; the change from one entry to its neighbours estimates what
is left, of rounding too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.gate.differences.difference_quotient import DifferenceQuotient

Array = np.ndarray[Any, Any]
FACTOR = 3.0
# Divided so often, a step of 3e-3 is less than a unit in the last place of float64; as a rule ten are enough.
MOST_STEPS = 26
# Even powers that are removed at most.
MOST_ORDERS = 5
# An estimate of the error may be too small by chance: the second smallest counts, this many times.
SAFETY = 8.0


@dataclasses.dataclass(frozen=True)
class Extrapolated:
    """The compared quantity, and how far each number of it may be off; ``smooth`` ones do not lie at a kink.

    At a kink one-sided differences stay apart, and where the slope only changes fast they approach each other.
    """

    measured: Array
    uncertainty: Array
    smooth: Array

    def compared(self, predicted: Array, smooth: Array, steady: Array, alone: bool) -> Outcome:
        """``predicted`` beside it, of the rows that it has.

        ``smooth`` are the numbers that were seen to be so before; ``alone``: these are not known otherwise. Where the
        derivative is not ``steady``, it jumps itself.
        """
        rows = slice(len(self.measured)) if np.ndim(self.measured) else ...
        all_smooth = np.array(smooth & steady)  # of one number NumPy would give a scalar, which takes no item
        all_smooth[rows] |= self.smooth & steady[rows]
        where = np.asarray(all_smooth[rows] if alone else all_smooth[rows] & ~smooth[rows])
        known = where & np.isfinite(self.measured) & np.isfinite(self.uncertainty)
        beyond = np.maximum(np.abs(predicted[rows] - self.measured) - self.uncertainty, 0)
        largest = float(np.where(known, self.uncertainty, 0).max(initial=0.0))
        uncertainty = np.inf if (where & ~known).any() else largest
        return Outcome(float(np.where(known, beyond, 0).max(initial=0.0)), uncertainty, all_smooth, alone)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How far a derivative is off beyond the largest ``uncertainty``; ``alone``: nothing else was known of it."""

    error: float
    uncertainty: float
    smooth: Array
    alone: bool


def extrapolated(
    quotient: DifferenceQuotient, longest: float, summed_rows: int | None, size: float, bound: float, kink: float
) -> Extrapolated:
    """What ``quotient`` measures, from the step ``longest`` on, until it is known to a tenth of ``bound``.

    ``bound`` and ``kink`` are relative to ``size``, that of the derivative; ``summed_rows``: only sums over the batch
    count.
    """
    before: list[Array] = []
    wider = np.zeros(())
    best = _Best()
    for number in range(MOST_STEPS):
        step = longest / FACTOR**number
        measured, apart = quotient.measured(step)
        if summed_rows is not None:
            measured, apart = measured.sum(axis=0), apart.sum(axis=0)
        # Of the values, and of the point itself: below its last place every step is zero.
        noise = quotient.noise(step) * (summed_rows or 1) + quotient.eps / step * size
        if noise <= kink * size:
            best.see(apart <= kink * size + noise)
            if number:  # curvature brings them apart in proportion to the step, a kink whatever it is
                best.see(np.abs(FACTOR * apart - wider) <= (FACTOR - 1) * kink * size + noise)
        wider = apart
        new = [np.asarray(measured)]
        for order, coarse in enumerate(before[:MOST_ORDERS]):
            power = FACTOR ** (2 * (order + 1))
            fine = new[order]
            better = (power * fine - coarse) / (power - 1)
            with np.errstate(invalid="ignore"):
                change = np.maximum(np.abs(better - fine), np.abs(better - coarse))
            best.add(better, change + noise)
            new.append(better)
        before = new
        if number > MOST_ORDERS and (best.knows(0.1 * bound * size) or best.is_final(noise, kink * size)):
            break
    return best.found()


class _Best:
    """Of each number the value with the smallest error, and the second smallest; and what was seen to be smooth."""

    def __init__(self) -> None:
        self._smooth: Array = np.zeros((), bool)
        self._value: Array = np.zeros(())
        self._errors: list[Array] = [np.full((), np.inf)] * 2

    def see(self, smooth: Array) -> None:
        self._smooth = self._smooth | smooth

    def add(self, value: Array, error: Array) -> None:
        error = np.where(np.isfinite(error), error, np.inf)
        first, second = self._errors
        self._value = np.where(error < first, value, self._value)
        self._errors = [np.minimum(error, first), np.minimum(np.maximum(error, first), second)]

    def knows(self, enough: float) -> bool:
        return bool(((SAFETY * self._errors[1] <= enough) & self._smooth).all())

    def is_final(self, noise: float, most: float) -> bool:
        """Whether steps at which there is more ``noise`` change nothing: no error is smaller than the noise.

        What is smooth is not seen where there is more than ``most``.
        """
        return bool(noise > most and (self._errors[1] <= noise).all())

    def found(self) -> Extrapolated:
        uncertainty = SAFETY * self._errors[1]
        return Extrapolated(self._value, uncertainty, np.broadcast_to(self._smooth, uncertainty.shape))
