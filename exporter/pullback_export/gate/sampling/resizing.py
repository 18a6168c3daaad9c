"""Samples of another size along a free axis, made from those at hand: cropped, or stretched with values in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


def resized(
    arrays: Mapping[str, Array], names: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int], renumbered: bool
) -> Arrays:
    """``arrays`` whose axes with the ``names`` of ``sizes`` have these sizes.

    Entries that belong together stay together, as every input is cropped and stretched in the same way. Whole numbers
    are kept; ``renumbered``, those that count along a resized axis fit it: an index is smaller than its size, and a
    length or a split that was its size is the new one.
    """
    found = dict(arrays)
    for label, size in sizes.items():
        before = {
            array.shape[axis] for name, array in found.items() for axis, own in enumerate(names[name]) if own == label
        }
        for name, array in found.items():
            axes = [axis for axis, own in enumerate(names[name]) if own == label]
            if axes:
                found[name] = _along(array, axes, size)
            if renumbered and before and array.dtype.kind in "iu":
                found[name] = _renumbered(found[name], max(before), size)
    return found


def is_mask(array: Array) -> bool:
    """Whether there is nothing but zeros and ones: a mask, one-hot rows, flags; no values in between make sense."""
    return bool(array.dtype.kind == "b" or np.isin(array, (0, 1)).all())


def _along(array: Array, axes: Sequence[int], size: int) -> Array:
    before = array.shape[axes[0]]
    if size > before and len(axes) == 2 and array.dtype.kind == "f":
        return _block_diagonal(array, axes, size)
    for axis in axes:
        longer = array.take(range(size), axis) if size <= before else _stretched(array, axis, size)
        array = _shares(array, longer, axis) if array.dtype.kind == "f" and not is_mask(array) else longer
    return array


def _shares(before: Array, after: Array, axis: int) -> Array:
    """Shares of a whole along the axis are so again."""
    with np.errstate(all="ignore"):
        if not before.size or not np.allclose(before.sum(axis), 1, atol=1e-5):
            return after
        return np.asarray(after / after.sum(axis, keepdims=True), after.dtype)


def _stretched(array: Array, axis: int, size: int) -> Array:
    """Between the first and the last entry, so that what is sorted stays sorted and what is positive stays positive."""
    if array.shape[axis] == 0:
        shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
        return np.full(shape, "" if array.dtype == object else 0, array.dtype)
    at = np.linspace(0, array.shape[axis] - 1, size)
    low = np.floor(at).astype(int)
    lower = array.take(low, axis)
    if array.dtype.kind != "f" or is_mask(array):
        return lower
    share = (at - low).reshape((-1,) + (1,) * (array.ndim - axis - 1))
    upper = array.take(np.minimum(low + 1, array.shape[axis] - 1), axis)
    with np.errstate(invalid="ignore", over="ignore"):
        between = lower + share * (upper.astype(np.float64) - lower)
    # Between infinities lies a NaN that the caller did not give.
    return np.asarray(np.where((share == 0) | ~np.isfinite(between), lower, between), array.dtype)


def _block_diagonal(array: Array, axes: Sequence[int], size: int) -> Array:
    """A matrix once more below itself: a product, an inverse or a root of the whole is that of the blocks."""
    shape = tuple(size if axis in axes else length for axis, length in enumerate(array.shape))
    found, before = np.zeros(shape, array.dtype), array.shape[axes[0]]
    for start in range(0, size, max(before, 1)):
        part = slice(0, min(before, size - start))
        block = tuple(part if axis in axes else slice(None) for axis in range(array.ndim))
        place = tuple(slice(start, start + part.stop) if axis in axes else slice(None) for axis in range(array.ndim))
        found[place] = array[block]
    return found


def _renumbered(array: Array, before: int, size: int) -> Array:
    largest = int(array.max(initial=0))
    if largest > before:  # it counts something else
        return array
    if largest == before:
        return np.asarray(np.where(array == before, size, np.minimum(array, size)), array.dtype)
    return np.asarray(np.minimum(array, max(size - 1, 0)), array.dtype)
