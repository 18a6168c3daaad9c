"""A table of each library as columns of numbers, and columns of numbers as a table of that library.

This module imports only libraries that the caller has: a table comes with its library.
"""

from __future__ import annotations

import importlib
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError
from pullback.texts import objects


class Rows(Protocol):
    """What ``evaluate`` reads from a table."""

    names: list[str]  # of its columns, those of other tables than pandas' are unique
    rows: int

    def column(self, name: str) -> tuple[Array, Array]:
        """Numbers ``(rows,)``, anything where there is none, and which are missing; raises ``InputError``."""

    def texts(self, name: str) -> tuple[Array, Array]:
        """Whatever ``(rows,)`` the column holds, as objects, and which are missing."""

    def row(self, number: int) -> str:
        """The location of a row for error messages."""


class Frame(Rows, Protocol):
    """A table that is made of columns."""

    def rebuilt(self, columns: Mapping[str, Array]) -> Any:
        """A table of the same kind, with the rows of this one."""


class PandasFrame:
    """A ``pandas.DataFrame``; its index is kept."""

    def __init__(self, table: Any) -> None:
        self._table, self._pandas = table, importlib.import_module("pandas")
        self.names, self.rows = [str(name) for name in table.columns], len(table)

    def column(self, name: str) -> tuple[Array, Array]:
        series = self._table.iloc[:, self.names.index(name)]
        missing = np.asarray(series.isna(), np.bool_)
        if series.dtype == object:
            return _of_objects(name, series.tolist(), missing), missing
        if not self._pandas.api.types.is_numeric_dtype(series.dtype) or series.dtype.kind == "c":
            raise not_numbers(name, series.dtype)
        if isinstance(series.dtype, np.dtype):
            return series.to_numpy(), missing
        filled = series.fillna(0) if missing.any() else series
        return np.asarray(filled.to_numpy(_numpy_dtype(filled.dtype))), missing

    def texts(self, name: str) -> tuple[Array, Array]:
        series = self._table.iloc[:, self.names.index(name)]
        return objects(series.tolist()), np.asarray(series.isna(), np.bool_)

    def row(self, number: int) -> str:
        label = self._table.index[number]
        return f"row {number}" if label == number else f"row {number} (index {label!r})"

    def rebuilt(self, columns: Mapping[str, Array]) -> Any:
        return self._pandas.DataFrame(dict(columns), index=self._table.index)


class PolarsFrame:
    """A ``polars.DataFrame``."""

    def __init__(self, table: Any) -> None:
        self._table, self._polars = table, importlib.import_module("polars")
        self.names, self.rows = list(table.columns), table.height

    def column(self, name: str) -> tuple[Array, Array]:
        series = self._table[name]
        if series.dtype == self._polars.Null:
            return np.zeros(self.rows), np.ones(self.rows, np.bool_)
        if not (series.dtype.is_numeric() or series.dtype == self._polars.Boolean):
            raise not_numbers(name, series.dtype)
        if series.dtype.is_decimal():
            series = series.cast(self._polars.Float64)
        missing = series.is_null()
        if series.dtype.is_float():
            missing = missing | series.is_nan().fill_null(True)
        filled = series.fill_null(False if series.dtype == self._polars.Boolean else 0)
        return filled.to_numpy(), missing.to_numpy()

    def texts(self, name: str) -> tuple[Array, Array]:
        series = self._table[name]
        return objects(series.to_list()), series.is_null().to_numpy()

    def row(self, number: int) -> str:
        return f"row {number}"

    def rebuilt(self, columns: Mapping[str, Array]) -> Any:
        return self._polars.DataFrame(dict(columns))


class ArrowFrame:
    """A ``pyarrow.Table`` or ``RecordBatch``."""

    def __init__(self, table: Any) -> None:
        self._table, self._arrow = table, importlib.import_module("pyarrow")
        self._compute = importlib.import_module("pyarrow.compute")
        self.names, self.rows = list(table.schema.names), table.num_rows

    def column(self, name: str) -> tuple[Array, Array]:
        array, types = self._table.column(self.names.index(name)), self._arrow.types
        if types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        kind = array.type
        if types.is_null(kind):
            return np.zeros(self.rows), np.ones(self.rows, np.bool_)
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
            raise not_numbers(name, kind)
        if types.is_decimal(kind):
            array = array.cast(self._arrow.float64())
        missing = np.asarray(self._compute.is_null(array, nan_is_null=True), np.bool_)
        nulls = np.asarray(self._compute.is_null(array), np.bool_)
        if nulls.any():
            zero = self._arrow.scalar(0).cast(array.type) if not types.is_boolean(kind) else False
            array = self._compute.fill_null(array, zero)
        return np.asarray(array), missing

    def texts(self, name: str) -> tuple[Array, Array]:
        array = self._table.column(self.names.index(name))
        return objects(array.to_pylist()), np.asarray(self._compute.is_null(array), np.bool_)

    def row(self, number: int) -> str:
        return f"row {number}"

    def rebuilt(self, columns: Mapping[str, Array]) -> Any:
        return type(self._table).from_arrays([self._arrow.array(item) for item in columns.values()], list(columns))


FRAMES: dict[tuple[str, str], type[Any]] = {
    ("pandas", "DataFrame"): PandasFrame,
    ("polars", "DataFrame"): PolarsFrame,
    ("pyarrow", "Table"): ArrowFrame,
    ("pyarrow", "RecordBatch"): ArrowFrame,
}

_HINTS = {
    ("polars", "LazyFrame"): "collect() it first",
    ("pandas", "Series"): "make it a frame: series.to_frame().T of one row, series.to_frame() of one column",
    ("polars", "Series"): "make it a frame: series.to_frame()",
}


def framed(table: Any) -> Frame:
    """The table as columns; raises ``InputError`` if it is not a table."""
    for kind in type(table).__mro__:
        place = (kind.__module__.split(".")[0], kind.__name__)
        if place in FRAMES:
            found: Frame = FRAMES[place](table)
            return found
        if place in _HINTS:
            raise InputError(f"{place[0]}.{place[1]} is no table of rows; {_HINTS[place]}")
    raise InputError(
        "a table is a DataFrame of pandas or polars, a Table or RecordBatch of pyarrow, or a Dataset or DataArray of"
        f" xarray; got {type(table).__module__}.{type(table).__name__}"
    )


def not_numbers(name: str, kind: object) -> InputError:
    """The message for a column that is not numeric."""
    return InputError(f"column {name!r} holds {kind}; encode it as numbers, the way it was when the model was trained")


def _of_objects(name: str, values: Sequence[Any], missing: Array) -> Array:
    for value, gone in zip(values, missing, strict=True):
        if not gone and not isinstance(value, (numbers.Real, np.bool_)):
            raise not_numbers(name, type(value).__name__)
    return np.array([0.0 if gone else float(value) for value, gone in zip(values, missing, strict=True)])


def _numpy_dtype(dtype: Any) -> Any:
    """Of an extension type: the numbers it holds."""
    held = getattr(dtype, "numpy_dtype", None) or getattr(dtype, "subtype", None)
    return np.float64 if held is None or np.dtype(held).kind not in "fiub" else held
