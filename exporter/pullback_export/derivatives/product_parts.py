"""What a graph of products gives: the products, and from the same passes first derivatives and values of outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set

from pullback_export.derivatives.kinds.request import Key, Request


@dataclasses.dataclass(frozen=True)
class ProductParts:
    """``requests`` are those of the caller; ``byproducts`` and ``values``, names of outputs, come with it.

    ``keys`` holds for each result in turn which differentiations it is; those of one name are added up.
    """

    requests: tuple[Request, ...]
    byproducts: tuple[Request, ...]
    values: tuple[str, ...]
    keys: tuple[tuple[Request, Key], ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the results: first the products, in the order in which they were requested."""
        return (*dict.fromkeys(request.name for request, _ in self.keys), *self.values)


def product_parts(requests: tuple[Request, ...], inputs: Set[str]) -> ProductParts:
    """The parts for ``requests`` of one graph, whose inputs and seeds have the names ``inputs``.

    What comes besides may have no name that is taken; it is omitted then. (``adj_h``, the adjoint of a layer ``h``
    that ``weighted_hessian(y, h)`` would give, is a seed where ``weighted_hessian(h, x)`` is requested as well.)
    """
    products = [(request, request.key(request.order)) for request in requests]
    taken = {*inputs, *(request.name for request in requests)}
    values = tuple(dict.fromkeys(request.of.name for request in requests if request.of.name not in taken))
    first = _first_derivatives(requests, {*taken, *values})
    return ProductParts(requests, tuple(request for request, _ in first), values, (*products, *first))


def _first_derivatives(requests: Sequence[Request], taken: Set[str]) -> list[tuple[Request, Key]]:
    """Each byproduct once, though several requests may have it; none whose name two of them want for themselves."""
    found: dict[Request, Key] = {}
    for request in requests:
        for item in request.byproducts:
            found.setdefault(item, request.key(1))
    names = [item.name for item in found]
    return [
        (item, key)
        for item, key in found.items()
        if item.name not in taken and (item.adds_up or names.count(item.name) == 1)
    ]
