"""The verdict on one output of one sample: an artifact against the truth, beside the live model's own error.

An artifact may be as far from the truth as the tolerance and :data:`LIVE_FACTOR` times the live model's error from it.
Both are a draw from the distribution of rounding errors of the same expression in the same precision, summed in
another order. The largest of the live errors over the entries of an output estimates how wide that is; a largest error
of the artifact that is four times as large has another cause. A live error beyond :data:`LARGEST_LIVE_ERROR` of the
scale is no rounding that anybody could use: it excuses nothing, and the artifact has to meet the tolerance alone.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from pullback.parity import Row, compare_arrays

Array = np.ndarray[Any, Any]
LIVE_FACTOR = 4.0
LARGEST_LIVE_ERROR = 1e-2
# The share of what is off in a row that has to move itself: not every tie meets one of the moves that are tried.
MOST = 0.9
REFERENCE = "float64 truth"


@dataclasses.dataclass(frozen=True)
class Expected:
    """One output: the ``live`` answer, and the ``truth`` in float64 of the same shape.

    ``least`` is the smallest scale, for outputs that vanish here; ``others`` a live error relative to the scale that
    was found close by; ``moves`` how far each number of the truth moves with its inputs' last place, and ``spread`` how
    far that of its row that moves most, where that was asked.
    """

    live: Array
    truth: Array
    least: float = 0.0
    others: float = 0.0
    spread: Array | None = None
    moves: Array | None = None

    @property
    def wanted(self) -> Array:
        """What is compared with: the truth, and the live answer where one of them is not finite in this dtype.

        A model that overflows in its own precision does so in the bundle too; whole numbers are the live model's.
        """
        if self.live.dtype.kind != "f":
            return self.live
        with np.errstate(over="ignore"):
            rounded = self.truth.astype(self.live.dtype)
        return np.where(np.isfinite(self.live) & np.isfinite(rounded), self.truth, self.live.astype(np.float64))

    @property
    def scale(self) -> float:
        """``max|truth|`` of what is finite; at least so much that what the dtype cannot hold counts for nothing."""
        if self.live.dtype.kind != "f":
            return 0.0
        wanted = self.wanted
        largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
        return max(largest, self.least)

    @property
    def live_error(self) -> float:
        """``max|live - truth|`` of what is finite in both."""
        if self.live.dtype.kind != "f":
            return float(np.abs(self.live.astype(np.float64) - self.truth.astype(np.float64)).max(initial=0.0))
        both = np.isfinite(self.live) & np.isfinite(self.truth)
        difference = np.subtract(self.live.astype(np.float64), self.truth, where=both, out=np.zeros(self.live.shape))
        return float(np.abs(difference).max(initial=0.0))

    @property
    def excuse(self) -> float:
        """How much more than the tolerance is allowed, relative to the scale."""
        if self.live.dtype.kind != "f" or not self.scale:
            return 0.0
        own = self.live_error / self.scale
        return LIVE_FACTOR * max(own if own <= LARGEST_LIVE_ERROR else 0.0, self.others)

    @property
    def rounded(self) -> Array:
        """The truth in the live dtype; the live answer where that is another, as beside a kink."""
        if self.live.dtype.kind != "f":
            return self.live
        with np.errstate(over="ignore", invalid="ignore"):
            near = np.abs(self.wanted - self.live) <= LARGEST_LIVE_ERROR * self.scale
        return np.where(near, self.wanted, self.live).astype(self.live.dtype)

    @property
    def undetermined(self) -> Array:
        """The rows where the truth itself jumps with the last place of its inputs."""
        if self.spread is None:
            return np.zeros(len(np.atleast_1d(self.live)), bool)
        return np.asarray(~(self.spread <= LARGEST_LIVE_ERROR * self.scale))


def judge(stage: str, name: str, expected: Expected, actual: Array, tolerance: float) -> Row:
    """The row of the report for ``actual``; rows of the sample that are not determined have to be as the live ones.

    There the bound is widened by what the last place of the inputs does to the truth.
    """
    live = expected.live
    if actual.shape != live.shape or actual.dtype != live.dtype:
        return compare_arrays(stage, name, live, actual, tolerance)
    if live.dtype.kind != "f":
        agrees = np.where(actual == expected.truth.astype(live.dtype), actual, live)
        return _told(compare_arrays(stage, name, agrees, actual, tolerance), expected)
    wanted, given = expected.wanted, actual.astype(np.float64)
    tiny = float(np.finfo(live.dtype).tiny) / tolerance
    scale, bound = max(expected.scale, tiny), tolerance + expected.excuse
    given = _where_live_is_not_finite(live, expected.truth, given, bound * scale)
    jumps = jumping(expected, given, bound * scale)
    if jumps.any():
        given = np.where(_along(jumps, given), _within(given, live, expected.spread, bound * scale, wanted), given)
    row = _told(compare_arrays(stage, name, wanted, given, bound, scale), expected, dtype=str(live.dtype))
    return dataclasses.replace(row, scale=0.0) if expected.scale == row.max_error == 0 else row


def jumping(expected: Expected, given: Array, allowed: float) -> Array:
    """The rows that are not determined, where that is what is off: nearly all of it has to be what moves itself.

    A kink or a tie somewhere in a row says nothing of its other numbers.
    """
    jumps = expected.undetermined
    if not jumps.any() or expected.moves is None:
        return jumps
    with np.errstate(invalid="ignore"):
        off = ~(np.abs(given - expected.wanted) <= allowed) & (given != expected.wanted)
    off = (off & ~(np.isnan(given) & np.isnan(expected.wanted))).reshape(len(jumps), -1)
    moved = ~(expected.moves <= allowed).reshape(len(jumps), -1) & off
    return np.asarray(jumps & (moved.sum(axis=1) >= MOST * off.sum(axis=1)))


def _told(row: Row, expected: Expected, dtype: str | None = None) -> Row:
    live = expected.live_error
    return dataclasses.replace(row, live_error=live, reference=REFERENCE, dtype=dtype or row.dtype)


def _where_live_is_not_finite(live: Array, truth: Array, given: Array, allowed: float) -> Array:
    """There an artifact that is right agrees with the truth, and one that is faithful with the live model."""
    broken = ~np.isfinite(live) & np.isfinite(truth) & np.isfinite(given)
    with np.errstate(invalid="ignore"):
        right = broken & (np.abs(given - truth) <= allowed)
    return np.where(right, live, given)


def _within(given: Array, live: Array, spread: Any, allowed: float, wanted: Array) -> Array:
    """``wanted`` where an undetermined row is no further from the live answer than the jump is high."""
    with np.errstate(invalid="ignore"):
        near = np.abs(given - live) <= allowed + LIVE_FACTOR * _along(np.nan_to_num(spread, nan=math.inf), given)
    same = np.isnan(given) & np.isnan(live)
    return np.where(near | same, wanted, given)


def _along(rows: Array, array: Array) -> Array:
    """A number for each row, to be broadcast against ``array``."""
    return rows.reshape(rows.shape + (1,) * (array.ndim - 1)) if array.ndim else rows.reshape(())


def rows_off(expected: Expected, actual: Array, allowed: float) -> list[int]:
    """The first indices of what is further from what is wanted than ``allowed``, or finite where that is not."""
    wanted, given = np.atleast_1d(expected.wanted), np.atleast_1d(actual.astype(np.float64))
    both = np.isfinite(wanted) & np.isfinite(given)
    error = np.abs(np.subtract(given, wanted, where=both, out=np.zeros(wanted.shape)))
    off = (error > allowed) | ((np.isfinite(wanted) != np.isfinite(given)) | (np.isnan(wanted) != np.isnan(given)))
    return sorted(set(np.argwhere(off)[:, 0].tolist()))
