"""Weights in a file beside their graph (ONNX's external data), which ONNX Runtime maps into memory.

Only what Pullback writes is let through: tensors at the top of the graph, in the one file of which the graph's metadata
and the manifest give size and SHA-256, each in a place of its own inside of that file. See
https://github.com/onnx/onnx/blob/main/docs/ExternalData.md and ``StringStringEntryProto`` in ``onnx.proto``.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pullback.errors import BundleError, DamagedError
from pullback.manifest import FileSpec
from pullback.storage import Place, content, wire
from pullback.storage.program import Program

# Where a weight starts: whole pages of every system, the steps in which Windows maps files.
ALIGNMENT = 2**16

_ENTRIES, _LOCATION = 13, 14
_DIMS, _TYPE, _NAME, _DOC = 1, 2, 8, 12


@dataclasses.dataclass(frozen=True)
class Part:
    """A tensor that its graph keeps elsewhere: dtype (``""``: unknown), shape, and its raw fields."""

    dtype: str
    shape: tuple[int, ...]
    message: memoryview


def is_elsewhere(number: int, value: int | memoryview, where: str) -> bool:
    """Whether this field of a ``TensorProto`` says that its content is in another file."""
    return number == _ENTRIES or (number == _LOCATION and wire.number(value, where) != 0)


def check(parts: Sequence[Part], file: FileSpec, where: str) -> None:
    """Each of the ``parts`` must have a place of its own in ``file``; raises ``BundleError``."""
    end = 0
    for start, length in sorted(_place(part, file, where) for part in parts):
        if start < end:
            raise DamagedError(f"{where}: two weights overlap in {file.path!r}; the file is forged")
        end = start + length
        if end > file.size:
            raise DamagedError(f"{where}: a weight ends after {file.path!r} does ({end} of {file.size} bytes)")


def _place(part: Part, file: FileSpec, where: str) -> tuple[int, int]:
    """First byte and number of bytes of a weight."""
    entries: dict[str, str] = {}
    flags = []
    for number, _, value in wire.fields(part.message, where):
        if number == _ENTRIES:
            key, text = _entry(wire.message(value, where), where)
            if key in entries:
                raise DamagedError(f"{where}: a weight in {file.path!r} states its {key!r} twice")
            entries[key] = text
        elif number == _LOCATION:
            flags.append(wire.number(value, where))
        elif number not in (_DIMS, _TYPE, _NAME, _DOC):
            raise DamagedError(f"{where}: a weight in {file.path!r} has other contents too (field {number})")
    if flags != [1] or sorted(entries) != ["length", "location", "offset"]:
        raise DamagedError(f"{where}: a weight does not say which bytes of {file.path!r} it is")
    if entries["location"] != file.path:
        raise DamagedError(f"{where}: a weight is in {entries['location'][:200]!r}; only {file.path!r} is read")
    start, length = (_number(entries[key], key, where) for key in ("offset", "length"))
    if part.dtype in ("", "string") or any(size < 0 for size in part.shape):
        raise DamagedError(f"{where}: a weight in {file.path!r} has no dtype and shape of a weight")
    expected = math.prod(part.shape) * np.dtype(part.dtype).itemsize
    if length != expected or start % ALIGNMENT:
        raise DamagedError(
            f"{where}: a weight of {expected} bytes is said to take {length} from {start} of {file.path!r};"
            f" weights start at multiples of {ALIGNMENT}"
        )
    return start, length


def _entry(entry: memoryview, where: str) -> tuple[str, str]:
    pair = {1: "", 2: ""}
    for number, _, value in wire.fields(entry, where):
        if number in pair:
            pair[number] = wire.text(value, where)
    return pair[1], pair[2]


def _number(text: str, what: str, where: str) -> int:
    """Digits alone: what reads ``+1``, ``0x1`` and `` 1`` as the same number might be another one elsewhere."""
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or str(int(text)) != text:
        raise DamagedError(f"{where}: {text[:60]!r} is no {what} of a weight")
    return int(text)


def check_path(file: FileSpec, where: str) -> None:
    """The metadata of a graph name a file beside it; raises ``BundleError``."""
    if PurePosixPath(file.path).name != file.path or file.path in (".", ".."):
        raise DamagedError(f"{where}: its weights are in {file.path[:200]!r}, which is no file beside it")


class Weights:
    """The checked ``file`` at ``place``, for ONNX Runtime, which opens it by its path and maps it."""

    def __init__(self, place: Place, file: FileSpec) -> None:
        """Reads the file once; raises ``BundleError`` where it is not what was promised."""
        self.file = file
        self._place = place
        self._path = Path(place.where(file.path))
        self._seen = self._state()
        content.check(place, file)
        folder = PurePosixPath(file.path).parent
        # What is a link, or in an archive, is copied into a folder of our own and checked meanwhile.
        self._program = Program(place, str(folder), self._path.parent, (file,))

    def folder(self) -> Path:
        """The folder in which ONNX Runtime finds the file; raises ``BundleError`` where it was changed since."""
        state = self._state()
        if state != self._seen:
            try:
                content.check(self._place, self.file)
            except BundleError as error:
                raise BundleError(f"{error}. If the bundle was replaced after it was loaded, load it again") from error
            self._seen = state
        return self._program.folder()

    def _state(self) -> tuple[object, ...]:
        """Changes when the file does, or another takes its place; empty where it is read as a copy."""
        if not self._place.is_plain(self.file.path):
            return ()
        try:
            found = os.stat(self._path)
        except OSError:
            return ("missing",)
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
