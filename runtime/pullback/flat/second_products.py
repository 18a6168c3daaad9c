"""Hessians times directions, from exported products: one input at a time, and joined from their blocks.

``hvp(y, x)`` is a diagonal block of the Hessian of the joined inputs times a direction, and ``hvp(y, x, t)`` a mixed
one. The block ``(x, t)`` does not give that of ``(t, x)``: a product knows one side of it only.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from pullback.backends import Array
from pullback.flat.layout import Layout
from pullback.flat.pieces import Finder, Numbers, Piece, cover
from pullback.flat.recipes import Recipe, Seeds, names_of
from pullback.function import Function
from pullback.selection import Selection


@dataclasses.dataclass(frozen=True)
class Block:
    """A result of products: its components at ``take`` are those at ``rows`` of the whole product of what is wanted.

    ``pieces`` are several where the bundle adds them up under one name.
    """

    pieces: tuple[Piece, ...]
    take: Numbers | slice
    rows: Numbers | slice

    @property
    def first(self) -> Piece:
        """The piece that names the result."""
        return self.pieces[0]


def hvp(finder: Finder) -> Recipe | None:
    """``(k, n)`` of directions ``(k, n)`` and weights ``(m,)`` or ``(k, m)``: products of the Hessians of scalars."""
    found = [piece for piece in finder.find(("hvp",), 2, seeded=True) if _adjoint(piece) is None]
    for of_function in _by_function(found).values():
        blocks = {of: _whole(pieces, finder.layout) for of, pieces in of_function.items()}
        whole = {of: made for of, made in blocks.items() if made is not None}
        chosen = cover([dataclasses.replace(made[0].first, columns=()) for made in whole.values()], (finder.of.rows,))
        if chosen is not None:
            return _hvp([whole[piece.of] for piece in chosen], finder)
    return None


def _hvp(scalars: Sequence[Sequence[Block]], finder: Finder) -> Recipe:
    """Products of scalars that make up the rows; ``owned`` are the rows for which each is taken."""
    left, owned = np.ones(finder.of.rows, bool), []
    for blocks in scalars:
        rows = blocks[0].first.shared.rows
        owned.append(rows[left[rows]])
        left[rows] = False
    every = [(block, rows) for blocks, rows in zip(scalars, owned, strict=True) for block in blocks]
    names = names_of([block.first for block, _ in every])
    tangents = _tangents([block for block, _ in every])

    def seeds(directions: Array, weights: Array) -> Seeds:
        return {name: directions[:, columns] for name, columns in tangents.items()}

    def read(results: Sequence[Array], directions: Array, weights: Array) -> Array:
        total = np.zeros(directions.shape)
        for block, rows in every:
            weight = np.atleast_2d(weights)[:, rows].sum(1, keepdims=True)
            total[:, block.rows] += weight * _read(block, names, results, len(total))
        return total

    return Recipe(every[0][0].first.function, names, read, seeds)


def vector_hvp(finder: Finder) -> Recipe | None:
    """``(k, n)`` of directions ``(k, n)`` and weights ``(m,)`` or ``(k, m)``: the products that take both seeds."""
    found = [piece for piece in finder.find(("hvp",), 2, seeded=True) if _adjoint(piece) is not None]
    for of_function in _by_function(found).values():
        for pieces in of_function.values():
            blocks = _whole(pieces, finder.layout)
            if blocks is not None and len(pieces[0].shared.rows) == finder.of.rows:
                return _vector_hvp(blocks)
    return None


def _vector_hvp(blocks: Sequence[Block]) -> Recipe:
    first = blocks[0].first
    adjoint, shared, names, tangents = (
        _adjoint(first),
        first.shared,
        names_of([b.first for b in blocks]),
        _tangents(blocks),
    )
    assert adjoint is not None

    def seeds(directions: Array, weights: Array) -> Seeds:
        adjoints = np.broadcast_to(shared.seeds(np.atleast_2d(weights)), (len(directions), shared.theirs))
        return {adjoint: adjoints, **{name: directions[:, columns] for name, columns in tangents.items()}}

    def read(results: Sequence[Array], directions: Array, weights: Array) -> Array:
        total = np.zeros(directions.shape)
        for block in blocks:
            total[:, block.rows] += _read(block, names, results, len(total))
        return total

    return Recipe(first.function, names, read, seeds)


def hessian_by_hvps(finder: Finder) -> Recipe | None:
    """``(n, n)`` of weights ``(m,)``: one direction for each component of ``x``."""
    return _by_unit_directions(finder, hvp(finder))


def hessian_by_vector_hvps(finder: Finder) -> Recipe | None:
    """``(n, n)`` of weights ``(m,)``: one direction for each component of ``x``, all with the same weights."""
    return _by_unit_directions(finder, vector_hvp(finder))


def _by_unit_directions(finder: Finder, product: Recipe | None) -> Recipe | None:
    if product is None or product.seeds is None:
        return None
    made, units = product.seeds, functools.cache(lambda: np.eye(finder.layout.n))
    return dataclasses.replace(
        product,
        # Row i is the product along the i-th unit vector: a column of the Hessian, which is symmetric.
        read=lambda results, weights: product.read(results, units(), weights),
        seeds=lambda weights: made(units(), weights),
    )


def _by_function(pieces: Sequence[Piece]) -> dict[Function, dict[Selection, list[Piece]]]:
    """By their function, and then by what they are products of."""
    found: dict[Function, dict[Selection, list[Piece]]] = {}
    for piece in pieces:
        found.setdefault(piece.function, {}).setdefault(piece.of, []).append(piece)
    return found


def _whole(pieces: Sequence[Piece], layout: Layout) -> list[Block] | None:
    """Blocks of products of one output that together are the product of its whole Hessian ``(n, n)``, each entry once.

    None where a part is missing.
    """
    parts, chosen = {part.name: number for number, part in enumerate(layout.parts)}, []
    missing = np.ones((layout.n, len(parts)), bool)  # a direction is that of a whole input: (n, n) would be too large
    for named in sorted(_by_name(pieces), key=_entries, reverse=True):
        rows, along = named[0].columns[0], np.array([parts[piece.derivative.wrt[-1]] for piece in named])
        take = np.flatnonzero(missing[np.ix_(rows, along)].all(1))
        if take.size:
            missing[np.ix_(rows[take], along)] = False
            everything = len(take) == layout.n and np.array_equal(rows, np.arange(layout.n))
            taken = (slice(None), slice(None)) if everything else (take, rows[take])
            chosen.append(Block(tuple(named), *taken))
    return None if missing.any() else chosen


def _by_name(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Those whose results the bundle adds up together; without sums of which the parts cannot be told apart."""
    ordered = sorted(pieces, key=lambda piece: piece.derivative.name)
    named = [list(group) for _, group in itertools.groupby(ordered, lambda piece: piece.derivative.name)]
    return [group for group in named if all(_adds(piece, group[0]) for piece in group[1:])]


def _adds(piece: Piece, first: Piece) -> bool:
    same = np.array_equal(piece.columns[0], first.columns[0]) and piece.derivative.scale == first.derivative.scale
    return same and piece.derivative.wrt[-1] != first.derivative.wrt[-1]


def _entries(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.columns[0]) * len(piece.columns[1]) for piece in pieces)


def _read(block: Block, names: Sequence[str], results: Sequence[Array], count: int) -> Array:
    """``(count, rows)``: what a block adds to the whole, without the factor of its request."""
    result = results[names.index(block.first.derivative.name)].reshape(count, -1)
    return block.first.scaled(result.astype(np.float64)[:, block.take])


def _tangents(blocks: Sequence[Block]) -> dict[str, Numbers]:
    """The names of the directions that are given, and which components of the whole direction each is."""
    pieces = [piece for block in blocks for piece in block.pieces]
    return {_forward(piece): piece.columns[1] for piece in pieces}


def _adjoint(piece: Piece) -> str | None:
    """The name of the adjoint seed of a second-order product that takes one: of a vector output."""
    name = f"adj_{piece.of.label}"
    return name if any(tensor.name == name for tensor in piece.function.spec.inputs) else None


def _forward(piece: Piece) -> str:
    """The name of the direction; bundles of the first hours of vector outputs name the other seed in the manifest."""
    seed = piece.derivative.seed
    return str(seed) if seed != _adjoint(piece) else f"fwd_{piece.derivative.wrt[-1]}"
