"""The verdict on one output of one sample: an artifact against the truth, beside the live model's own error.

An artifact may be as far from the truth as the tolerance and :data:`LIVE_FACTOR` times the live model's error from it.
Both are a draw from the distribution of rounding errors of the same expression in the same precision, summed in
another order. The largest of the live errors over the entries of an output estimates how wide that is; a largest error
of the artifact that is four times as large has another cause. A live error beyond :data:`LARGEST_LIVE_ERROR` of the
scale is too large to be rounding: it excuses nothing, and the artifact has to meet the tolerance alone.

Where the answer moves with the last place of the inputs (:mod:`pullback_export.gate.verdicts.surroundings`), the sample
does not determine it. A drawn row is skipped then; of the caller's the artifact has to say what the live model says,
give or take the jump. Of zeros and very large values a row is skipped, too, where the live model itself has no right
digit (variances and softmax weights cancel there): nobody who uses the model meets it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from pullback.parity import Row, compare_arrays

Array = np.ndarray[Any, Any]
LIVE_FACTOR = 4.0
LARGEST_LIVE_ERROR = 1e-2
# The share of what is off that has to move itself: not every tie meets one of the moves that are tried.
MOST = 0.9
REFERENCE = "float64 truth"
NOT_DETERMINED = "{count} row(s) are not determined by inputs of this precision and were compared with the live model"
AROUND = (
    "{count} row(s) lie so near to a kink that rounding decides on its side, and were compared around it, at points"
    " that are closer than the tolerance"
)
NOISE = "within what rounding does to the live model itself"


@dataclasses.dataclass(frozen=True)
class Expected:
    """One output: the ``live`` answer, and the ``truth`` in float64 of the same shape, where there is one.

    ``least`` is the smallest scale, for outputs that vanish here. ``independent``: the first axis counts rows that do
    not influence each other. ``drawn``: the sample is not the caller's. ``extreme``: it is zeros or very large values.

    What lies beside the sample, where that was asked: ``noise`` is the live model's error there, relative to the scale,
    ``moves`` how far each number moves, ``beside`` the whole numbers that were found, and ``draws`` the live model's
    errors by row, at the sample first. ``around`` are the rows in which the artifact is off at the sample alone
    (:mod:`pullback_export.gate.verdicts.both_sides`). What the live model is off by at the sample, up to ``sure``, is
    rounding without another look; more of it counts where ``draws`` say so.
    """

    live: Array
    truth: Array | None
    least: float = 0.0
    independent: bool = True
    drawn: bool = False
    extreme: bool = False
    noise: float = 0.0
    moves: Array | None = None
    beside: tuple[Array, ...] = ()
    draws: tuple[Array, ...] = ()
    around: Array | None = None
    sure: float = LARGEST_LIVE_ERROR

    @property
    def has_truth(self) -> bool:
        return self.truth is not None

    @functools.cached_property
    def best(self) -> Array:
        """The truth, or the live answer where there is none."""
        return self.live if self.truth is None else self.truth

    @functools.cached_property
    def wanted(self) -> Array:
        """What is compared with: the best, and the live answer where one of them is not finite in this dtype.

        A model that overflows in its own precision does so in the bundle too; whole numbers are the live model's.
        """
        if self.live.dtype.kind != "f":
            return self.live
        with np.errstate(over="ignore"):
            rounded = self.best.astype(self.live.dtype)
        return np.where(np.isfinite(self.live) & np.isfinite(rounded), self.best, self.live.astype(np.float64))

    @functools.cached_property
    def scale(self) -> float:
        """``max|wanted|`` of what is finite; at least so much that what the dtype cannot hold counts for nothing."""
        if self.live.dtype.kind != "f":
            return 0.0
        wanted = self.wanted
        largest = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
        return max(largest, self.least)

    @functools.cached_property
    def live_error(self) -> float:
        """``max|live - truth|`` of what is finite in both; 0 without a truth."""
        if self.live.dtype.kind != "f":
            return float(np.abs(self.live.astype(np.float64) - self.best.astype(np.float64)).max(initial=0.0))
        both = np.isfinite(self.live) & np.isfinite(self.best)
        difference = np.subtract(self.live.astype(np.float64), self.best, where=both, out=np.zeros(self.live.shape))
        return float(np.abs(difference).max(initial=0.0))

    @functools.cached_property
    def row_errors(self) -> Array:
        """The same by row."""
        off = moved_by(self.live, self.best)
        return np.asarray(self.in_rows(np.where(np.isfinite(off), off, 0.0)).max(axis=1, initial=0.0))

    @functools.cached_property
    def excuse(self) -> float:
        """How much more than the tolerance is allowed, relative to the scale."""
        if self.live.dtype.kind != "f" or not self.scale:
            return 0.0
        own = self.live_error / self.scale
        if own > self.sure:
            rows = self.row_errors / self.scale
            own = float(np.where(rows <= self.sure, rows, 0.0).max(initial=0.0))
        return LIVE_FACTOR * max(own if self.live_error <= LARGEST_LIVE_ERROR * self.scale else 0.0, self.noise)

    @functools.cached_property
    def rounded(self) -> Array:
        """The best in the live dtype; the live answer where that is another, as beside a kink."""
        if self.live.dtype.kind != "f":
            return self.live
        with np.errstate(over="ignore", invalid="ignore"):
            near = np.abs(self.wanted - self.live) <= LARGEST_LIVE_ERROR * self.scale
        return np.where(near, self.wanted, self.live).astype(self.live.dtype)

    @functools.cached_property
    def _cancelled(self) -> Array:
        """Where the live model loses all digits of an extreme sample, which says nothing of what the model is for."""
        if not self.extreme or self.truth is None:
            return np.zeros(self.live.shape, bool)
        return off_of(self.wanted, self.live.astype(np.float64), LARGEST_LIVE_ERROR * self.scale)

    def in_rows(self, array: Array) -> Array:
        """``(rows, rest)``; all of it is one row where rows influence each other."""
        rows = len(array) if self.independent and array.ndim else 1
        return array.reshape(rows, math.prod(array.shape[1:]) if self.independent else array.size)

    def undetermined(self, off: Array, allowed: float) -> Array:
        """The rows that are not determined, where that is why they are ``off``: nearly all of it has to move itself.

        A kink or a tie somewhere in a row says nothing of its other numbers. Nothing hangs on a drawn row, which is
        skipped as a whole. Of the caller's only a jump counts, and not what moves a little. What moves by more than
        the largest error that counts as rounding is never rounding, however much of that is allowed here.
        """
        off = self.in_rows(off)
        if not off.any():
            return np.zeros(len(off), bool)
        moved = np.zeros(off.shape, bool)
        if self.moves is not None:
            jump = LARGEST_LIVE_ERROR * self.scale
            least = min(allowed, jump) if self.drawn else max(allowed, jump)
            moves = self.in_rows(self.moves)
            moved |= (moves.max(axis=1, initial=0.0) > least)[:, None] & (moves > min(allowed, least))
        if self.drawn and self.live.dtype.kind == "f":
            moved |= self.in_rows(~np.isfinite(self.live))
        cancelled = off.any(axis=1) & self.in_rows(self._cancelled).any(axis=1)
        if self.around is not None:
            cancelled |= off.any(axis=1) & self.around
        if self.drawn and self.independent:
            return np.asarray(cancelled | off.any(axis=1) & moved.any(axis=1))
        moved &= off
        return np.asarray(cancelled | moved.any(axis=1) & (moved.sum(axis=1) >= MOST * off.sum(axis=1)))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The ``row`` of the report, the numbers of the rows of a drawn sample that were skipped, and of those that were
    compared ``around`` any sample."""

    row: Row
    skipped: tuple[int, ...] = ()
    around: tuple[int, ...] = ()


def assess(stage: str, name: str, expected: Expected, actual: Array, tolerance: float) -> Verdict:
    """What is said of ``actual``, with what is known beside the sample so far."""
    live = expected.live
    if actual.shape != live.shape or actual.dtype != live.dtype:
        return Verdict(compare_arrays(stage, name, live, actual, tolerance))
    floats = live.dtype.kind == "f"
    wanted = expected.wanted
    bound, scale = tolerance + expected.excuse, expected.scale
    given = actual.astype(np.float64) if floats else actual
    if floats:
        scale = max(scale, float(np.finfo(live.dtype).tiny) / tolerance)
        given = _where_live_is_not_finite(live, expected.best, given, bound * scale)
    else:
        wanted = np.where(actual == expected.best.astype(live.dtype), actual, live)
    off = off_of(wanted, given, bound * scale)
    undetermined = expected.undetermined(off, bound * scale)
    if undetermined.any():
        given = _told_apart(expected, undetermined, given, wanted, bound * scale)
    row = compare_arrays(stage, name, wanted, given, bound, scale if floats else 0.0)
    row = _described(row, expected, str(live.dtype))
    around = undetermined & (np.zeros_like(undetermined) if expected.around is None else expected.around)
    if undetermined.any() and row.ok and not expected.drawn:
        row = dataclasses.replace(row, warning=_warning(undetermined, around))
    if floats and expected.scale == row.max_error == 0:
        row = dataclasses.replace(row, scale=0.0)
    skipped = undetermined & ~around if expected.drawn else np.zeros(len(undetermined), bool)
    return Verdict(row, tuple(np.flatnonzero(skipped).tolist()), tuple(np.flatnonzero(around).tolist()))


def moved_by(left: Array, right: Array) -> Array:
    """How far apart each pair of numbers is; infinite where one is finite and the other is not."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    both = np.isfinite(left) & np.isfinite(right)
    error = np.abs(np.subtract(left, right, where=both, out=np.zeros(left.shape)))
    return np.asarray(np.where(np.isfinite(left) != np.isfinite(right), np.inf, error))


def off_of(wanted: Array, given: Array, allowed: float) -> Array:
    """Which numbers are further apart than ``allowed``, or finite where the other is not."""
    if wanted.dtype.kind != "f":
        return np.asarray(given != wanted)
    with np.errstate(invalid="ignore"):
        near = np.abs(given - wanted) <= allowed
    return np.asarray(~(near | (given == wanted) | (np.isnan(given) & np.isnan(wanted))))


def _told_apart(expected: Expected, undetermined: Array, given: Array, wanted: Array, allowed: float) -> Array:
    """``given``, but ``wanted`` in the undetermined rows: all of a drawn one, what the live model says of others."""
    rows = np.broadcast_to(undetermined[:, None], expected.in_rows(given).shape).reshape(given.shape)
    if expected.drawn:
        return np.where(rows, wanted, given)
    if given.dtype.kind != "f":
        right = np.any([given == beside for beside in expected.beside], axis=0)
        return np.where(rows & right, wanted, given)
    if expected.around is not None:
        found = np.broadcast_to(expected.around[:, None], expected.in_rows(given).shape).reshape(given.shape)
        given = np.where(rows & found, wanted, given)
    if expected.moves is None:
        return given
    height = np.nan_to_num(expected.in_rows(expected.moves).max(axis=1, initial=0.0), nan=math.inf)
    height = np.broadcast_to(height[:, None], expected.in_rows(given).shape).reshape(given.shape)
    live = expected.live
    with np.errstate(invalid="ignore"):
        near = np.abs(given - live) <= allowed + LIVE_FACTOR * height
    return np.where(rows & (near | (np.isnan(given) & np.isnan(live))), wanted, given)


def _warning(undetermined: Array, around: Array) -> str:
    """What to say of the caller's rows; those that are ``around`` are among the ``undetermined``."""
    others = int((undetermined & ~around).sum())
    told = [NOT_DETERMINED.format(count=others)] if others else []
    return "; ".join([*told, AROUND.format(count=int(around.sum()))] if around.any() else told)


def _described(row: Row, expected: Expected, dtype: str) -> Row:
    if not expected.has_truth:
        warning = NOISE if row.ok and expected.noise else row.warning
        return dataclasses.replace(row, dtype=dtype, warning=warning)
    return dataclasses.replace(row, live_error=expected.live_error, reference=REFERENCE, dtype=dtype)


def _where_live_is_not_finite(live: Array, truth: Array, given: Array, allowed: float) -> Array:
    """There an artifact that is right agrees with the truth, and one that is faithful with the live model."""
    broken = ~np.isfinite(live) & np.isfinite(truth) & np.isfinite(given)
    with np.errstate(invalid="ignore"):
        right = broken & (np.abs(given - truth) <= allowed)
    return np.where(right, live, given)


def rows_off(expected: Expected, actual: Array, allowed: float) -> list[int]:
    """The first indices of what is further from what is wanted than ``allowed``, or finite where that is not."""
    off = off_of(expected.wanted, actual.astype(np.float64) if actual.dtype.kind == "f" else actual, allowed)
    return sorted(set(np.argwhere(np.atleast_1d(off))[:, 0].tolist()))
