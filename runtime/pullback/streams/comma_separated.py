"""Input files of comma-separated values, read a block of lines at a time."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError
from pullback.manifest import TensorSpec
from pullback.streams import tables
from pullback.streams.tables import Block
from pullback.texts import STRING


class CsvSource:
    """Comma-separated numbers under a header of column names, in any order; further columns are ignored.

    Where an input holds strings, every cell is read as one, spaces and all, without the quotes around it.
    """

    def __init__(self, path: Path, tensors: Sequence[TensorSpec]) -> None:
        self._path, self._tensors = path, tensors
        self._texts = any(tensor.dtype == STRING for tensor in tensors)
        self._table = _cells if self._texts else _numbers
        self.rows: int | None = None
        with self._open() as stream:
            header = [cell.strip().strip('"') for cell in _split_header(stream.readline())]
        wanted = tables.input_columns(tensors)
        missing = [column for column in wanted if column not in header]
        if missing:
            raise InputError(f"{path}: no column {missing[0]!r} in its first line; needed are {', '.join(wanted)}")
        if len(set(header)) < len(header):
            raise InputError(f"{path}: two columns have the same name; rename one")
        self._width, self._picked = len(header), [header.index(column) for column in wanted]

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """See ``Source``."""
        with self._open() as stream:
            stream.readline()
            if start:
                next(itertools.islice(stream, start - 1, start), None)
            yield tables.to_arrays(np.empty((0, len(self._picked))), self._tensors), []
            while lines := self._lines(stream, size):
                yield self._parse(lines, start)
                start += len(lines)

    def _lines(self, stream: TextIO, size: int) -> list[str]:
        lines = list(itertools.islice(stream, size))
        if len(lines) < size:  # the end: blank lines there are no rows
            while lines and not lines[-1].strip():
                lines.pop()
        return lines

    def _parse(self, lines: list[str], first: int) -> Block:
        try:
            table = self._table(lines)
            if table.shape != (len(lines), self._width):
                raise ValueError
            return tables.to_arrays(table[:, self._picked], self._tensors), []
        except ValueError:
            return self._parse_slowly(lines, first)

    def _parse_slowly(self, lines: list[str], first: int) -> Block:
        """Line by line, to tell the bad ones from the good ones."""
        good, bad = [np.empty((0, len(self._picked)))], []
        for number, line in enumerate(lines, first):
            try:
                row = self._table([line])
                if row.shape != (1, self._width):
                    raise ValueError(f"{row.size} cells instead of {self._width}")
                tables.to_arrays(row[:, self._picked], self._tensors)
                good.append(row[:, self._picked])
            except ValueError as error:
                bad.append((number, f"{str(error).split(' to float64')[0]}: {line.strip()[:80]!r}"))
        return tables.to_arrays(np.concatenate(good), self._tensors), bad

    def _open(self) -> TextIO:
        # What is not UTF-8 makes a bad row: it is no number, and no string that can be encoded.
        return open(self._path, encoding="utf-8-sig", errors="surrogateescape" if self._texts else "replace")


def _split_header(line: str) -> list[str]:
    """Cells of the header; a comma between brackets belongs to a name such as ``x[0,1]``."""
    cells, depth = [""], 0
    for character in line.rstrip("\n"):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            cells.append("")
        else:
            cells[-1] += character
    return cells


def _numbers(lines: list[str]) -> Array:
    if not any(line.strip() for line in lines):
        raise ValueError("an empty line")
    table: Array = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2, quotechar='"')
    return table


def _cells(lines: list[str]) -> Array:
    """The cells of each line as strings; raises ``ValueError``."""
    if not all(line.strip() for line in lines):
        raise ValueError("an empty line")
    try:
        rows = [next(csv.reader([line.rstrip("\r\n")], strict=True)) for line in lines]
    except csv.Error as error:
        raise ValueError(f"{error}; a cell cannot go on in the next line") from error
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of different lengths")
    return np.array(rows, object)
