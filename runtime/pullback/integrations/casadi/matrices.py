"""Inputs and outputs of a bundle as matrices of CasADi, and where each entry stands in a flat x."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.flat.view import Flat
from pullback.integrations.whole_derivatives import inputs_of, values_of
from pullback.selection import Selection


@dataclasses.dataclass(frozen=True)
class Matrix:
    """An input or an output as CasADi sees it."""

    name: str
    rows: int
    columns: int
    start: int = 0  # of an input, in the flat x

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self.rows * self.columns

    @property
    def at(self) -> slice:
        """Of an input: its part of the flat x."""
        return slice(self.start, self.start + self.size)

    @property
    def order(self) -> Array:
        """The C index of each entry in column-major order."""
        return np.arange(self.size).reshape(self.rows, self.columns).ravel(order="F")

    @property
    def places(self) -> Array:
        """Of an input: where each entry, in column-major order, stands in the flat x."""
        return self.order + self.start


def input_matrix(bundle: Bundle, name: str, at: slice) -> Matrix:
    """The input that stands ``at`` that part of the flat x."""
    tensor = next(t for t in inputs_of(bundle) if t.name == name)
    return _matrix(name, tensor.sample if bundle.spec.batched else tensor.shape, at.stop - at.start, at.start)


def output_matrix(bundle: Bundle, text: str, flat: Flat) -> Matrix:
    """The output, component or sum that ``flat`` is of."""
    size = flat.m or int(np.size(flat.value(np.zeros(flat.n))))
    selection = Selection.parse(text)
    tensor = next(t for t in values_of(bundle) if t.name == selection.name)
    axes = tensor.sample if bundle.spec.batched else tensor.shape
    return _matrix(selection.label, axes if selection.is_whole else (), size)


def _matrix(name: str, axes: Sequence[Any], size: int, start: int = 0) -> Matrix:
    """A matrix where there are two axes, one of which may be free; a column otherwise."""
    known = [axis if isinstance(axis, int) else None for axis in axes]
    if len(known) == 2 and None not in known:
        return Matrix(name, int(axes[0]), int(axes[1]), start)
    if len(known) == 2 and known.count(None) == 1 and (other := known[0] or known[1]):
        return Matrix(name, *((size // other, other) if known[0] is None else (other, size // other)), start)
    return Matrix(name, size, 1, start)
