"""Output files of ``pullback eval``: rows are kept beside the target until the last one, then it appears at once.

``<target>.part/`` holds one raw file per output and ``state.json``, replaced after a block where the last time lies
``SAVE_SECONDS`` back: whatever lies beyond what the state says was written by a run that was killed, and is cut off
when it is resumed.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError
from pullback.streams import tables
from pullback.streams.parquet import pyarrow_parquet

STATE = "state.json"
BAD_ROWS = "bad.csv"
_ROWS = 65536  # at a time, when the target is put together

# Putting a file in the place of another makes ext4 write it to the disk, which takes as long as many a block does.
SAVE_SECONDS = 0.5


class Store:
    """Results of the rows done so far."""

    def __init__(self, target: Path, job: dict[str, object], resume: bool) -> None:
        self.target = target
        self.folder = target.with_name(target.name + ".part")
        self._job = job
        self.rows_read = 0
        self.rows_written = 0
        self.bad_rows = 0
        self._side = 0  # bytes of the bad rows
        self._state: dict[str, object] = {}
        self._saved = -SAVE_SECONDS
        self._arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._files: dict[str, BinaryIO] = {}
        if resume and (self.folder / STATE).exists():
            self._resume()
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)

    def append(self, arrays: Mapping[str, Array], rows_read: int, bad: list[tuple[int, str]]) -> None:
        """Results of the next rows (none where all of them were bad); ``rows_read`` of the input were consumed."""
        for name, array in arrays.items():
            dtype, shape = self._arrays.setdefault(name, (array.dtype.str, array.shape[1:]))
            if (array.dtype.str, array.shape[1:]) != (dtype, shape):
                raise InputError(
                    f"{name}: rows of shape {array.shape[1:]} after rows of shape {shape}; write another file"
                )
            self._file(name).write(np.ascontiguousarray(array).data)
        if bad:
            with open(self.folder / BAD_ROWS, "a", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows(bad)
            self._side = (self.folder / BAD_ROWS).stat().st_size
        self.rows_read += rows_read
        self.rows_written += len(next(iter(arrays.values()))) if arrays else 0
        self.bad_rows += len(bad)
        # In one step: whatever interrupts this, the state that is saved is that after a block.
        self._state = {
            "job": self._job,
            "read": self.rows_read,
            "written": self.rows_written,
            "bad": self.bad_rows,
            "arrays": dict(self._arrays),
            "side": self._side,
        }
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._save()

    def finish(self) -> None:
        """Put the target together beside its place, then move it there; the part folder goes."""
        self._save()
        for file in self._files.values():
            file.close()
        made = self.folder / f"made{self.target.suffix}"
        WRITERS[self.target.suffix.lower()](made, self)
        if self.bad_rows:
            side = bad_rows_path(self.target)
            with open(self.folder / BAD_ROWS, encoding="utf-8") as rows, open(side, "w", encoding="utf-8") as stream:
                stream.write("row,reason\n")
                shutil.copyfileobj(rows, stream)
        os.replace(made, self.target)
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Leave the part folder for ``--resume``, unless nothing is in it."""
        with contextlib.suppress(OSError):  # a full disk: what was saved last counts, and why we are here is told
            if self._state:
                self._save()
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
        if not self.rows_read:
            shutil.rmtree(self.folder, ignore_errors=True)

    def dtypes(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """Dtype and row shape of each output."""
        return {name: (np.dtype(dtype), tuple(shape)) for name, (dtype, shape) in self._arrays.items()}

    def raw(self, name: str) -> Path:
        """The raw rows of an output."""
        return self.folder / f"{name}.raw"

    def blocks(self) -> Iterator[dict[str, Array]]:
        """All rows again, some at a time; at least one block, though it may be empty."""
        types = self.dtypes()
        files = {name: open(self.raw(name), "rb") for name in types}  # noqa: SIM115
        try:
            for start in range(0, self.rows_written, _ROWS) or (0,):
                count = min(_ROWS, self.rows_written - start)
                yield {
                    name: np.frombuffer(files[name].read(count * dtype.itemsize * math.prod(shape)), dtype).reshape(
                        count, *shape
                    )
                    for name, (dtype, shape) in types.items()
                }
        finally:
            for file in files.values():
                file.close()

    def _file(self, name: str) -> BinaryIO:
        if name not in self._files:
            self._files[name] = open(self.raw(name), "ab")  # noqa: SIM115
        return self._files[name]

    def _save(self) -> None:
        """What the state says must be in the files before it."""
        for file in self._files.values():
            if not file.closed:
                file.flush()
        self._saved = time.monotonic()
        temporary = self.folder / (STATE + ".new")
        temporary.write_text(json.dumps(self._state), encoding="utf-8")
        os.replace(temporary, self.folder / STATE)

    def _resume(self) -> None:
        state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        changed = sorted(key for key in self._job if state["job"].get(key) != self._job[key])
        if changed:
            raise InputError(
                f"{self.folder}: cannot resume, this run differs in {', '.join(changed)}; --overwrite starts over"
            )
        self.rows_read, self.rows_written, self.bad_rows = state["read"], state["written"], state["bad"]
        self._side = state["side"]
        self._arrays = {name: (dtype, tuple(shape)) for name, (dtype, shape) in state["arrays"].items()}
        for name, (dtype, shape) in self.dtypes().items():
            _cut(self.raw(name), self.rows_written * dtype.itemsize * math.prod(shape))
        _cut(self.folder / BAD_ROWS, state["side"])


def bad_rows_path(target: Path) -> Path:
    """The side file of ``--skip-bad``."""
    return target.with_name(target.name + ".bad.csv")


def _cut(path: Path, size: int) -> None:
    if not path.exists() and size == 0:
        return
    if not path.exists() or path.stat().st_size < size:
        raise InputError(f"{path}: shorter than recorded; --overwrite starts over")
    os.truncate(path, size)


def _write_npz(made: Path, store: Store) -> None:
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, (dtype, shape) in store.dtypes().items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                _write_array(member, store, name, dtype, shape)


def _write_npy(made: Path, store: Store) -> None:
    ((name, (dtype, shape)),) = store.dtypes().items()
    with open(made, "wb") as stream:
        _write_array(stream, store, name, dtype, shape)


def _write_array(stream: Any, store: Store, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (store.rows_written, *shape),
    }
    np.lib.format.write_array_header_1_0(stream, header)
    with open(store.raw(name), "rb") as raw:
        shutil.copyfileobj(raw, stream, 2**20)


def _write_csv(made: Path, store: Store) -> None:
    """Floats with as many digits as give the same number back."""
    with open(made, "w", encoding="utf-8", newline="") as stream:
        for first, block in enumerate(store.blocks()):
            names, values = tables.to_table(block)
            if first == 0:
                csv.writer(stream, lineterminator="\n").writerow(names)
            line = ",".join(_FORMATS.get(value.dtype.name, "%d") for value in values) + "\n"
            stream.writelines(line % row for row in zip(*(value.tolist() for value in values), strict=True))


_FORMATS = {"float16": "%.5g", "float32": "%.9g", "float64": "%.17g"}


def _write_parquet(made: Path, store: Store) -> None:
    parquet = pyarrow_parquet()
    import pyarrow

    writer = None
    try:
        for block in store.blocks():
            names, values = tables.to_table(block)
            table = pyarrow.table(dict(zip(names, map(pyarrow.array, values), strict=True)))
            writer = writer or parquet.ParquetWriter(made, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


WRITERS: dict[str, Callable[[Path, Store], None]] = {
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
