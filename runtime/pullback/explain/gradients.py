"""Attributions from input gradients: saliency, SmoothGrad, integrated gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.explain.target import Of, Target, per_block
from pullback.flat.pieces import Numbers

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_ROUNDS = 40  # halvings of a piece of the path: 2**-40 of it is below what a float64 network tells apart


def saliency(
    bundle: Bundle,
    x: Any,
    of: Of,
    wrt: str | None = None,
    given: Mapping[str, Any] | None = None,
    *,
    signed: bool = False,
) -> Array:
    """``|d of / d x|``, float64, in the shape of ``x``; the gradient itself where ``signed``.

    Simonyan et al. 2013. For the arguments and what is raised see :class:`~pullback.explain.target.Target`.
    """
    target = Target(bundle, x, of, wrt, given)
    gradient = target.gradient(target.x, target.rows)
    return target.shaped(gradient if signed else np.abs(gradient))


def smoothgrad(
    bundle: Bundle,
    x: Any,
    of: Of,
    wrt: str | None = None,
    given: Mapping[str, Any] | None = None,
    *,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
) -> Array:
    """The mean gradient at ``x`` plus normal noise, float64, in the shape of ``x``; Smilkov et al. 2017.

    The noise comes in pairs of opposite sign, so that what is linear in the noise cancels.

    Args:
        bundle, x, of, wrt, given: see :class:`~pullback.explain.target.Target`.
        samples: gradients per row, rounded up to an even number.
        noise: standard deviation, relative to the range (maximum minus minimum) of each row of ``x``.
        seed: of the noise.
    """
    if samples < 1 or not noise >= 0:
        raise InputError(f"samples must be positive and noise not negative; got {samples}, {noise}")
    target = Target(bundle, x, of, wrt, given)
    rng = np.random.default_rng(seed)
    axes = tuple(range(1, target.x.ndim))
    width = noise * np.ptp(target.x, axis=axes, keepdims=True) if target.x.size else 0.0
    total = np.zeros_like(target.x)
    pairs = (samples + 1) // 2
    for _ in range(pairs):
        moved = width * rng.standard_normal(target.x.shape)
        for point in (target.x + moved, target.x - moved):
            total += target.gradient(point, target.rows)
    return target.shaped(total / (2 * pairs))


def integrated_gradients(
    bundle: Bundle,
    x: Any,
    of: Of,
    wrt: str | None = None,
    given: Mapping[str, Any] | None = None,
    *,
    baseline: Any = 0.0,
    tolerance: float = 1e-3,
) -> Array:
    """``(x - baseline) * integral of d of / d x along the line between them``, float64, in the shape of ``x``.

    Sundararajan et al. 2017. The attributions of a row add up to ``of(x) - of(baseline)`` (completeness) to within
    ``tolerance`` of that difference, plus the model's rounding. Each piece of the path must add up too; pieces that do
    not, because the network has kinks, are halved until they do.

    Args:
        bundle, x, of, wrt, given: see :class:`~pullback.explain.target.Target`.
        baseline: a number, one sample, or one for each row.
        tolerance: of the completeness.

    Raises:
        InputError: completeness cannot be reached: the output jumps on the path, or is not finite.
    """
    target = Target(bundle, x, of, wrt, given)
    try:
        start = np.broadcast_to(np.asarray(baseline, np.float64), target.x.shape)
    except (ValueError, TypeError) as error:
        raise InputError(f"baseline must be a number or fit {target.x.shape}; got {np.shape(baseline)}") from error
    # What the model sees: a path between numbers of its own dtype.
    start = start.astype(target.dtype).astype(np.float64)
    path = _Path(target, start)
    pieces = 4
    rows = np.repeat(target.rows, pieces)
    low = np.tile(np.arange(pieces) / pieces, len(target.x))
    high = low + 1 / pieces
    for _ in range(_ROUNDS):
        defect = path.integrate(rows, low, high)
        allowed = path.allowed(tolerance)
        failing = (np.bincount(rows, np.abs(defect), len(target.x)) > allowed)[rows] | ~np.isfinite(defect)
        # Halves of the worst pieces: those that have more than their equal share of what is allowed.
        count = np.bincount(rows, minlength=len(target.x))
        split = failing & ~(np.abs(defect) <= allowed[rows] / (2 * np.maximum(count[rows], 1)))
        path.keep(rows[~split], np.flatnonzero(~split))
        if not split.any():
            return target.shaped(path.total)
        middle = (low[split] + high[split]) / 2
        rows = np.concatenate([rows[split], rows[split]])
        low, high = np.concatenate([low[split], middle]), np.concatenate([middle, high[split]])
    row = int(rows[0])
    raise InputError(
        f"row {row}: the attributions do not add up to the difference of {of if isinstance(of, str) else of[row]} to"
        f" {tolerance:g}: it jumps, or is not finite, at {low[0]:.4g} of the way from the baseline; take another"
        " baseline, or a larger tolerance"
    )


class _Path:
    """The straight lines from ``start`` to ``x``, one a row, and what was integrated on them so far."""

    def __init__(self, target: Target, start: Array) -> None:
        self._target, self._start, self._step = target, start, target.x - start
        self.total: Array = np.zeros_like(target.x)
        self._ends = target.value(start, target.rows), target.value(target.x, target.rows)
        self._size = np.maximum(*map(np.abs, self._ends))
        self._defect = np.zeros(len(target.x))
        self._parts: Array = np.zeros(0)
        self._errors: Array = np.zeros(0)

    def allowed(self, tolerance: float) -> Array:
        """``(B,)``: half of the defect that is allowed, less what the kept pieces have used of it."""
        first, last = self._ends
        rounding = 32 * float(np.finfo(self._target.dtype).eps) * self._size
        left: Array = np.maximum(tolerance * np.abs(last - first) + rounding - self._defect, 0)
        return left / 2

    def integrate(self, rows: Numbers, low: Array, high: Array) -> Array:
        """The defect of each piece, ``(P,)``: the sum of its attributions minus the difference of its ends."""
        shape = self._start.shape[1:]
        self._parts = np.zeros((len(rows), *shape))
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            at = low + (high - low) * (1 + node) / 2
            self._parts += self._blocks(self._target.gradient, rows, at, shape) * _column(
                weight / 2 * (high - low), shape
            )
        self._parts *= self._step[rows]
        sizes = np.bincount(rows, np.abs(self._parts).reshape(len(rows), math.prod(shape)).sum(1), len(self._size))
        self._size = np.maximum(self._size, sizes)
        ends = self._blocks(self._target.value, rows, high, ()) - self._blocks(self._target.value, rows, low, ())
        self._errors = self._parts.reshape(len(rows), math.prod(shape)).sum(1) - ends
        return self._errors

    def keep(self, rows: Numbers, pieces: Numbers) -> None:
        """Add ``pieces`` of the last integration to the attributions of their ``rows``."""
        np.add.at(self.total, rows, self._parts[pieces])
        np.add.at(self._defect, rows, np.abs(self._errors[pieces]))

    def _blocks(self, function: Any, rows: Numbers, at: Array, shape: tuple[int, ...]) -> Array:
        result = np.empty((len(rows), *shape))
        size = per_block(len(rows), self._start.shape[1:])
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            points = self._start[part] + self._step[part] * _column(at[first : first + size], self._start.shape[1:])
            result[first : first + size] = function(points, part)
        return result


def _column(numbers: Array, shape: tuple[int, ...]) -> Array:
    """``(P,)`` to be multiplied with ``(P, *shape)``."""
    return numbers.reshape(-1, *(1,) * len(shape))
