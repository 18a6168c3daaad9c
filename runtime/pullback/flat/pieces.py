"""Exported derivatives as blocks of the Jacobian or of the Hessians that are wanted, and how blocks make up a whole."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pullback.backends import Array
from pullback.flat.layout import Layout
from pullback.function import Function
from pullback.manifest import DerivativeSpec
from pullback.selection import Selection

Numbers = npt.NDArray[np.int64]


def picked(selection: Selection, shape: Sequence[int], lead: int) -> Numbers:
    """Which components of a raveled sample of ``shape`` a selection picks; raises ``IndexError`` where it picks none.

    An index that starts with a bare ``:`` for each of the ``lead`` batch axes of the array counts these.
    """
    index = selection.of_sample(lead)
    found = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)[index].ravel()
    if index and not found.size:
        raise IndexError(f"{selection} selects nothing of shape {tuple(shape)}")
    return found


@dataclasses.dataclass(frozen=True)
class Components:
    """Components of a raveled output, one a row, or the sum of them in a single row."""

    numbers: Numbers
    summed: bool
    size: int  # of the whole output

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return 1 if self.summed else len(self.numbers)

    def share(self, other: Components) -> Shared | None:
        """How rows of ``other`` make rows of these; None where they make none."""
        if self.summed == other.summed and np.array_equal(self.numbers, other.numbers):
            return Shared(np.arange(self.rows), None, False, other.rows)
        if other.summed and len(other.numbers) > 1:
            return None
        place = np.full(self.size, -1)
        place[other.numbers] = np.arange(len(other.numbers))
        places = place[self.numbers]
        if self.summed:
            return None if (places < 0).any() else Shared(np.zeros(1, np.int64), places, True, other.rows)
        found = np.flatnonzero(places >= 0)
        return Shared(found, places[found], False, other.rows) if found.size else None


@dataclasses.dataclass(frozen=True)
class Shared:
    """``rows`` of what is wanted are those at ``take`` (None: all) of ``theirs`` that were exported, or their sum."""

    rows: Numbers
    take: Numbers | None
    summed: bool
    theirs: int

    def of(self, exported: Array) -> Array:
        """The wanted rows, of shape ``(len(rows), ...)``, of an array of shape ``(theirs, ...)``."""
        taken = exported if self.take is None else exported[self.take]
        return taken.sum(0, keepdims=True) if self.summed else taken

    def seeds(self, weights: Array) -> Array:
        """The transpose: of weights ``(k, wanted)`` of all wanted rows, those of the exported, ``(k, theirs)``."""
        mine = weights[:, self.rows]
        if self.take is None:
            return mine
        spread = np.zeros((len(weights), self.theirs))
        spread[:, self.take] = mine
        return spread


@dataclasses.dataclass(frozen=True)
class Piece:
    """An exported derivative of some rows of what is wanted with respect to some columns, one set for each order."""

    function: Function
    derivative: DerivativeSpec
    of: Selection
    shared: Shared
    columns: tuple[Numbers, ...]

    def block(self, result: Array, count: int) -> Array:
        """The exported array of ``count`` samples as float64 of shape ``(rows, *columns, count)``."""
        flat = np.asarray(result, np.float64).reshape(count, self.shared.theirs, *map(len, self.columns))
        return self.scaled(self.shared.of(np.moveaxis(flat, 0, -1)))

    def scaled(self, array: Array) -> Array:
        """Without the factor that the request put in."""
        return array if self.derivative.scale == 1.0 else array / self.derivative.scale


class Finder:
    """The pieces that the functions of a bundle hold of the components ``of`` of output ``name``."""

    def __init__(
        self, functions: Sequence[Function], layout: Layout, name: str, of: Components, shape: tuple[int, ...]
    ) -> None:
        self.functions = tuple(functions)
        self.layout = layout
        self.of = of
        self._name = name
        self._shape = shape  # of a sample of the output
        self._parts = {part.name: part for part in layout.parts}

    def find(self, kinds: Sequence[str], order: int, seeded: bool, byproducts: bool = False) -> list[Piece]:
        """The pieces of these kinds that are differentiated ``order`` times and take seeds or do not.

        Of what was requested, or of what functions of second-order products give besides.
        """
        found = []
        for function in self.functions:
            for derivative in function.spec.byproducts if byproducts else function.spec.requested:
                wanted = derivative.kind in kinds and derivative.of == self._name and derivative.scale
                if wanted and (derivative.seed is not None) == seeded:
                    piece = self._piece(function, derivative, order)
                    if piece is not None:
                        found.append(piece)
        return found

    def _piece(self, function: Function, derivative: DerivativeSpec, order: int) -> Piece | None:
        wrt = derivative.wrt_selections
        if derivative.kind == "hvp" and len(wrt) == 1:  # its manifest names the input once
            wrt *= order
        if len(wrt) != order or any(item.name not in self._parts for item in wrt):
            return None
        try:
            theirs = self._components(derivative.of_selection)
            columns = tuple(self._columns(item) for item in wrt)
        except IndexError:  # of free axes, which are smaller now than what was exported needs
            return None
        shared = self.of.share(theirs)
        return None if shared is None else Piece(function, derivative, derivative.of_selection, shared, columns)

    def _components(self, of: Selection) -> Components:
        return Components(picked(of, self._shape, self.layout.lead), of.summed, self.of.size)

    def _columns(self, wrt: Selection) -> Numbers:
        part = self._parts[wrt.name]
        return part.start + picked(wrt, part.shape[part.lead :], part.lead)


def cover(pieces: Sequence[Piece], shape: tuple[int, ...]) -> list[Piece] | None:
    """Pieces that together fill an array ``(rows, *columns)`` of ``shape``; None where a part of it is missing.

    A Hessian is symmetric: a block serves for its mirror image too.
    """
    ordered = sorted(pieces, key=lambda piece: (-_entries(piece), piece.shared.theirs))
    if ordered and _entries(ordered[0]) == int(np.prod(shape)):
        return ordered[:1]
    missing = np.ones(shape, bool)
    chosen = []
    for piece in ordered:
        places = [np.ix_(piece.shared.rows, *columns) for columns in _mirrored(piece)]
        if any(missing[place].any() for place in places):
            chosen.append(piece)
            for place in places:
                missing[place] = False
    return None if missing.any() else chosen


def assembler(pieces: Sequence[Piece], shape: tuple[int, ...]) -> Callable[[Sequence[Array]], Array]:
    """What makes the whole float64 array of ``shape``, a new one, of the results of ``pieces`` that cover it."""
    scale = _of_one_in_order(pieces)
    if scale is not None:
        # The common case is on the path of every step of an optimiser.
        if scale == 1.0:
            return lambda results: results[0].astype(np.float64).reshape(shape)
        return lambda results: results[0].astype(np.float64).reshape(shape) / scale
    assemble = assembler_of_samples(pieces, shape)
    return lambda results: assemble(results, 1)[0]


def assembler_of_samples(pieces: Sequence[Piece], shape: tuple[int, ...]) -> Callable[[Sequence[Array], int], Array]:
    """The same for results of several samples and their number: ``(count, *shape)``."""
    scale = _of_one_in_order(pieces)
    if scale is not None:
        return lambda results, count: results[0].astype(np.float64).reshape(count, *shape) / scale

    def assemble(results: Sequence[Array], count: int) -> Array:
        whole = np.empty((*shape, count))
        for piece, result in zip(reversed(pieces), reversed(results), strict=True):  # the first ones win
            block = piece.block(result, count)
            for number, columns in enumerate(_mirrored(piece)):
                whole[np.ix_(piece.shared.rows, *columns)] = np.swapaxes(block, 1, 2) if number else block
        return np.ascontiguousarray(np.moveaxis(whole, -1, 0))

    return assemble


def _of_one_in_order(pieces: Sequence[Piece]) -> float | None:
    """The factor of the one result that is the whole array as it stands, if there is one."""
    first = pieces[0]
    return first.derivative.scale if len(pieces) == 1 and first.shared.take is None and _in_order(first) else None


def _entries(piece: Piece) -> int:
    return len(piece.shared.rows) * int(np.prod([len(columns) for columns in piece.columns]))


def _in_order(piece: Piece) -> bool:
    return all(np.array_equal(part, np.arange(len(part))) for part in (piece.shared.rows, *piece.columns))


def _mirrored(piece: Piece) -> list[tuple[Any, ...]]:
    columns = piece.columns
    mixed = len(columns) == 2 and not np.array_equal(*columns)
    return [columns, columns[::-1]] if mixed else [columns]
