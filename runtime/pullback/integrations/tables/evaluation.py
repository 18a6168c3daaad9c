"""``evaluate``: a table of inputs to a table of results."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.integrations.tables import grids
from pullback.integrations.tables.columns import input_columns, result_columns
from pullback.integrations.tables.frames import Rows, framed
from pullback.manifest import TensorSpec
from pullback.streams.tables import row_shape
from pullback.texts import STRING, numpy_dtype

_SHOWN = 5  # missing values that a message lists


def evaluate(
    bundle: Bundle,
    table: Any,
    *,
    fetch: Iterable[str] | None = None,
    given: Mapping[str, Any] | None = None,
    extra: str = "ignore",
    missing: str = "error",
    chunk: int | None = None,
) -> Any:
    """Outputs and derivatives of every row, as a table of the same kind, with its index or its coordinates.

    Columns are found by name, in any order; see :func:`input_columns` and :func:`result_columns`. For a DataFrame, a
    Table or a RecordBatch, the results are columns ``y``, ``dy_dx[age]``. For an xarray Dataset, whose variables are
    the features, or a DataArray with one axis of features, they are a Dataset with variables ``y`` and ``dy_dx`` over
    the same axes, and over ``x_feature`` if an input has several components.

    Args:
        bundle: a loaded bundle that treats every row separately.
        table: of pandas, polars, pyarrow or xarray.
        fetch: names of results; None: all.
        given: a value for each input that the table does not contain, for one row.
        extra: for columns that belong to no input: ``"ignore"`` or ``"error"``.
        missing: for a row with a missing value (null, NaN, NA): ``"error"``, or ``"skip"`` (its results are NaN).
        chunk: rows at a time, see :class:`pullback.Function`.

    Raises:
        InputError: a column is missing, occurs twice or is not numeric; a value is missing (the message gives row and
            column) or does not fit the dtype of the model.
    """
    names = bundle.functions["evaluate"].fetch_names(fetch)
    if grids.is_grid(table):
        grid = grids.Grid(table, _columns(bundle, given))
        inputs, good = _inputs(bundle, grid, given, extra, missing)
        return grid.rebuilt(bundle, dict(zip(names, _results(bundle, inputs, good, names, chunk), strict=True)))
    frame = framed(table)
    inputs, good = _inputs(bundle, frame, given, extra, missing)
    found: dict[str, Array] = {}
    for name, array in zip(names, _results(bundle, inputs, good, names, chunk), strict=True):
        columns = result_columns(bundle, name)
        found |= dict(zip(columns, array.reshape(frame.rows, len(columns)).T, strict=True))
    return frame.rebuilt(found)


def arrays(
    bundle: Bundle, table: Any, *, given: Mapping[str, Any] | None = None, extra: str = "ignore"
) -> dict[str, Array]:
    """The inputs of the bundle that a table holds, ``(rows, *in)`` by name: for ``bundle(**arrays(bundle, table))``.

    Raises:
        InputError: as :func:`evaluate` does.
    """
    frame: Rows = grids.Grid(table, _columns(bundle, given)) if grids.is_grid(table) else framed(table)
    return _inputs(bundle, frame, given, extra, "error")[0]


def _columns(bundle: Bundle, given: Mapping[str, Any] | None) -> list[str]:
    """Of the inputs that the table has to hold."""
    return [name for key, part in input_columns(bundle).items() if key not in (given or {}) for name in part]


def _results(
    bundle: Bundle, inputs: dict[str, Array], good: Array | None, names: tuple[str, ...], chunk: int | None
) -> list[Array]:
    results = bundle.functions["evaluate"](**inputs, fetch=names, chunk=chunk)
    if good is None:
        return list(results)
    spread = []
    for array in results:
        dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
        whole = np.full((len(good), *array.shape[1:]), np.nan, dtype)
        whole[good] = array
        spread.append(whole)
    return spread


def _inputs(
    bundle: Bundle, frame: Rows, given: Mapping[str, Any] | None, extra: str, missing: str
) -> tuple[dict[str, Array], Array | None]:
    """Arrays by input, of the rows that are whole, and which these are where not all."""
    if extra not in ("ignore", "error") or missing not in ("error", "skip"):
        raise InputError(f"extra must be 'ignore' or 'error', missing 'error' or 'skip'; got {extra!r}, {missing!r}")
    given = dict(given or {})
    wanted = {name: columns for name, columns in input_columns(bundle).items() if name not in given}
    _check_names(frame.names, wanted, extra)
    tensors = {tensor.name: tensor for tensor in bundle.functions["evaluate"].spec.inputs}
    read = {
        column: frame.texts(column) if tensors[name].dtype == STRING else frame.column(column)
        for name, columns in wanted.items()
        for column in columns
    }
    gone = {column: mask for column, (_, mask) in read.items() if mask.any()}
    good: Array | None = None
    if gone and missing == "error":
        raise _missing_values(frame, gone)
    if gone:
        good = ~np.logical_or.reduce(list(gone.values()))
    rows = frame.rows if good is None else int(good.sum())
    inputs = {}
    for name, columns in wanted.items():
        picked = [_typed(bundle, tensors[name], column, read[column][0], good) for column in columns]
        shape = (rows, *row_shape(tensors[name]))
        inputs[name] = (
            np.stack(picked, 1).reshape(shape) if picked else np.empty(shape, numpy_dtype(tensors[name].dtype))
        )
    for name, value in given.items():
        inputs[name] = _repeated(bundle, tensors, name, value, rows)
    return inputs, good


def _typed(bundle: Bundle, tensor: TensorSpec, column: str, values: Array, good: Array | None) -> Array:
    picked = values if good is None else values[good]
    if numpy_dtype(tensor.dtype).kind in "iu" and picked.dtype.kind == "f" and np.all(picked == np.rint(picked)):
        picked = picked.astype(np.int64)  # a column of whole numbers becomes one of floats where one is missing
    try:
        return bundle.functions["evaluate"].convert(tensor.name, picked)
    except InputError as error:
        raise InputError(f"column {column!r}: {error}") from error


def _repeated(bundle: Bundle, tensors: Mapping[str, TensorSpec], name: str, value: Any, rows: int) -> Array:
    if name not in tensors:
        raise InputError(f"given: there is no input {name!r}; the inputs are {', '.join(tensors)}")
    one = bundle.functions["evaluate"].convert(name, value)
    shape = row_shape(tensors[name])
    if one.shape not in (shape, (1, *shape)):
        raise InputError(f"given {name!r} must be {shape}, of one row; got {one.shape}")
    return np.repeat(one.reshape(1, *shape), rows, 0)


def _check_names(names: Sequence[str], wanted: Mapping[str, tuple[str, ...]], extra: str) -> None:
    needed = [column for columns in wanted.values() for column in columns]
    lacking = [column for column in needed if column not in names]
    if lacking:
        near = difflib.get_close_matches(lacking[0], names, 1)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise InputError(f"the table lacks the column {lacking[0]!r}{_more(lacking)}; it has {', '.join(names)}{hint}")
    for column in needed:
        if list(names).count(column) > 1:
            raise InputError(f"the table has several columns {column!r}; keep one")
    others = [name for name in names if name not in needed]
    if others and extra == "error":
        raise InputError(f"no input takes the column {others[0]!r}{_more(others)}; extra='ignore' drops them")


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _missing_values(frame: Rows, gone: Mapping[str, Array]) -> InputError:
    places = [(int(row), column) for column, mask in gone.items() for row in np.flatnonzero(mask)[:_SHOWN]]
    shown = "; ".join(f"{frame.row(row)} has no {column!r}" for row, column in sorted(places)[:_SHOWN])
    count = sum(int(mask.sum()) for mask in gone.values())
    more = f"; {count - _SHOWN} more" if count > _SHOWN else ""
    return InputError(f"missing values: {shown}{more}. Fill or drop them, or pass missing='skip' for results of NaN")
