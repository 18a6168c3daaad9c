"""How arrays with a batch axis become columns: ``x`` for one number a row, ``x[0]``, ``x[0,1]`` for more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pullback.errors import InputError
from pullback.manifest import TensorSpec
from pullback.texts import STRING, as_texts

Array = npt.NDArray[Any]

# Rows that could be read, and the row numbers and reasons of those that could not.
Block = tuple[dict[str, Array], list[tuple[int, str]]]


def columns(name: str, shape: Sequence[int]) -> list[str]:
    """Column names of an array of shape ``(B, *shape)``, in C order."""
    if math.prod(shape) == 1:
        return [name]
    return [f"{name}[{','.join(map(str, index))}]" for index in np.ndindex(*shape)]


def row_shape(tensor: TensorSpec) -> tuple[int, ...]:
    """Shape of one row; raises ``InputError`` where it is free, for then there are no columns."""
    shape = tuple(dim for dim in tensor.shape[1:] if isinstance(dim, int))
    if len(shape) != len(tensor.shape) - 1:
        raise InputError(f"{tensor}: a table needs rows of a fixed shape; use npz")
    return shape


def input_columns(tensors: Sequence[TensorSpec]) -> list[str]:
    """Column names of all inputs, in calling order."""
    return [column for tensor in tensors for column in columns(tensor.name, row_shape(tensor))]


def to_arrays(table: Array, tensors: Sequence[TensorSpec]) -> dict[str, Array]:
    """Rows of float64, or of objects, ``(n, columns)``, columns as in ``input_columns``, as arrays by name.

    Raises ``ValueError`` where an object is no number, or no string.
    """
    arrays, start = {}, 0
    for tensor in tensors:
        shape = row_shape(tensor)
        width = math.prod(shape)
        part = table[:, start : start + width].reshape(len(table), *shape)
        arrays[tensor.name] = _typed(part, tensor)
        start += width
    return arrays


def split(table: Array, tensors: Sequence[TensorSpec], first: int, known_bad: Mapping[int, str]) -> Block:
    """``to_arrays`` of the good rows; ``known_bad`` counts from 0, the result from ``first``."""
    bad = dict(known_bad)
    good = [row for row in range(len(table)) if row not in bad]
    try:
        return to_arrays(table[good], tensors), [(first + row, bad[row]) for row in sorted(bad)]
    except ValueError:
        for row in good:
            try:
                to_arrays(table[row : row + 1], tensors)
            except ValueError as error:
                bad[row] = str(error)
    good = [row for row in good if row not in bad]
    return to_arrays(table[good], tensors), [(first + row, bad[row]) for row in sorted(bad)]


def to_table(arrays: Mapping[str, Array]) -> tuple[list[str], list[Array]]:
    """Column names, and one array of length ``n`` for each."""
    names: list[str] = []
    values: list[Array] = []
    for name, array in arrays.items():
        names += columns(name, array.shape[1:])
        values += list(array.reshape(len(array), -1).T if array.size else np.empty((math.prod(array.shape[1:]), 0)))
    return names, values


def _typed(part: Array, tensor: TensorSpec) -> Array:
    if tensor.dtype == STRING:
        try:
            return as_texts(part.astype(object))
        except ValueError as error:
            raise InputError(f"{tensor.name}: not a string: {error}") from error
    wanted = np.dtype(tensor.dtype)
    part = part.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        typed = part.astype(wanted)
    lost = np.isinf(typed) & np.isfinite(part) if wanted.kind == "f" else typed != part
    if lost.any():
        raise InputError(f"{tensor.name}: {part[lost].flat[0]:g} does not fit {tensor.dtype}")
    return typed
