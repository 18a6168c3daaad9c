"""Input files of Parquet, read a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pullback.errors import InputError, MissingDependencyError
from pullback.manifest import TensorSpec
from pullback.streams import tables
from pullback.streams.tables import Block
from pullback.texts import STRING, objects


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
