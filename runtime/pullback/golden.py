"""``golden.npz``: inputs and the live model's answers, for self-checks where there is no TensorFlow.

Keys are ``<function>/<case>/in/<name>`` and ``<function>/<case>/out/<name>``; cases count from 0. An input of strings
has two of them, ``.../in/<name>/utf8`` and ``.../in/<name>/ends`` (see :mod:`pullback.texts`). Arrays are read by hand,
header first, so that neither a pickle nor a bomb gets as far as NumPy.
"""

from __future__ import annotations

import dataclasses
import io
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pullback.errors import BundleError, DamagedError
from pullback.manifest import Dim, FunctionSpec, TensorSpec
from pullback.texts import BYTES, ENDS, STRING, packed, unpacked

Array = npt.NDArray[Any]

MAX_BYTES = 2**30
MAX_MEMBERS = 100_000
_MAX_HEADER = 4096


@dataclasses.dataclass(frozen=True)
class Case:
    """One call and its answer, arrays by name."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]


def write(target: str | Path | BinaryIO, cases: Mapping[str, Sequence[Case]]) -> None:
    """Write the cases of each function; the same arrays give the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for function, its_cases in cases.items():
            for number, case in enumerate(its_cases):
                for way, arrays in (("in", case.inputs), ("out", case.outputs)):
                    for name, array in _members_of(arrays):
                        content = io.BytesIO()
                        np.lib.format.write_array(content, np.asarray(array), (1, 0), allow_pickle=False)
                        info = zipfile.ZipInfo(f"{function}/{number}/{way}/{name}.npy")  # dated 1980
                        info.compress_type = zipfile.ZIP_DEFLATED
                        archive.writestr(info, content.getvalue())


def _members_of(arrays: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Names and arrays as they are stored, without objects."""
    for name, array in arrays.items():
        if np.asarray(array).dtype == object:
            yield from ((f"{name}/{part}", numbers) for part, numbers in packed(array).items())
        else:
            yield name, array


def read(content: bytes, functions: Sequence[FunctionSpec], where: str) -> dict[str, list[Case]]:
    """The cases of each function, in order.

    Raises:
        BundleError: an array is missing, unknown, too large or not of its function's dtype and shape.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            reader = _Reader(archive, where)
            found = {spec.name: reader.cases(spec) for spec in functions}
    except BundleError:
        raise
    except Exception as error:  # damage makes zipfile raise BadZipFile, zlib.error, ValueError, RuntimeError ...
        raise DamagedError(f"{where}: not a readable archive ({error}); it is damaged") from error
    if reader.members:
        raise DamagedError(f"{where}: {min(reader.members)!r} belongs to no input or output")
    return found


def _members(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise DamagedError(f"{where}: {len(entries)} arrays; at most {MAX_MEMBERS} are read")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise DamagedError(f"{where}: larger than {MAX_BYTES} bytes when unpacked; this is not a set of samples")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        key = entry.filename.removesuffix(".npy")
        if key in members or key == entry.filename:
            raise DamagedError(f"{where}: {entry.filename!r} occurs twice or is not an array")
        members[key] = entry
    return members


class _Reader:
    """Reads arrays of an archive; ``members`` are those that nobody has read yet."""

    def __init__(self, archive: zipfile.ZipFile, where: str) -> None:
        self.members = _members(archive, where)
        self._archive, self._where = archive, where

    def cases(self, spec: FunctionSpec) -> list[Case]:
        """All cases of a function."""
        cases: list[Case] = []
        while any(f"{spec.name}/{len(cases)}/in/{_first_key(tensor)}" in self.members for tensor in spec.inputs):
            prefix, free = f"{spec.name}/{len(cases)}", dict[str, int]()
            groups = [
                {tensor.name: self._tensor(f"{prefix}/{way}/{tensor.name}", tensor, free) for tensor in tensors}
                for way, tensors in (("in", spec.inputs), ("out", spec.outputs))
            ]
            cases.append(Case(*groups))
        if not cases:
            raise DamagedError(f"{self._where}: no sample for function {spec.name!r}")
        return cases

    def _tensor(self, key: str, tensor: TensorSpec, free: dict[str, int]) -> Array:
        """``free`` has the sizes of the free axes that the case has so far."""
        return (self._texts if tensor.dtype == STRING else self._array)(key, tensor, free)

    def _texts(self, key: str, tensor: TensorSpec, free: dict[str, int]) -> Array:
        """An array of strings, from the two that hold it; each string is within the bytes, and is UTF-8."""
        ends = dataclasses.replace(tensor, dtype="int64")
        content = dataclasses.replace(tensor, dtype="uint8", shape=("bytes",))
        places = self._array(f"{key}/{ENDS}", ends, free)
        bytes_of_all = self._array(f"{key}/{BYTES}", content, {})
        try:
            return unpacked(bytes_of_all, places)
        except ValueError as error:
            raise DamagedError(f"{self._where}: {key}: not an array of strings ({error}); it is damaged") from error

    def _array(self, key: str, tensor: TensorSpec, free: dict[str, int]) -> Array:
        if key not in self.members:
            raise DamagedError(f"{self._where}: {key!r} is missing")
        member, where = self.members.pop(key), f"{self._where}: {key}"
        with self._archive.open(member) as stream:
            shape, fortran, dtype = _header(stream.read(_MAX_HEADER), where)
        wanted = np.dtype(tensor.dtype)
        if dtype != wanted or not fits(shape, tensor.shape, free):
            raise DamagedError(f"{where}: it holds {dtype} {shape}, the specification says {tensor}")
        size = math.prod(shape) * wanted.itemsize
        data = self._archive.read(member)  # never more than member.file_size, which is limited
        if not size <= len(data) - 10 <= size + _MAX_HEADER:
            raise DamagedError(f"{where}: {len(data)} bytes cannot hold {dtype} {shape}; it is damaged")
        flat = np.frombuffer(data, dtype=dtype, offset=len(data) - size)
        return flat.reshape(shape, order="F" if fortran else "C").astype(wanted, order="C")


def _first_key(tensor: TensorSpec) -> str:
    return f"{tensor.name}/{ENDS}" if tensor.dtype == STRING else tensor.name


def _header(start: bytes, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    stream = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(stream)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = reader(stream, max_header_size=_MAX_HEADER)
    except Exception as error:  # a forged header makes NumPy raise all sorts, tokenize.TokenError among them
        raise DamagedError(f"{where}: not a plain NumPy array ({error})") from error
    if dtype.hasobject or any(type(size) is not int or size < 0 for size in shape):
        raise DamagedError(f"{where}: it holds {dtype} {shape}, which is not an array of numbers")
    return shape, fortran, dtype


def fits(shape: Sequence[int], dims: Sequence[Dim], free: dict[str, int]) -> bool:
    """Whether an array of ``shape`` fits ``dims``; free dimensions are kept in ``free`` and must agree."""
    if len(shape) != len(dims):
        return False
    pairs = zip(shape, dims, strict=True)
    return all(free.setdefault(dim, size) == size if isinstance(dim, str) else dim == size for size, dim in pairs)
