"""Comparison of results: ``compare`` gives one row per output, and a ``Report`` collects the rows.

The error is ``|actual - expected|`` relative to ``max|expected|`` of the whole array, its *scale*.
NaN must occur exactly where the reference has NaN, and each infinity where the reference has the same one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pullback.errors import PullbackError
from pullback.manifest import Tolerance

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Row:
    """One output at one stage.

    ``max_error`` and ``rms_error`` are absolute, ``scale`` is ``max|expected|`` over the finite entries,
    ``bound`` the largest ``max_error / scale`` that passes, and ``worst`` the index of the worst entry
    (its first number is the sample if there is a batch axis); None for an empty array.
    If ``expected`` is not the live model, ``reference`` names it, and ``live_error`` is the absolute error of the
    live model itself; None if it was not measured.
    """

    stage: str
    output: str
    dtype: str
    shape: tuple[int, ...]
    max_error: float
    rms_error: float
    scale: float
    bound: float
    worst: tuple[int, ...] | None
    problem: str = ""
    warning: str = ""
    live_error: float | None = None
    reference: str = ""

    @property
    def ok(self) -> bool:
        """True when the output passed."""
        return not self.problem

    @property
    def relative_error(self) -> float:
        """``max_error / scale``; 0 if both are 0."""
        return self._relative(self.max_error)

    @property
    def relative_live_error(self) -> float:
        """``live_error / scale``; NaN if it was not measured."""
        return math.nan if self.live_error is None else self._relative(self.live_error)

    def _relative(self, error: float) -> float:
        if error == 0:
            return 0.0
        return error / self.scale if self.scale else math.inf


class ParityError(PullbackError):
    """Numbers differ from the live model's by more than the tolerance; see ``report``."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[ParityError], tuple[str, Report]]:
        return type(self), (self.args[0], self.report)


@dataclasses.dataclass(frozen=True)
class Report:
    """Rows of one or more stages; ``report + report`` merges, ``str(report)`` is a table."""

    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when every row passed."""
        return all(row.ok for row in self.rows)

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that did not pass."""
        return tuple(row for row in self.rows if not row.ok)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Findings that are not failures but deserve attention."""
        return tuple(f"{_place(row)}: {row.warning}" for row in self.rows if row.warning)

    def __add__(self, other: Report) -> Report:
        return Report(self.rows + other.rows, self.notes + other.notes)

    def require(self, subject: str) -> Report:
        """This report if it passed; otherwise raises a ``ParityError`` that names the worst row of ``subject``."""
        if self.ok:
            return self
        worst = max(self.failures, key=lambda row: math.inf if math.isnan(row.max_error) else row.relative_error)
        count = f"{len(self.failures)} of {len(self.rows)} comparisons failed"
        raise ParityError(f"{subject}: {_place(worst)}: {worst.problem} ({count}; see .report)", self)

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON; numbers that are not finite become strings."""
        rows = [{k: _json_value(v) for k, v in dataclasses.asdict(row).items()} for row in self.rows]
        return {"ok": self.ok, "rows": rows, "notes": list(self.notes)}

    def __str__(self) -> str:
        return "\n".join([*_table(self.rows), *self.notes, *(f"warning: {text}" for text in self.warnings)])


def compare(
    expected: Mapping[str, npt.ArrayLike],
    actual: Mapping[str, npt.ArrayLike],
    tolerance: Tolerance,
    *,
    stage: str = "",
    derivatives: Collection[str] = (),
    scales: Mapping[str, float] | None = None,
) -> Report:
    """One row per output of ``expected``; missing or additional outputs in ``actual`` are failures.

    ``derivatives`` names the outputs for which an all-zero reference is worth a warning. ``scales`` may
    give an output a smallest scale, for a reference that vanishes where the model's size is known.
    """
    names = [*expected, *(name for name in actual if name not in expected)]
    rows = []
    for name in names:
        if name not in expected or name not in actual:
            which = "missing from the result" if name in expected else "not expected"
            rows.append(Row(stage, name, "", (), math.nan, math.nan, math.nan, 0.0, None, problem=which))
            continue
        least = (scales or {}).get(name, 0.0)
        want, got = np.asarray(expected[name]), np.asarray(actual[name])
        rows.append(compare_arrays(stage, name, want, got, tolerance.of(str(want.dtype)), least))
        if name in derivatives and rows[-1].scale == 0 and np.size(expected[name]):
            rows[-1] = dataclasses.replace(rows[-1], warning="the derivative is zero in every sample")
    return Report(tuple(rows))


def compare_arrays(stage: str, name: str, expected: Array, actual: Array, bound: float, least: float = 0.0) -> Row:
    """One row: ``actual`` may be off by ``bound`` times the scale, which is at least ``least``."""
    dtype = str(expected.dtype)
    row = Row(stage, name, dtype, expected.shape, math.nan, math.nan, math.nan, bound, None)
    if actual.shape != expected.shape:
        return dataclasses.replace(row, problem=f"shape {actual.shape} instead of {expected.shape}")
    if actual.dtype != expected.dtype:
        return dataclasses.replace(row, problem=f"dtype {actual.dtype} instead of {dtype}")
    if not expected.size:
        return dataclasses.replace(row, max_error=0.0, rms_error=0.0, scale=least)
    want, got = _widened(expected), _widened(actual)
    strange = _misplaced(want, got)
    finite = np.isfinite(want) & np.isfinite(got)
    scale = max(float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want))), least)
    with np.errstate(over="ignore"):
        error = np.abs(np.subtract(got, want, where=finite, out=np.zeros_like(want)))
    if expected.dtype.kind in "iu":  # float64 cannot tell large whole numbers apart
        error = np.where((error == 0) & (expected != actual), 1.0, error)
    flat = int(np.argmax(strange)) if strange.any() else int(np.argmax(error))
    worst = tuple(int(i) for i in np.unravel_index(flat, want.shape))
    largest = float(error.max())
    row = dataclasses.replace(row, max_error=largest, rms_error=_rms(error), scale=scale, worst=worst)
    return dataclasses.replace(row, problem=_problem(row, want[worst], got[worst], bool(strange.any())))


def _widened(array: Array) -> Array:
    """As float64."""
    return array.astype(np.float64)


def _rms(error: Array) -> float:
    """Root of the mean square, without overflow."""
    largest = float(error.max())
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(np.mean(np.square(error / largest))))


def _misplaced(want: Array, got: Array) -> Array:
    """Where NaN or an infinity stands in one array and not in the other."""
    wrong_nan = np.isnan(want) != np.isnan(got)
    infinite = np.isinf(want) | np.isinf(got)
    wrong: Array = wrong_nan | (infinite & ~np.isnan(want) & ~np.isnan(got) & (want != got))
    return wrong


def _problem(row: Row, want: float, got: float, strange: bool) -> str:
    if strange:
        return f"{got:g} where {want:g} is expected, at {row.worst}"
    if row.max_error > row.bound * row.scale:
        return f"off by {row.relative_error:.2g} of its size, {row.bound:.2g} is allowed; worst at {row.worst}"
    return ""


def _place(row: Row) -> str:
    return f"{row.stage}: {row.output}" if row.stage else row.output


def _json_value(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _live(row: Row) -> str:
    """The live model's own error, relative."""
    return f"{row.relative_live_error:.2e}" if row.reference else "-"


def _table(rows: tuple[Row, ...]) -> list[str]:
    """Aligned text, one line per row."""
    head = ("stage", "output", "shape", "scale", "max error", "rms error", "relative", "bound", "live", "worst at", "")
    lines: list[tuple[str, ...]] = [head]
    lines += [
        (
            *(row.stage, row.output, "x".join(map(str, row.shape)) or "-", f"{row.scale:.3g}", f"{row.max_error:.2e}"),
            *(f"{row.rms_error:.2e}", f"{row.relative_error:.2e}", f"{row.bound:.1e}", _live(row)),
            *("-" if row.worst is None else ",".join(map(str, row.worst)) or "-", "ok" if row.ok else row.problem),
        )
        for row in rows
    ]
    if all(not row.stage for row in rows):
        lines = [line[1:] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
