"""Input files of ``pullback eval``, read a block of rows at a time: npy, npz, csv and Parquet."""

from __future__ import annotations

import csv
import itertools
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError, MissingDependencyError
from pullback.manifest import TensorSpec
from pullback.streams import tables
from pullback.streams.tables import Block
from pullback.texts import STRING, objects


class Source(Protocol):
    """``rows`` is the total where it is known; ``blocks`` starts at row ``start`` and yields at least once."""

    rows: int | None

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """Blocks that cover ``size`` rows of the file each (the last one may be shorter)."""


def open_source(path: Path, tensors: Sequence[TensorSpec]) -> Source:
    """The file as rows for ``tensors``; raises ``InputError`` when it does not fit."""
    kinds: dict[str, Any] = {".npy": NpySource, ".npz": NpzSource, ".csv": CsvSource, ".parquet": ParquetSource}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: unknown type of file; known types are {', '.join(kinds)}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the path")
    made: Source = kind(path, tensors)
    return made


class _Stream:
    """One array whose rows are read in order."""

    def __init__(self, path: str, tensor: TensorSpec, stream: Any) -> None:
        self.stream, self.path, self.tensor = stream, path, tensor
        shape, fortran, dtype = _npy_header(stream, path)
        if fortran and len(shape) > 1:
            raise InputError(f"{path}: stored column by column; save it with np.ascontiguousarray first")
        wanted = tuple(tensor.shape[1:])
        if len(shape) != len(wanted) + 1 or any(
            isinstance(w, int) and w != n for n, w in zip(shape[1:], wanted, strict=True)
        ):
            raise InputError(f"{path}: shape {shape} does not fit {tensor}; reshape the array")
        if dtype.kind not in ("US" if tensor.dtype == STRING else "fiub"):
            raise InputError(f"{path}: dtype {dtype} does not fit {tensor}; convert the array with astype")
        self.rows, self.row_shape, self.dtype = shape[0], shape[1:], dtype
        self.row_bytes = math.prod(self.row_shape) * dtype.itemsize
        self.offset = stream.tell()

    def read(self, rows: int) -> Array:
        """The next rows, as stored."""
        try:
            data = self.stream.read(rows * self.row_bytes)
        except Exception as error:  # damage makes zipfile raise all sorts
            raise InputError(f"{self.path}: cannot be read ({error}); it is damaged") from error
        if len(data) != rows * self.row_bytes:
            raise InputError(f"{self.path}: the file ends too early; it is truncated, copy it again")
        return np.frombuffer(data, self.dtype).reshape(rows, *self.row_shape)

    def skip(self, rows: int) -> None:
        """Go to row ``rows``."""
        try:
            self.stream.seek(self.offset + rows * self.row_bytes)
        except Exception as error:
            raise InputError(f"{self.path}: cannot be read ({error}); it is damaged") from error


def _npy_header(stream: Any, path: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream)
    except Exception as error:  # a damaged header makes NumPy raise all sorts
        raise InputError(f"{path}: not a plain NumPy array ({error}); write one with np.save") from error
    return shape, fortran, dtype


class NpySource:
    """One array, for a function of one input."""

    def __init__(self, path: Path, tensors: Sequence[TensorSpec]) -> None:
        if len(tensors) != 1:
            names = ", ".join(tensor.name for tensor in tensors)
            raise InputError(f"{path}: an npy file holds one array, the inputs are {names}; use npz or csv")
        self._path, self._tensor = path, tensors[0]
        with open(path, "rb") as stream:
            self.rows: int | None = _Stream(str(path), tensors[0], stream).rows

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """See ``Source``."""
        with open(self._path, "rb") as stream:
            yield from _array_blocks([_Stream(str(self._path), self._tensor, stream)], start, size)


class NpzSource:
    """Arrays by input name; what else the archive holds is ignored."""

    def __init__(self, path: Path, tensors: Sequence[TensorSpec]) -> None:
        self._path, self._tensors = path, tensors
        with self._open() as archive:
            counts = {stream.tensor.name: stream.rows for stream in self._streams(archive)}
        if len(set(counts.values())) != 1:
            raise InputError(
                f"{path}: the inputs have different numbers of rows; give the same number for each: {counts}"
            )
        self.rows: int | None = next(iter(counts.values()))

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """See ``Source``."""
        with self._open() as archive:
            yield from _array_blocks(self._streams(archive), start, size)

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except Exception as error:  # damage makes zipfile raise all sorts
            raise InputError(f"{self._path}: not an npz file ({error}); write one with np.savez") from error

    def _streams(self, archive: zipfile.ZipFile) -> list[_Stream]:
        streams = []
        for tensor in self._tensors:
            try:
                member: Any = archive.open(f"{tensor.name}.npy")
            except KeyError as error:
                held = ", ".join(sorted(name.removesuffix(".npy") for name in archive.namelist()))
                raise InputError(f"{self._path}: there is no array {tensor.name!r}; it holds {held}") from error
            except Exception as error:
                raise InputError(f"{self._path}: {tensor.name} cannot be read ({error}); it is damaged") from error
            streams.append(_Stream(f"{self._path}: {tensor.name}", tensor, member))
        return streams


def _array_blocks(streams: list[_Stream], start: int, size: int) -> Iterator[Block]:
    for stream in streams:
        stream.skip(start)
    for first in range(start, streams[0].rows, size) or (start,):
        count = min(size, streams[0].rows - first)
        yield {stream.tensor.name: stream.read(count) for stream in streams}, []


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


class ParquetSource:
    """Columns of numbers and of strings, named as in a csv file."""

    def __init__(self, path: Path, tensors: Sequence[TensorSpec]) -> None:
        self._path, self._tensors = path, tensors
        self._columns = tables.input_columns(tensors)
        self._texts = frozenset(tables.input_columns([tensor for tensor in tensors if tensor.dtype == STRING]))
        self._parquet = pyarrow_parquet()
        try:
            file = self._parquet.ParquetFile(path)
        except Exception as error:
            raise InputError(f"{path}: not a Parquet file ({error}); write one with pyarrow or pandas") from error
        missing = [column for column in self._columns if column not in file.schema_arrow.names]
        if missing:
            raise InputError(f"{path}: no column {missing[0]!r}; needed are {', '.join(self._columns)}")
        self.rows: int | None = file.metadata.num_rows
        file.close()

    def blocks(self, start: int, size: int) -> Iterator[Block]:
        """See ``Source``."""
        seen = 0
        yield tables.to_arrays(np.empty((0, len(self._columns))), self._tensors), []
        # Without these two the whole file ends up in memory: pyarrow reads ahead, and columns as wide as a row group.
        with self._parquet.ParquetFile(self._path, pre_buffer=False, buffer_size=2**20) as file:
            for batch in file.iter_batches(batch_size=size, columns=self._columns, use_threads=False):
                skipped = min(max(start - seen, 0), batch.num_rows)
                if skipped < batch.num_rows:
                    yield self._parse(batch.slice(skipped), seen + skipped)
                seen += batch.num_rows

    def _parse(self, batch: Any, first: int) -> Block:
        try:
            picked = [
                objects(batch.column(name).to_pylist())
                if name in self._texts
                else batch.column(name).cast("float64").to_numpy(zero_copy_only=False)
                for name in self._columns
            ]
        except Exception as error:
            raise InputError(f"{self._path}: a column is not numeric ({error}); encode it as numbers") from error
        table = np.stack(picked, axis=1) if picked else np.empty((batch.num_rows, 0))
        null = np.zeros(len(table), bool)
        for name in self._columns:
            null |= batch.column(name).is_null().to_numpy(zero_copy_only=False)
        return tables.split(table, self._tensors, first, {int(row): "a cell is null" for row in np.flatnonzero(null)})


def pyarrow_parquet() -> Any:
    """The module ``pyarrow.parquet``; raises ``MissingDependencyError``."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError('Parquet files need pyarrow: pip install "pullback[io]"') from error
    return pyarrow.parquet


__all__ = ["Block", "Source", "open_source"]
