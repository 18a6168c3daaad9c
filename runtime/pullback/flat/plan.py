"""How an output of a bundle and its derivatives are computed at a point, and what is kept for the next question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError, NotExportedError
from pullback.flat import table
from pullback.flat.layout import Layout
from pullback.flat.pieces import Components, Finder, picked
from pullback.flat.recipes import Recipe
from pullback.flat.runner import run_directions
from pullback.function import Function
from pullback.selection import Selection

# What is known at one point: "value" (m,), "jacobian" (m, n), and Hessians (n, n) by the bytes of their weights.
Found = dict[str | bytes, Array]


class Plan:
    """Recipes for everything that is wanted of the output ``of``, whose samples have the shape ``sample``.

    Arrays that it gives belong to ``found``: copy them before they are handed out.
    """

    def __init__(
        self, functions: Sequence[Function], layout: Layout, of: Selection, sample: tuple[int, ...], call: str
    ) -> None:
        self._layout, self._of, self._call = layout, of, call
        try:
            numbers = picked(of, sample, layout.lead)
        except IndexError as error:
            raise InputError(f"{call}: {of} is not in the shape {sample} of {of.name}; count from 0") from error
        components = Components(numbers, of.summed, math.prod(sample))
        self.m = components.rows
        self.of_name = of.name
        self._finder = Finder(functions, layout, of.name, components, sample)
        self._picked = None if len(numbers) == components.size and not of.index else numbers
        self.value_function = next((f for f in functions if _gives(f, of.name) and not f.spec.seeds), None)
        self._recipes: dict[str, Recipe | None] = {}
        jacobian = self.recipe("jacobian")
        # One run that gives value and Jacobian, where there is one, and whether it takes little more than the value.
        self.shared: tuple[Recipe, tuple[str, ...]] | None = None
        if jacobian is not None and _gives(jacobian.function, of.name) and of.name not in jacobian.names:
            self.shared = (jacobian, (of.name, *jacobian.names))
        self.cheap = (
            self.shared is not None
            and (self.shared[0].seeds is None or self.m == 1)
            and not self.shared[0].beside_products
        )
        self._expects_derivative = True

    def value(self, found: Found, point: Array) -> Array:
        """``(m,)``, with the Jacobian where one run gives both and the last value was followed by a derivative."""
        if "value" not in found:
            if self._expects_derivative and self.cheap:
                self._run_both(found, point)
                found["unasked"] = found["jacobian"]
            elif self.value_function is not None:
                results = self.value_function.run((self._of.name,), self._layout.feeds(point))
                found["value"] = self.read_value(results[0])
            elif self.shared is not None:
                self._run_both(found, point)
            else:
                raise NotExportedError(
                    f"{self._call}: the bundle holds derivatives of {self._of.name}, not its value; export it too"
                )
        return found["value"]

    def jacobian(self, found: Found, point: Array, wanted: str = "jacobian") -> Array:
        """``(m, n)``."""
        if "unasked" in found:
            del found["unasked"]
        if "jacobian" not in found:
            if "value" in found:
                self._expects_derivative = True
            elif self.shared is not None:
                self._run_both(found, point)
                return found["jacobian"]
            recipe = self.recipe("jacobian")
            if recipe is None:
                raise self.missing(wanted)
            found["jacobian"] = self._run(recipe, point)
        return found["jacobian"]

    def both(self, found: Found, point: Array) -> tuple[Array, Array]:
        """Value and Jacobian, of one run where there is a function that gives both."""
        if self.shared is not None and not found:
            self._run_both(found, point)
            return found["value"], found["jacobian"]
        jacobian = self.jacobian(found, point)
        return self.value(found, point), jacobian

    def hessian(self, found: Found, point: Array, weights: Array, wanted: str = "hessian") -> Array:
        """``(n, n)``, weighted."""
        key = weights.tobytes()
        if key not in found:
            recipe = self.recipe("hessian")
            if recipe is None:
                raise self.missing(wanted)
            found[key] = self._run(recipe, point, weights)
        return found[key]

    def product(self, wanted: str, point: Array, rows: Array, *weights: Array) -> Array | None:
        """``(k, ...)`` of ``vjp``, ``jvp`` or ``hessp`` along ``rows``; None where no product was exported."""
        recipe = self.recipe(wanted)
        return None if recipe is None else self._run(recipe, point, rows, *weights)

    def weights(self, v: Any) -> Array:
        """``v`` as ``(m,)``; None is 1 where there is one component; raises ``InputError``."""
        if v is None:
            if self.m == 1:
                return np.ones(1)
            raise InputError(
                f"{self._call}: {self._of} has {self.m} components; weight them with v of shape ({self.m},)"
            )
        weights = np.asarray(v)
        if weights.dtype.kind not in "fiub" or (weights.shape != (self.m,) and not (self.m == 1 and weights.ndim == 0)):
            raise InputError(
                f"{self._call}: v must be real numbers of shape ({self.m},), one for each component of {self._of};"
                f" got {weights.dtype} of shape {weights.shape}{self._swapped(weights)}"
            )
        return weights.astype(np.float64).reshape(self.m)

    def _swapped(self, weights: Array) -> str:
        directed = weights.shape == (self._layout.n,) != (self.m,)
        return ", the size of x: jvp(x, t) and hessp(x, p, v) take directions first" if directed else ""

    def require_scalar(self, method: str) -> None:
        """Raises ``InputError`` where the output has several components."""
        if self.m != 1:
            raise InputError(
                f"{self._call}: {method} needs one number, and {self._of} has {self.m} components: take"
                f" of='{self._of.name}[0]', of='sum({self._of.name})', or {method.replace('gradient', 'jacobian')}"
            )

    def forget_unasked(self, found: Found) -> None:
        """Called when the point changes: a Jacobian that was not requested is not computed with the next value."""
        if "unasked" in found:
            self._expects_derivative = False

    def recipe(self, wanted: str) -> Recipe | None:
        """The best that the bundle holds, looked for once."""
        if wanted not in self._recipes:
            self._recipes[wanted] = table.choose(wanted, self._finder)
        return self._recipes[wanted]

    def _run(self, recipe: Recipe, point: Array, *args: Array) -> Array:
        feeds = self._layout.feeds(point)
        if recipe.seeds is None:
            return recipe.read(recipe.function.run(recipe.names, feeds), *args)
        seeds = recipe.seeds(*args)
        return recipe.read(run_directions(self._layout, recipe.function, recipe.names, feeds, seeds), *args)

    def _run_both(self, found: Found, point: Array) -> None:
        assert self.shared is not None
        recipe, names = self.shared
        feeds = self._layout.feeds(point)
        if recipe.seeds is None:
            results = recipe.function.run(names, feeds)
            value = results[0]
        else:
            results = run_directions(self._layout, recipe.function, names, feeds, recipe.seeds())
            value = results[0][0]
        found["jacobian"] = recipe.read(results[1:])
        found["value"] = self.read_value(value)

    def read_value(self, result: Array) -> Array:
        """``(m,)`` of the whole output, of one sample."""
        flat = result.astype(np.float64).reshape(-1)
        if self._picked is not None:
            flat = flat[self._picked]
        return flat.sum(keepdims=True) if self._of.summed else flat

    def read_values(self, result: Array, count: int) -> Array:
        """``(count, m)`` of the whole output, of ``count`` samples."""
        flat = result.astype(np.float64).reshape(count, self._finder.of.size)
        if self._picked is not None:
            flat = flat[:, self._picked]
        return flat.sum(1, keepdims=True) if self._of.summed else flat

    def missing(self, wanted: str) -> NotExportedError:
        """The error of a derivative for which there is no recipe: it names the requests to export."""
        wrt = [part.name for part in self._layout.parts]
        texts = table.requests(wanted, str(self._of), wrt, self.m)
        return NotExportedError(
            f"{self._call}: the bundle holds nothing that gives it; export the model with {', '.join(map(repr, texts))}"
        )


def _gives(function: Function, name: str) -> bool:
    return any(tensor.name == name for tensor in function.spec.outputs)
