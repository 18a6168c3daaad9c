"""How each derivative is computed from what a bundle holds: one function for each source of one.

A source looks for its pieces and gives a recipe, or None where they were not exported. Which comes first stands in
:mod:`pullback.flat.table`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pullback.backends import Array
from pullback.calls.axes import inputs_of
from pullback.flat.pieces import Finder, Piece, Shared, assembler, assembler_of_samples, cover
from pullback.function import Function

# Seeds of a function by name, each of shape (k, components of the seed).
Seeds = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run: the results ``names`` of ``function``, once for every direction of the seeds.

    ``seeds`` makes them of the arguments of the derivative, and ``read`` a new float64 array of the results, which
    have one row for each direction; without seeds there is one. ``samples`` reads the results of ``count`` samples or
    directions at once, where they are arrays and not products. ``beside_products`` is a first derivative that a
    function of second-order products computes besides: a SavedModel computes all of it, for several times a value.
    """

    function: Function
    names: tuple[str, ...]
    read: Callable[..., Array]
    seeds: Callable[..., Seeds] | None = None
    samples: Callable[[Sequence[Array], int], Array] | None = None
    beside_products: bool = False


# A weighted sum of all components is one row.
_ONE = Shared(np.arange(1), None, False, 1)

Source = Callable[[Finder], Recipe | None]


def exported_jacobian(finder: Finder) -> Recipe | None:
    """``(m, n)`` from a Jacobian, a gradient, or from several that make it up. Seedless."""
    return _from_blocks(finder, ("gradient", "jacobian", "derivative"), 1)


def exported_hessian(finder: Finder) -> Recipe | None:
    """``(n, n)`` of weights ``(m,)`` from dense Hessians, mixed ones and chains of coordinates. Seedless."""
    dense = _from_blocks(finder, ("hessian", "derivative"), 2)
    if dense is None:
        return None

    def read(results: Sequence[Array], weights: Array) -> Array:
        whole = dense.read(results)
        if len(weights) > 1:
            return np.tensordot(weights, whole, 1)
        single: Array = whole[0]
        return single if weights[0] == 1.0 else single * weights[0]

    return dataclasses.replace(dense, read=read)


def jacobian_by_vjps(finder: Finder) -> Recipe | None:
    """``(m, n)``: one direction for each component of the output."""
    product = vjp(finder)
    return None if product is None else _of_units(product, finder.of.rows)


def jacobian_by_jvps(finder: Finder) -> Recipe | None:
    """``(m, n)``: one direction for each component of ``x``."""
    product = jvp(finder)
    if product is None:
        return None
    columns = _of_units(product, finder.layout.n)
    return dataclasses.replace(columns, read=lambda results: np.ascontiguousarray(columns.read(results).T))


def jacobian_beside_products(finder: Finder) -> Recipe | None:
    """``(m, n)`` from the gradients that products of scalars' Hessians come with, along no direction."""
    blocks = _from_blocks(finder, ("gradient",), 1, byproducts=True)
    if blocks is None:
        return None
    spec = blocks.function.spec
    seed = next(tensor for tensor in inputs_of(spec) if tensor.name in spec.seeds)  # the others are zero by themselves

    def seeds() -> Seeds:
        return {seed.name: np.zeros((1, math.prod(finder.layout.sample_shape(seed) or ())))}

    return dataclasses.replace(blocks, seeds=seeds, samples=None, beside_products=True)


def jacobian_by_vjps_beside_products(finder: Finder) -> Recipe | None:
    """``(m, n)``: one direction of the output for each component of it, and none of ``x``."""
    product = vjp_beside_products(finder)
    return None if product is None else _of_units(product, finder.of.rows)


def vjp(finder: Finder) -> Recipe | None:
    """``(k, n)`` of weights ``(k, m)``, from exported products."""
    return _first_vjp(finder, finder.find(("vjp",), 1, seeded=True))


def vjp_beside_products(finder: Finder) -> Recipe | None:
    """``(k, n)`` of weights ``(k, m)``, from the products with the Hessian of a weighted sum, which come with it.

    Not where the Jacobian itself was exported: that is one pass of a function that is open already.
    """
    if exported_jacobian(finder) is not None:
        return None
    found = _first_vjp(finder, finder.find(("vjp",), 1, seeded=True, byproducts=True))
    return None if found is None else dataclasses.replace(found, beside_products=True)


def _first_vjp(finder: Finder, pieces: Sequence[Piece]) -> Recipe | None:
    for group in _groups(pieces):
        columns = np.concatenate([piece.columns[0] for piece in group])
        if len(group[0].shared.rows) == finder.of.rows and len(np.unique(columns)) == finder.layout.n:
            return _vjp(group, finder.layout.n)
    return None


def _vjp(group: Sequence[Piece], n: int) -> Recipe:
    """Products with one seed, each with respect to some of the ``n`` components."""
    seed, shared, names = str(group[0].derivative.seed), group[0].shared, names_of(group)

    def read(results: Sequence[Array], weights: Array) -> Array:
        whole = np.empty((len(weights), n))
        for piece in group:
            result = results[names.index(piece.derivative.name)].reshape(len(whole), -1)
            whole[:, piece.columns[0]] = piece.scaled(result.astype(np.float64))
        return whole

    return Recipe(group[0].function, names, read, lambda weights: {seed: shared.seeds(weights)})


def jvp(finder: Finder) -> Recipe | None:
    """``(k, m)`` of directions ``(k, n)``, from exported products."""
    found = finder.find(("jvp",), 1, seeded=True)
    for function, of in dict.fromkeys((piece.function, piece.of) for piece in found):
        group = [piece for piece in found if piece.function is function and piece.of == of]
        columns = np.concatenate([piece.columns[0] for piece in group])
        if len(group[0].shared.rows) == finder.of.rows and len(np.unique(columns)) == finder.layout.n:
            return _jvp(group)
    return None


def _jvp(group: Sequence[Piece]) -> Recipe:
    """Products of one output with respect to several inputs, which have seeds of their own, add up."""
    shared = group[0].shared

    def seeds(directions: Array) -> Seeds:
        # A factor of the request is taken out of the seed: results of several requests come summed.
        return {str(piece.derivative.seed): piece.scaled(directions[:, piece.columns[0]]) for piece in group}

    def read(results: Sequence[Array], directions: Array) -> Array:
        total = np.zeros((len(directions), shared.theirs))
        for result in results:
            total += result.reshape(total.shape)
        return np.ascontiguousarray(shared.of(total.T).T)

    return Recipe(group[0].function, names_of(group), read, seeds)


def weighted_hessian(finder: Finder) -> Recipe | None:
    """``(n, n)`` of weights ``(m,)``: the weighted sum of the Hessians in one backward pass, in blocks or whole."""
    n = finder.layout.n
    for group in _groups(finder.find(("weighted_hessian",), 2, seeded=True)):
        if len(group[0].shared.rows) == finder.of.rows:
            chosen = cover([dataclasses.replace(piece, shared=_ONE) for piece in group], (1, n, n))
            if chosen is not None:
                return _weighted_hessian(chosen, group[0].shared, n)
    return None


def _weighted_hessian(pieces: Sequence[Piece], shared: Shared, n: int) -> Recipe:
    seed, assemble = str(pieces[0].derivative.seed), assembler(pieces, (1, n, n))
    whole_of = assembler_of_samples(pieces, (1, n, n))
    names = tuple(piece.derivative.name for piece in pieces)

    def read(results: Sequence[Array], weights: Array) -> Array:
        whole: Array = assemble(results)[0]
        return whole

    def seeds(weights: Array) -> Seeds:
        return {seed: shared.seeds(np.atleast_2d(weights))}

    def samples(results: Sequence[Array], count: int) -> Array:
        return whole_of(results, count)[:, 0]

    return Recipe(pieces[0].function, names, read, seeds, samples)


def _from_blocks(finder: Finder, kinds: Sequence[str], order: int, byproducts: bool = False) -> Recipe | None:
    shape = (finder.of.rows, *[finder.layout.n] * order)
    found = finder.find(kinds, order, seeded=False, byproducts=byproducts)
    for function in dict.fromkeys(piece.function for piece in found):
        chosen = cover([piece for piece in found if piece.function is function], shape)
        if chosen is not None:
            names = tuple(piece.derivative.name for piece in chosen)
            return Recipe(function, names, assembler(chosen, shape), samples=assembler_of_samples(chosen, shape))
    return None


def _of_units(product: Recipe, count: int) -> Recipe:
    """A product along each of ``count`` unit vectors. They are made when they are needed: there may be very many."""
    made = product.seeds
    assert made is not None

    @functools.cache
    def seeds() -> tuple[Array, Seeds]:
        units = np.eye(count)
        return units, made(units)

    return dataclasses.replace(
        product, read=lambda results: product.read(results, seeds()[0]), seeds=lambda: seeds()[1]
    )


def _groups(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Those of one function that take the same seed; results of the same name once."""
    keyed = sorted(pieces, key=lambda piece: (piece.function.spec.name, str(piece.derivative.seed)))
    return [list(group) for _, group in itertools.groupby(keyed, lambda p: (p.function.spec.name, p.derivative.seed))]


def names_of(pieces: Sequence[Piece]) -> tuple[str, ...]:
    """The results of the pieces, each once: products of several requests may come summed in one."""
    return tuple(dict.fromkeys(piece.derivative.name for piece in pieces))
