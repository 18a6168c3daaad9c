"""An output of a bundle and its derivatives at several points at once, with several directions at each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.flat.layout import Layout
from pullback.flat.plan import Plan
from pullback.flat.recipes import Recipe, Seeds
from pullback.flat.runner import run_directions
from pullback.function import Function

LARGEST = 1 << 20  # numbers of a Jacobian or Hessian; beyond that a product is taken where the bundle has one


class Samples:
    """``points (N, n)`` to float64 arrays; ``Flat.samples`` makes it.

    ``K`` directions at each point: ``weights (N, K, m)`` of the components, ``directions (N, K, n)`` in the inputs.
    All points and directions are one run of a bundle whose rows are independent; of another each is a run, and so it is
    by inputs that rows share.
    """

    def __init__(self, layout: Layout, plan: Plan) -> None:
        self._layout, self._plan = layout, plan
        self.n, self.m = layout.n, plan.m
        jacobian, hessian = plan.recipe("jacobian"), plan.recipe("hessian")
        self._jacobian = jacobian if jacobian is not None and jacobian.seeds is None else None
        self._hessian = hessian if hessian is not None and hessian.seeds is None else None

    def comes_with_value(self, count: int) -> bool:
        """Whether one run gives the values of ``count`` points and their Jacobian, and that is small."""
        return self._plan.cheap and count * self.m * self.n <= LARGEST

    def holds_hessian(self, count: int) -> bool:
        """Whether the Hessians of ``count`` points are exported themselves, and are small."""
        return self._hessian is not None and count * self.m * self.n**2 <= LARGEST

    def value(self, points: Array) -> Array:
        """``(N, m)``."""
        if not len(points):
            return np.zeros((0, self.m))
        function = self._plan.value_function
        if function is None:
            return np.stack([self._plan.value({}, point) for point in points])
        (result,) = self._run(function, (self._plan.of_name,), points)
        return self._plan.read_values(result, len(points))

    def both(self, points: Array) -> tuple[Array, Array]:
        """Value and Jacobian ``(N, m, n)``, of one run where a function gives both."""
        if self._plan.shared is None or not len(points):
            return self.value(points), self.jacobian(points)
        recipe, names = self._plan.shared
        if recipe.seeds is None:
            result, *parts = self._run(recipe.function, names, points)
            return self._plan.read_values(result, len(points)), self._read(recipe, parts, len(points))
        # One component by a vjp of the seed 1 in one run; of more, the values are those of the first directions.
        (result, *parts), many = self._of_fixed_seeds(recipe, names, points)
        values = self._plan.read_values(result, len(points) * many)[::many]
        return values, _read_each(recipe, parts, many)

    def jacobian(self, points: Array) -> Array:
        """``(N, m, n)``; raises ``NotExportedError``."""
        count = len(points)
        if not count:
            return np.zeros((0, self.m, self.n))
        if self._jacobian is not None:
            return self._read(self._jacobian, self._run(self._jacobian.function, self._jacobian.names, points), count)
        vjp, jvp = self._plan.recipe("vjp"), self._plan.recipe("jvp")
        if vjp is not None and (jvp is None or self.m <= self.n):
            return self._product(vjp, points, _units(count, self.m))
        if jvp is not None:
            return np.ascontiguousarray(self._product(jvp, points, _units(count, self.n)).swapaxes(1, 2))
        recipe = self._plan.recipe("jacobian")
        if recipe is None:
            raise self._plan.missing("jacobian")
        results, many = self._of_fixed_seeds(recipe, recipe.names, points)
        return _read_each(recipe, results, many)

    def vjp(self, points: Array, weights: Array) -> Array:
        """``(N, K, n)``: weights times the Jacobian; raises ``NotExportedError``."""
        product = self._plan.recipe("vjp")
        if product is None or self._holds_jacobian(len(points)):
            return np.asarray(np.matmul(weights, self.jacobian(points)))
        return self._product(product, points, weights)

    def jvp(self, points: Array, directions: Array) -> Array:
        """``(N, K, m)``: the Jacobian times directions; raises ``NotExportedError``."""
        product = self._plan.recipe("jvp")
        if product is None or self._holds_jacobian(len(points)):
            return np.asarray(np.matmul(directions, self.jacobian(points).swapaxes(1, 2)))
        return self._product(product, points, directions)

    def hvp(self, points: Array, weights: Array, directions: Array) -> Array:
        """``(N, K, n)``: the weighted Hessian times directions, from whatever the bundle holds of second order.

        Raises ``NotExportedError``.
        """
        product = self._plan.recipe("hessp")
        if self.holds_hessian(len(points)) or (product is None and self._hessian is not None):
            return np.asarray(np.einsum("nkm,nmij,nkj->nki", weights, self.hessians(points), directions, optimize=True))
        if product is not None:
            return self._product(product, points, directions, weights)
        weighted = self._plan.recipe("hessian")
        if weighted is None:
            raise self._plan.missing("hessian")
        if weights.shape[1] > 1 and (weights == weights[:, :1]).all():  # a Hessian of a gradient: one for all
            weights = weights[:, :1]
        hessians = self._product(weighted, points, weights)
        return np.asarray(np.matmul(hessians, directions[..., None])[..., 0])

    def second(self, points: Array, first: Array, other: Array) -> Array:
        """``(N, K, m)``: the second derivative of each component along two directions; raises ``NotExportedError``."""
        count, many = first.shape[:2]
        weights = np.broadcast_to(np.eye(self.m), (count, many, self.m, self.m)).reshape(count, many * self.m, self.m)
        moved = self.hvp(points, weights, np.repeat(first, self.m, 1)).reshape(count, many, self.m, self.n)
        return np.asarray(np.einsum("nkmi,nki->nkm", moved, other))

    def hessians(self, points: Array) -> Array:
        """``(N, m, n, n)``, of every component; raises ``NotExportedError``."""
        count = len(points)
        if not count:
            self.require(2)
            return np.zeros((0, self.m, self.n, self.n))
        if self._hessian is not None:
            return self._read(self._hessian, self._run(self._hessian.function, self._hessian.names, points), count)
        weights = np.repeat(_units(count, self.m), self.n, 1)
        directions = np.tile(_units(count, self.n), (1, self.m, 1))
        return self.hvp(points, weights, directions).reshape(count, self.m, self.n, self.n)

    def require(self, order: int) -> None:
        """Raises ``NotExportedError`` where the bundle holds no derivative of ``order`` 1 or 2."""
        sources = ("jacobian",) if order == 1 else ("hessp", "hessian")
        if all(self._plan.recipe(source) is None for source in sources):
            raise self._plan.missing(sources[-1])

    def _holds_jacobian(self, count: int) -> bool:
        return self._jacobian is not None and count * self.m * self.n <= LARGEST

    def _of_fixed_seeds(self, recipe: Recipe, names: tuple[str, ...], points: Array) -> tuple[list[Array], int]:
        """Results with the seeds that a recipe needs at every point, and how many directions they are."""
        assert recipe.seeds is not None
        seeds = recipe.seeds()
        many = len(next(iter(seeds.values())))
        repeated = {name: np.tile(seed, (len(points), 1)) for name, seed in seeds.items()}
        return self._directions(recipe.function, names, points, repeated, many), many

    def _product(self, recipe: Recipe, points: Array, *args: Array) -> Array:
        """A seeded recipe for arguments ``(N, K, ...)``: ``(N, K, ...)``."""
        assert recipe.seeds is not None
        count, many = args[0].shape[:2]
        flat = [np.ascontiguousarray(arg).reshape(count * many, arg.shape[2]) for arg in args]
        if not count * many:
            # The shape of what a direction gives.
            args = tuple(np.zeros((1, 1, arg.shape[2])) for arg in args)
            one = self._product(recipe, np.zeros((1, self.n)), *args)
            return np.zeros((count, many, *one.shape[2:]))
        results = self._directions(recipe.function, recipe.names, points, recipe.seeds(*flat), many)
        read = recipe.samples(results, count * many) if recipe.samples else recipe.read(results, *flat)
        return read.reshape(count, many, *read.shape[1:])

    def _directions(
        self, function: Function, names: tuple[str, ...], points: Array, seeds: Seeds, many: int
    ) -> list[Array]:
        layout = self._layout
        if layout.divides(function.spec):
            return run_directions(layout, function, names, layout.feeds_of(points), seeds)
        runs = [
            run_directions(
                layout,
                function,
                names,
                layout.feeds(point),
                {n: s[k * many : (k + 1) * many] for n, s in seeds.items()},
            )
            for k, point in enumerate(points)
        ]
        return [np.concatenate(arrays) for arrays in zip(*runs, strict=True)]

    def _run(self, function: Function, names: tuple[str, ...], points: Array) -> list[Array]:
        """Results without seeds; the first axis of each is the points."""
        if self._layout.divides(function.spec):
            feeds: dict[str, Any] = dict(self._layout.feeds_of(points))
            return list(function(fetch=names, **feeds))
        runs = [function.run(names, self._layout.feeds(point)) for point in points]
        return [np.stack(arrays) for arrays in zip(*runs, strict=True)]

    def _read(self, recipe: Recipe, results: Sequence[Array], count: int) -> Array:
        assert recipe.samples is not None
        return recipe.samples(results, count)


def _read_each(recipe: Recipe, results: Sequence[Array], many: int) -> Array:
    """What a recipe reads of the results of each point, which has ``many`` directions."""
    starts = range(0, len(results[0]), many)
    return np.stack([recipe.read([result[start : start + many] for result in results]) for start in starts])


def _units(count: int, size: int) -> Array:
    """``(count, size, size)``."""
    return np.broadcast_to(np.eye(size), (count, size, size))
