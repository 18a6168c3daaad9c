"""Which exported derivatives give which wanted one: one row for each source, the cheapest that is there is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from pullback.flat import recipes, second_products
from pullback.flat.pieces import Finder
from pullback.flat.recipes import Recipe, Source


@dataclasses.dataclass(frozen=True)
class Row:
    """``source`` finds a recipe; ``passes(m, n)`` says how many passes through the model it takes, about."""

    source: Source
    passes: Callable[[int, int], int]


SOURCES: dict[str, tuple[Row, ...]] = {
    "jacobian": (
        Row(recipes.exported_jacobian, lambda m, n: 1),
        Row(recipes.jacobian_by_vjps, lambda m, n: m),
        Row(recipes.jacobian_by_jvps, lambda m, n: n),
        Row(recipes.jacobian_beside_products, lambda m, n: 2),
        Row(recipes.jacobian_by_vjps_beside_products, lambda m, n: 2 * m),
    ),
    "vjp": (  # without one, of the Jacobian
        Row(recipes.vjp, lambda m, n: 1),
        Row(recipes.vjp_beside_products, lambda m, n: 2),
    ),
    "jvp": (Row(recipes.jvp, lambda m, n: 1),),
    "hessian": (
        Row(recipes.weighted_hessian, lambda m, n: n + m - 1),
        Row(recipes.exported_hessian, lambda m, n: n * m),
        Row(second_products.hessian_by_hvps, lambda m, n: n * m + 1),
        Row(second_products.hessian_by_vector_hvps, lambda m, n: n + m),
    ),
    "hessp": (  # without one, of the Hessian
        Row(second_products.hvp, lambda m, n: m),
        Row(second_products.vector_hvp, lambda m, n: 1),
    ),
}


def choose(wanted: str, finder: Finder) -> Recipe | None:
    """The recipe of the cheapest source that the bundle holds."""
    m, n = finder.of.rows, finder.layout.n
    for row in sorted(SOURCES[wanted], key=lambda row: row.passes(m, n)):
        recipe = row.source(finder)
        if recipe is not None:
            return recipe
    return None


def requests(wanted: str, of: str, wrt: Sequence[str], rows: int) -> tuple[str, ...]:
    """What to export where there is no source."""
    pairs = [(a, b) for i, a in enumerate(wrt) for b in wrt[i:]]
    second = [", ".join((of, a) if a == b else (of, a, b)) for a, b in pairs]
    if wanted == "jacobian":
        return tuple(f"{'gradient' if rows == 1 else 'jacobian'}({of}, {name})" for name in wrt)
    if wanted in ("vjp", "jvp"):
        return tuple(f"{wanted}({of}, {name})" for name in wrt)
    if wanted == "hessp":  # a product of two inputs knows one side of its block
        both = [", ".join((of, a) if a == b else (of, a, b)) for a in wrt for b in wrt]
        return tuple(f"hvp({pair})" for pair in both)
    return tuple(f"{'hessian' if rows == 1 else 'weighted_hessian'}({pair})" for pair in second)
