"""Input files of ``pullback eval``, read a block of rows at a time: which reader a file has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from pullback.errors import InputError
from pullback.manifest import TensorSpec
from pullback.streams.arrays import NpySource, NpzSource
from pullback.streams.comma_separated import CsvSource
from pullback.streams.parquet import ParquetSource
from pullback.streams.tables import Block


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
