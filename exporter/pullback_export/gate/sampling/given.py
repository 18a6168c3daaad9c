"""The caller's samples: one dictionary of arrays, or a list of them where their sizes differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pullback.texts import as_texts

from pullback_export.errors import ExportError
from pullback_export.sources.axes import axis_names
from pullback_export.sources.source import Source

Arrays = dict[str, np.ndarray[Any, Any]]
# Rows of the caller's samples that are compared at most, evenly spaced.
MOST_ROWS = 256
# Rows that are drawn beside what the caller gives of inputs that all rows share, and of no other.
OWN_ROWS = 7


@dataclasses.dataclass(frozen=True)
class Given:
    """One set of the caller's arrays by input, which may omit inputs.

    ``label`` names it as the caller wrote it; ``numbers`` are the rows that were taken of it, None without a batch,
    and ``count`` is how many rows there were. ``ranges`` are the smallest and largest value of each array, all rows.
    """

    label: str
    arrays: Arrays
    numbers: np.ndarray[Any, Any] | None = None
    count: int = 0
    ranges: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


def read_samples(source: Source, samples: Any) -> list[Given]:
    """What the caller gave for ``samples=``, as arrays of the inputs' dtypes.

    Raises :class:`ExportError` where something does not fit the inputs: a name, a dtype, a shape, numbers of rows that
    differ, or axes of one name that do.
    """
    if samples is None or (isinstance(samples, Mapping) and not samples):
        return []
    if isinstance(samples, Mapping):
        return [_read(source, samples, "samples")]
    if not isinstance(samples, Sequence) or not all(isinstance(item, Mapping) for item in samples):
        raise ExportError("samples must be arrays by input name, {'x': ...}, or a list of such dictionaries")
    return [_read(source, item, f"samples[{index}]") for index, item in enumerate(samples)]


def _read(source: Source, values: Mapping[str, Any], label: str) -> Given:
    specs = {spec.name: spec for spec in source.inputs}
    unknown = [name for name in values if name not in specs]
    if unknown:
        raise ExportError(f"{label}: there is no input {unknown[0]!r}; inputs: {', '.join(specs)}")
    arrays = {name: _array(specs[name], array, f"{label}[{name!r}]") for name, array in values.items()}
    _check_names(source, arrays, label)
    ranges = _ranges(arrays)
    if not source.batched or not arrays:
        return Given(label, arrays, ranges=ranges)
    sizes = {name: len(array) for name, array in arrays.items() if name not in source.shared}
    if not sizes:
        return Given(label, arrays, np.arange(OWN_ROWS), OWN_ROWS, ranges)
    if len(set(sizes.values())) > 1:
        raise ExportError(f"{label} have different numbers of rows: {sizes}; give the same number for each input")
    count = next(iter(sizes.values()))
    if not count:
        raise ExportError(f"{label} are empty; give at least one row or omit them")
    numbers = np.linspace(0, count - 1, min(count, MOST_ROWS)).astype(int)
    chosen = {name: array if name in source.shared else array[numbers] for name, array in arrays.items()}
    return Given(label, chosen, numbers, count, ranges)


def _ranges(arrays: Arrays) -> dict[str, tuple[float, float]]:
    found = {}
    for name, array in arrays.items():
        finite = array[np.isfinite(array)] if array.dtype.kind in "fiu" else np.zeros(0)
        if finite.size:
            found[name] = (float(finite.min()), float(finite.max()))
    return found


def _array(spec: Any, values: Any, place: str) -> np.ndarray[Any, Any]:
    if spec.dtype.name == "string":
        return _fitting(spec, _texts(values, place), place)
    try:
        array = np.asarray(values)
    except ValueError as problem:
        raise ExportError(f"{place} is not an array: {problem}; give numbers or a NumPy array") from problem
    if array.dtype.kind not in "biuf":
        raise ExportError(f"{place} must be numbers, got {array.dtype}")
    return _fitting(spec, array.astype(spec.dtype.as_numpy_dtype), place)


def _texts(values: Any, place: str) -> np.ndarray[Any, Any]:
    try:
        return as_texts(values)
    except ValueError as problem:
        raise ExportError(f"{place} must be strings, got {problem}") from problem


def _fitting(spec: Any, array: np.ndarray[Any, Any], place: str) -> np.ndarray[Any, Any]:
    if not spec.shape.is_compatible_with(array.shape):
        raise ExportError(f"{place} must have shape {tuple(spec.shape.as_list())}, got {array.shape}")
    return array


def _check_names(source: Source, arrays: Arrays, label: str) -> None:
    found: dict[str, tuple[int, str]] = {}
    for name, names in axis_names(source).items():
        sizes = arrays[name].shape if name in arrays else ()
        for axis, size in list(zip(names, sizes, strict=False))[source.lead(name) :]:
            first, owner = found.setdefault(str(axis), (size, name))
            if isinstance(axis, str) and first != size:
                raise ExportError(
                    f"{label}: axis {axis!r} is {size} in {name!r} and {first} in {owner!r}; give arrays of equal size"
                )
