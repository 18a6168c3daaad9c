"""Diagonals, bands, and the places of a matrix (tensorflow/core/kernels/matrix_diag_op.cc).

Diagonal ``d`` holds the elements ``(i, j)`` with ``j - i == d``. Several of them, ``low`` to ``high``, are the rows
of a matrix with the highest first, each as long as the longest and aligned to the left or to the right.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import maximum, minimum, product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each
from pullback_export.lowering.registry import lowers


@dataclasses.dataclass(frozen=True)
class Band:
    """The diagonals ``low`` to ``high`` of a ``rows x columns`` matrix, and how they are aligned."""

    low: int
    high: int
    rows: Size
    columns: Size
    right_above: bool
    right_below: bool

    @property
    def count(self) -> int:
        return self.high - self.low + 1

    @property
    def longest(self) -> Size:
        """Length of the longest diagonal."""
        return minimum(self.rows + min(self.high, 0), self.columns - max(self.low, 0))


def _limits(op: OpContext, k: Value) -> tuple[int, int]:
    numbers = op.constant_of(k, "the diagonals").ravel().tolist()
    return int(numbers[0]), int(numbers[-1])


def _alignment(op: OpContext) -> tuple[bool, bool]:
    """Whether the diagonals above and those below the main one are aligned to the right."""
    if not op.type.endswith("V3"):
        return False, False
    above, below = str(op.attr("align")).split("_")
    return above == "RIGHT", below == "RIGHT"


def _counter(op: OpContext, count: Size) -> Value:
    """``0, 1, ..., count - 1``."""
    numbers: Value = op.Range(op.const(0, np.int64), op.reshape(op.sizes([count]), []), op.const(1, np.int64))
    numbers.refine((count,))
    return numbers


def _scalar(op: OpContext, size: Size) -> Value:
    return op.reshape(op.sizes([size]), [])


def _offset(op: OpContext, band: Band, diagonal: Value) -> Value:
    """How far the elements of a diagonal are moved to the right: ``longest - length`` or 0."""
    zero = op.const(0, np.int64)
    length = op.Min(_scalar(op, band.rows) + op.Min(diagonal, zero), _scalar(op, band.columns) - op.Max(diagonal, zero))
    gap = _scalar(op, band.longest) - length
    if band.right_above and band.right_below:
        return gap
    if not band.right_above and not band.right_below:
        return op.const(0, np.int64)
    above = diagonal >= zero if band.right_above else diagonal < zero
    moved: Value = op.Where(above, gap, zero)
    return moved


def _inside(op: OpContext, band: Band) -> tuple[Value, Value, Value]:
    """``(row, column, column - row)`` of the places of the matrix."""
    row = op.Unsqueeze(_counter(op, band.rows), [1])
    column = op.Unsqueeze(_counter(op, band.columns), [0])
    return row, column, column - row


def _matrix(op: OpContext, diagonals: Value, band: Band, outside: Value) -> Value:
    """The matrices with these diagonals, and ``outside`` (a scalar or matrices) elsewhere.

    ``m[i, j] = diagonals[high - (j - i), min(i, j) + offset]``.
    """
    lead = diagonals.dims[: diagonals.rank - (1 if band.low == band.high else 2)]
    row, column, diagonal = _inside(op, band)
    if band.low == band.high:
        on_band = diagonal.equals(band.low)
        if band.low == 0 and band.rows == band.columns:  # a row of the result is a row of zeros but for one place
            return op.where(on_band, op.Unsqueeze(diagonals, [diagonals.rank]), outside)
        place = op.Min(row, column)
    else:
        on_band = (diagonal >= band.low) & (diagonal <= band.high)
        held = op.Max(op.Min(diagonal, op.const(band.high, np.int64)), op.const(band.low, np.int64))
        place = (op.const(band.high, np.int64) - held) * _scalar(op, band.longest)
        place = place + op.Min(row, column) + _offset(op, band, held)
    limit = _scalar(op, band.longest * band.count - 1)
    place = op.Max(op.Min(place, limit), op.const(0, np.int64))
    flat = op.reshape(diagonals, [*lead, band.longest * band.count])
    picked = op.Gather(flat, op.reshape(place, [-1]), axis=len(lead))
    square = op.reshape(picked, [*lead, band.rows, band.columns])
    return op.where(on_band, square, outside)


def _diagonals(op: OpContext, matrix: Value, band: Band, padding: Value) -> Value:
    """The diagonals of the matrices, ``padding`` where a shorter one has no element."""
    lead = matrix.dims[:-2]
    flat = op.reshape(matrix, [*lead, band.rows * band.columns])
    place = _counter(op, band.longest)
    if band.low == band.high:
        start = _scalar(op, band.columns) * max(-band.low, 0) + max(band.high, 0)
        picked: Value = op.Gather(flat, place * (_scalar(op, band.columns) + 1) + start, axis=len(lead))
        return picked
    zero = op.const(0, np.int64)
    diagonal = op.const(np.arange(band.high, band.low - 1, -1)[:, None], np.int64)
    place = op.Unsqueeze(place, [0]) - _offset(op, band, diagonal)
    row, column = place - op.Min(diagonal, zero), place + op.Max(diagonal, zero)
    inside = (place >= zero) & (row < _scalar(op, band.rows)) & (column < _scalar(op, band.columns))
    at = op.Where(inside, row * _scalar(op, band.columns) + column, zero)
    picked = op.Gather(flat, op.reshape(at, [-1]), axis=len(lead))
    picked = op.reshape(picked, [*lead, band.count, band.longest])
    return op.where(inside, picked, padding)


@lowers("MatrixDiag")
def matrix_diag(op: OpContext, diagonal: Any) -> Any:
    """Square matrices with this main diagonal and zeros elsewhere."""
    return each(lambda part: _square(op, part), diagonal)


def _square(op: OpContext, diagonal: Value) -> Value:
    size = diagonal.dims[-1]
    return _matrix(op, diagonal, Band(0, 0, size, size, False, False), op.const(0, diagonal.dtype))


@lowers("MatrixDiagV2", "MatrixDiagV3", complex_parts=True)
def matrix_diag_v2(op: OpContext, diagonals: Value, k: Value, rows: Value, columns: Value, padding: Value) -> Value:
    """Matrices with the diagonals ``k``, ``padding`` elsewhere; a size of -1 is as small as the diagonals allow."""
    low, high = _limits(op, k)
    longest = diagonals.dims[-1]
    least_rows, least_columns = longest + max(-high, 0), longest + max(low, 0)
    asked = [int(op.constant_of(value, "the size of the matrix")) for value in (rows, columns)]
    if asked == [-1, -1]:
        size = maximum(least_rows, least_columns)
        sizes: list[Size] = [size, size]
    else:
        sizes = [least if size == -1 else size for least, size in zip((least_rows, least_columns), asked, strict=True)]
    band = Band(low, high, sizes[0], sizes[1], *_alignment(op))
    return _matrix(op, diagonals, band, padding)


@lowers("MatrixDiagPart")
def matrix_diag_part(op: OpContext, matrix: Any) -> Any:
    """The main diagonals."""
    return each(lambda part: _main(op, part), matrix)


def _main(op: OpContext, matrix: Value) -> Value:
    band = Band(0, 0, matrix.dims[-2], matrix.dims[-1], False, False)
    return _diagonals(op, matrix, band, op.const(0, matrix.dtype))


@lowers("MatrixDiagPartV2", "MatrixDiagPartV3", complex_parts=True)
def matrix_diag_part_v2(op: OpContext, matrix: Value, k: Value, padding: Value) -> Value:
    """The diagonals ``k`` of the matrices."""
    low, high = _limits(op, k)
    band = Band(low, high, matrix.dims[-2], matrix.dims[-1], *_alignment(op))
    return _diagonals(op, matrix, band, padding)


@lowers("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3", complex_parts=True)
def matrix_set_diag(op: OpContext, matrix: Value, diagonals: Value, *k: Value) -> Value:
    """The matrices with other diagonals ``k``."""
    low, high = _limits(op, k[0]) if k else (0, 0)
    band = Band(low, high, matrix.dims[-2], matrix.dims[-1], *_alignment(op))
    return _matrix(op, diagonals, band, matrix)


@lowers("MatrixBandPart", complex_parts=True)
def matrix_band_part(op: OpContext, matrix: Value, lower: Value, upper: Value) -> Value:
    """The matrices with zeros below diagonal ``-lower`` and above diagonal ``upper``; a negative number keeps all."""
    wide = matrix if matrix.dtype in (np.float32, np.float64, np.int32, np.int64, bool) else op.cast(matrix, np.int64)
    for width, keep_upper in ((lower, 1), (upper, 0)):
        if width.const is not None and width.const < 0:
            continue
        number = op.cast(width, np.int64)
        if width.const is None:
            rows, columns = (_scalar(op, size) for size in matrix.dims[-2:])
            number = op.Where(number < 0, op.Max(rows, columns), number)
        wide = op.Trilu(wide, -number if keep_upper else number, upper=keep_upper)
    return op.cast(wide, matrix.dtype)


@lowers("Diag")
def diag(op: OpContext, x: Any) -> Any:
    """The tensor of twice the rank whose diagonal is ``x``."""
    dims = (x.real if isinstance(x, ComplexValue) else x).dims
    return each(lambda part: op.reshape(_square(op, op.reshape(part, [product(dims)])), [*dims, *dims]), x)


@lowers("DiagPart")
def diag_part(op: OpContext, x: Any) -> Any:
    """The diagonal of a tensor of shape ``s + s``."""
    shape = (x.real if isinstance(x, ComplexValue) else x).dims
    dims = shape[: len(shape) // 2]
    size = product(dims)
    return each(lambda part: op.reshape(_main(op, op.reshape(part, [size, size])), dims), x)
