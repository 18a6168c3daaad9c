"""Input files of arrays, npy and npz, read a block of rows at a time."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError
from pullback.manifest import TensorSpec
from pullback.streams.tables import Block
from pullback.texts import STRING


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
