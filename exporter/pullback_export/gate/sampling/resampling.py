"""More samples from the caller's: whole rows, each moved a little towards another one.

A point between two valid rows is as valid as they are wherever what is valid is convex: ranges, positive numbers,
probabilities, sorted rows, symmetric and positive definite matrices. Whole numbers, booleans, masks and one-hot rows
are kept, and the inputs of a row stay together, so that indices, lengths and segments still belong to what they count.
Where there is but one row, each number moves by a small part of itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback_export.gate.sampling.given import Given
from pullback_export.gate.sampling.resizing import is_mask, resized
from pullback_export.gate.sampling.tangents import is_symmetric
from pullback_export.sources.axes import axis_names
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
# How far a row moves towards another one, as a share of the way.
WAY = (0.02, 0.1)
# How far a number moves where there is no other row, relative to itself.
JITTER = 0.02
LARGE = 100.0


@dataclasses.dataclass(frozen=True)
class Resampler:
    """Draws from complete sets of the caller's arrays; see :class:`pullback_export.gate.samples.Sampler`."""

    source: Source
    given: Sequence[Given]

    def renamed(self, source: Source) -> Resampler:
        """The same for ``source``, in which free axes may have other names."""
        return dataclasses.replace(self, source=source)

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the free axes in the first set."""
        return sizes_of(self.source, self.given[0].arrays)

    def draw(
        self, kind: str, rows: int | None, sizes: Mapping[str, int], seed: int, renumbered: bool = False
    ) -> Arrays:
        rng = np.random.default_rng((20, seed))
        whole = self.given[0].arrays
        if rows is None:
            drawn = {name: jittered(array, rng) for name, array in whole.items()}
        else:  # what all rows share stays as it is, so that rows of any number belong to it
            apart = {name: array for name, array in whole.items() if name not in self.source.shared}
            drawn = {**whole, **_rows(apart, rows, rng)}
        drawn = {name: _of_kind(kind, array) for name, array in drawn.items()}
        return resized(drawn, axis_names(self.source), sizes, renumbered)


def sizes_of(source: Source, arrays: Mapping[str, Array]) -> dict[str, int]:
    """The sizes of the free axes that are not the batch, by their names."""
    return {
        axis: size
        for name, names in axis_names(source).items()
        if name in arrays
        for axis, size in list(zip(names, arrays[name].shape, strict=True))[source.lead(name) :]
        if isinstance(axis, str)
    }


def _rows(whole: Mapping[str, Array], rows: int, rng: np.random.Generator) -> Arrays:
    """``rows`` of the rows in their order, each moved towards another one by the same share in every input."""
    if not whole:
        return {}
    count = len(next(iter(whole.values())))
    chosen = np.sort(rng.choice(count, rows, replace=rows > count))
    if count == 1:
        return {name: np.stack([jittered(array[0], rng) for _ in chosen]) if rows else array[:0]
                for name, array in whole.items()}  # fmt: skip
    others = (chosen + rng.integers(1, count, rows)) % count
    share = rng.uniform(*WAY, rows)
    return {name: _between(array, chosen, others, share) for name, array in whole.items()}


def _between(array: Array, chosen: Array, others: Array, share: Array) -> Array:
    own = array[chosen]
    if array.dtype.kind != "f" or is_mask(array):
        return own
    towards = array[others]
    with np.errstate(invalid="ignore", over="ignore"):
        moved = own + share.reshape((-1,) + (1,) * (own.ndim - 1)) * (towards.astype(np.float64) - own)
    return np.asarray(np.where(np.isfinite(moved) & (own != towards), moved, own), array.dtype)


def _of_kind(kind: str, array: Array) -> Array:
    if kind == "usual" or array.dtype.kind != "f" or is_mask(array):
        return array
    with np.errstate(over="ignore"):
        return np.zeros_like(array) if kind == "zeros" else np.asarray(LARGE * array, array.dtype)


def jittered(array: Array, rng: np.random.Generator) -> Array:
    """Each number of a single sample moved by a small part of itself; what the whole array has in common stays.

    That are its range, exact zeros and ones, an order along an axis, symmetry (positive definite or not), sums and
    norms of one along the last axis.
    """
    if array.dtype.kind != "f" or not array.size or is_mask(array) or _is_orthonormal(array):
        return array
    wide = array.astype(np.float64)
    with np.errstate(all="ignore"):
        if is_symmetric(wide):
            factors = 1 + JITTER / 2 * rng.uniform(-1, 1, wide.shape[:-1])
            moved = wide * factors[..., :, None] * factors[..., None, :]
        else:
            moved = wide * (1 + JITTER * rng.uniform(-1, 1, wide.shape))
            moved = np.clip(moved, np.nanmin(wide), np.nanmax(wide))
        moved = np.where(np.isin(wide, (0, 1)) | ~np.isfinite(wide), wide, moved)
        for axis in {0, wide.ndim - 1} if wide.ndim else ():
            if wide.shape[axis] > 2 and (np.diff(wide, axis=axis) >= 0).all():
                moved = np.sort(moved, axis)
        moved = _normalised(wide, moved)
    return np.asarray(moved, array.dtype)


def _normalised(before: Array, moved: Array) -> Array:
    if before.ndim and before.shape[-1] > 1:
        if np.allclose(before.sum(-1), 1, atol=1e-5) and (before >= 0).all():
            return np.asarray(moved / moved.sum(-1, keepdims=True))
        if np.allclose(np.square(before).sum(-1), 1, atol=1e-5):
            return np.asarray(moved / np.linalg.norm(moved, axis=-1, keepdims=True))
    return moved


def _is_square(array: Array) -> bool:
    return array.ndim >= 2 and array.shape[-1] == array.shape[-2] > 1


def _is_orthonormal(array: Array) -> bool:
    """A rotation or reflection, of which no number can move alone."""
    if not _is_square(array):
        return False
    with np.errstate(all="ignore"):
        product = array @ np.swapaxes(array, -1, -2)
    return bool(np.allclose(product, np.eye(array.shape[-1]), atol=1e-4))
