"""Selections of a request against the tensors that they pick from; each message says what to write instead."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pullback.selection import Selection

from pullback_export.errors import ExportError
from pullback_export.sources.source import spelled


def parse_selection(text: str) -> Selection:
    """Reads ``y``, ``y[2]``, ``x[:, 3:7]``, ``sum(y)`` and a call of a layer, ``conv#1``.

    Raises :class:`ExportError` for any other text.
    """
    try:
        return Selection.parse(spelled(text))
    except ValueError as problem:
        raise ExportError(str(problem)) from problem


def sample_index(selection: Selection, rank: int, lead: int) -> tuple[int | slice, ...]:
    """The index on the axes of one sample, of a tensor with ``lead`` batch axes among its ``rank``.

    Leading bare ``:`` stand for the batch axes. Raises :class:`ExportError` where there are too many indices.
    """
    index = selection.of_sample(lead)
    if len(index) > rank - lead:
        raise ExportError(f"{selection}: too many indices; {selection.name} has {rank - lead} axes per sample")
    return index


def check_range(selection: Selection, index: tuple[int | slice, ...], shape: Sequence[int | None]) -> None:
    """Raises :class:`ExportError` where ``index`` picks nothing of a sample of this ``shape``."""
    for item, size in zip(index, shape, strict=False):
        if isinstance(item, int) and size is not None and not -size <= item < size:
            raise ExportError(
                f"{selection}: component {item} is out of range; {selection.name} has shape {tuple(shape)} per sample"
            )
        if isinstance(item, slice) and size is not None and len(range(*item.indices(size))) == 0:
            raise ExportError(f"{selection}: selects nothing; {selection.name} has shape {tuple(shape)} per sample")


def picked_shape(selection: Selection, sample: tuple[int | None, ...], lead: int) -> tuple[int | None, ...]:
    """Shape of the selected part of a tensor, per sample; free sizes stay free where nothing is picked."""
    if not selection.index:
        return sample
    index = sample_index(selection, len(sample) + lead, lead)
    return tuple(np.empty([1 if size is None else size for size in sample])[index].shape)


def picked_positions(selection: Selection, sample: tuple[int, ...], lead: int) -> list[int]:
    """Flat positions of the selected components of a sample."""
    numbers = np.arange(math.prod(sample)).reshape(sample)
    if selection.index:
        numbers = numbers[sample_index(selection, len(sample) + lead, lead)]
    return [int(item) for item in np.ravel(numbers)]
