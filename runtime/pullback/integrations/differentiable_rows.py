"""Rows of points to values, Jacobians and Hessians, in the dtype of the model: what torch and JAX differentiate.

Both frameworks need three functions of one array ``(N, n)``, each the derivative of the one before it.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.integrations.whole_derivatives import (
    fixed_shape,
    inputs_of,
    is_whole,
    jacobian_results,
    values_of,
)
from pullback.selection import Selection

KEPT = 8  # batches whose Jacobian waits for a backward pass
LARGEST_KEPT = 1 << 20  # numbers of a Jacobian that is computed along with the value


class DifferentiableRows:
    """One output of a bundle by the flat inputs ``(N, n)``; safe to share between threads.

    Args:
        bundle: a loaded bundle.
        of: an output, a component or a sum; None: the only output.
        wrt: inputs in order; None: every float input that is not given.
        given: the other inputs, fixed; of one sample.

    Raises:
        InputError: an axis other than the batch is free, or ``of`` has to be said. NotExportedError: no such output.
    """

    def __init__(
        self, bundle: Bundle, of: str | None, wrt: Sequence[str] | None, given: Mapping[str, Any] | None
    ) -> None:
        outputs = [tensor.name for tensor in values_of(bundle)]
        if of is None and len(outputs) != 1:
            raise InputError(f"of must say which output: {', '.join(outputs)}; make one function for each")
        self.of = of or outputs[0]
        given = dict(given or {})
        floats = [t.name for t in inputs_of(bundle) if t.dtype.startswith("float") and t.name not in given]
        self.names = (wrt,) if isinstance(wrt, str) else tuple(floats if wrt is None else wrt)
        self._flat = bundle.flat(of=self.of, wrt=self.names, given=given)
        tensors = {tensor.name: tensor for tensor in inputs_of(bundle)}
        self._batched = bundle.spec.batched
        self.shapes = [fixed_shape(tensors[name], self._batched, "a differentiable function") for name in self.names]
        self.dtype = np.result_type(*(tensors[name].dtype for name in self.names))
        self.n = self._flat.n
        self.m = self._flat.m or int(np.size(self._flat.value(np.zeros(self.n))))
        selection = Selection.parse(self.of)
        output = next(tensor for tensor in values_of(bundle) if tensor.name == selection.name)
        several = () if self.m == 1 else (self.m,)
        whole = selection.is_whole
        self.out_shape = fixed_shape(output, self._batched, "a differentiable function") if whole else several
        held = jacobian_results(bundle)
        self._results: tuple[str, ...] | None = None
        if whole and not given and bundle.spec.rowwise and all((self.of, name) in held for name in self.names):
            self._results = tuple(held[self.of, name] for name in self.names)
        self._evaluate = bundle.function("evaluate")
        self._hessian_result: str | None = None
        if self._results is not None and len(self.names) == 1:
            for item in self._evaluate.spec.derivatives:
                whole = item.kind == "hessian" and is_whole(item) and item.scale == 1.0
                if whole and item.of == self.of and item.wrt == self.names * 2:
                    self._hessian_result = item.name
        self._keeps = True
        self._kept: dict[bytes, Array] = {}
        self._lock = threading.Lock()

    def value(self, points: Array, expects_derivative: bool = False) -> Array:
        """``(N, m)``; where a derivative will follow, the Jacobian of the same evaluation is kept for it."""
        if expects_derivative and self._keeps and len(points) * self.m * self.n <= LARGEST_KEPT:
            value, jacobian = self.both(points)
            with self._lock:
                while len(self._kept) >= KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[points.tobytes()] = jacobian
            return value
        if self._results is not None:
            (output,) = self._evaluate(fetch=(self.of,), **self._feeds(points))
            return self._array(output, (len(points), self.m))
        return self._array([self._flat.value(x) for x in _wide(points)], (len(points), self.m))

    def without_derivatives(self) -> DifferentiableRows:
        """The same where no derivative will follow: the value is computed alone."""
        view = copy.copy(self)
        view._keeps = False
        return view

    def jacobian(self, points: Array) -> Array:
        """``(N, m, n)``: kept from the value at the same points, or computed."""
        with self._lock:
            kept = self._kept.get(points.tobytes())
        return self.both(points)[1] if kept is None else kept.copy()

    def both(self, points: Array) -> tuple[Array, Array]:
        """Value and Jacobian, of one call for all rows where the bundle holds whole gradients or Jacobians."""
        shape = (len(points), self.m, self.n)
        if self._results is not None:
            output, *parts = self._evaluate(fetch=(self.of, *self._results), **self._feeds(points))
            jacobian = np.concatenate(
                [
                    part.reshape(len(points), self.m, math.prod(inner))
                    for part, inner in zip(parts, self.shapes, strict=True)
                ],
                axis=2,
            )
            return self._array(output, shape[:2]), self._array(jacobian, shape)
        found = [self._flat.value_and_jacobian(x) for x in _wide(points)]
        return self._array([v for v, _ in found], shape[:2]), self._array([j for _, j in found], shape)

    def hessian(self, points: Array) -> Array:
        """``(N, m, n, n)``: of each component. Raises ``NotExportedError`` naming the request that is missing."""
        if self._hessian_result is not None:
            (array,) = self._evaluate(fetch=(self._hessian_result,), **self._feeds(points))
            return self._array(array, (len(points), self.m, self.n, self.n))
        units = np.eye(self.m)
        found = [[self._flat.hess(x, unit) for unit in units] for x in _wide(points)]
        return self._array(found, (len(points), self.m, self.n, self.n))

    def bind(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        """Arguments in the order of ``names``; raises ``InputError``."""
        unknown = [name for name in named if name not in self.names[len(args) :]]
        if len(args) > len(self.names) or unknown or len(args) + len(named) < len(self.names):
            got = f"{len(args)} by position and {', '.join(named) or 'none'} by name"
            raise InputError(f"{self.of}: takes {', '.join(self.names)}; got {got}")
        return [*args, *(named[name] for name in self.names[len(args) :])]

    def batch_of(self, shapes: Sequence[Sequence[int]]) -> int | None:
        """The rows of inputs of these shapes; None: each is one sample. Raises ``InputError``."""
        found: set[int | None] = set()
        for name, want, shape in zip(self.names, self.shapes, shapes, strict=True):
            got = tuple(shape)
            if got != want and got[1:] != want:
                raise InputError(
                    f"{name!r} must be (B, {', '.join(map(str, want))}), or {want} of one sample; got {got}"
                )
            found.add(None if got == want else got[0])
        if len(found) != 1:
            raise InputError(f"{', '.join(self.names)}: give all inputs as many rows, got {[tuple(s) for s in shapes]}")
        return found.pop()

    def require_held(self, name: str, dtype: str) -> None:
        """Raises ``InputError`` where numbers of ``dtype`` would lose digits on the way in."""
        if dtype.startswith("float") and np.dtype(dtype).itemsize > self.dtype.itemsize:
            raise InputError(
                f"{name!r} is {dtype}, and the model computes in {self.dtype}: convert it where that is meant, or"
                ' export the model with precision="float64"'
            )

    def _feeds(self, points: Array) -> dict[str, Any]:
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        parts = np.split(points, ends, axis=1)
        return {
            name: np.ascontiguousarray(part).reshape(len(points), *shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def _array(self, found: Any, shape: tuple[int, ...]) -> Array:
        return np.array(found, self.dtype).reshape(shape)


def _wide(points: Array) -> Array:
    return points.astype(np.float64)
