"""Rows of points to values and products with derivatives, in the dtype of the model: what torch and JAX differentiate.

Both frameworks need five functions of arrays, each derivative of one of them made of the others: the value, the
products of the Jacobian from the left and from the right, the weighted Hessian times a direction, and the second
derivative along two directions. A bundle that holds any source of one of them gives it, see :mod:`pullback.flat.table`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.integrations.whole_derivatives import fixed_shape, inputs_of, values_of
from pullback.selection import Selection

KEPT = 8  # batches whose Jacobian waits for a backward pass


class DifferentiableRows:
    """One output of a bundle by the flat inputs ``(N, n)``; safe to share between threads.

    ``K`` directions at each point: ``weights (N, K, m)`` of the output, ``directions (N, K, n)`` in the inputs.

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
        bundle.spec.refuse_points("a differentiable function")
        outputs = [tensor.name for tensor in values_of(bundle)]
        if of is None and len(outputs) != 1:
            raise InputError(f"of must say which output: {', '.join(outputs)}; make one function for each")
        self.of = of or outputs[0]
        given = dict(given or {})
        floats = [t.name for t in inputs_of(bundle) if t.dtype.startswith("float") and t.name not in given]
        self.names = (wrt,) if isinstance(wrt, str) else tuple(floats if wrt is None else wrt)
        shared = [name for name in self.names if name in bundle.spec.shared_inputs]
        if shared:
            raise InputError(
                f"{shared[0]!r} has no batch axis, all rows share it, and a derivative by it is no row's own: give its"
                f" value in given={{{shared[0]!r}: ...}}, or export with batched=False"
            )
        self._samples = bundle.flat(of=self.of, wrt=self.names, given=given).samples()
        self.n, self.m = self._samples.n, self._samples.m
        tensors = {tensor.name: tensor for tensor in inputs_of(bundle)}
        batched = bundle.spec.batched
        self.shapes = [fixed_shape(tensors[name], batched, "a differentiable function") for name in self.names]
        self.dtype = np.result_type(*(tensors[name].dtype for name in self.names))
        selection = Selection.parse(self.of)
        output = next(tensor for tensor in values_of(bundle) if tensor.name == selection.name)
        several = () if self.m == 1 else (self.m,)
        self.out_shape = fixed_shape(output, batched, "a differentiable function") if selection.is_whole else several
        self._keeps = True
        self._kept: dict[bytes, Array] = {}
        self._lock = threading.Lock()

    def gives_both(self, count: int) -> bool:
        """Whether one evaluation gives the values of ``count`` points and their Jacobian, and that is small."""
        return self._samples.comes_with_value(count)

    def gives_hessian(self, count: int) -> bool:
        """Whether the bundle holds the Hessian itself, and that of ``count`` points is small."""
        return self._samples.holds_hessian(count)

    def value(self, points: Array, expects_derivative: bool = False) -> Array:
        """``(N, m)``; where a derivative will follow, the Jacobian of the same evaluation is kept for it."""
        if not (expects_derivative and self._keeps and self.gives_both(len(points))):
            return self._array(self._samples.value(_wide(points)))
        value, jacobian = self._samples.both(_wide(points))
        with self._lock:
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[points.tobytes()] = jacobian
        return self._array(value)

    def without_derivatives(self) -> DifferentiableRows:
        """The same where no derivative will follow: the value is computed alone."""
        view = copy.copy(self)
        view._keeps = False
        return view

    def both(self, points: Array) -> tuple[Array, Array]:
        """Value and Jacobian ``(N, m, n)``."""
        value, jacobian = self._samples.both(_wide(points))
        return self._array(value), self._array(jacobian)

    def jacobian(self, points: Array) -> Array:
        """``(N, m, n)``: kept from the value at the same points, or computed."""
        kept = self._kept_at(points)
        return self._array(self._samples.jacobian(_wide(points)) if kept is None else kept)

    def vjp(self, points: Array, weights: Array) -> Array:
        """``(N, K, n)``: weights times the Jacobian that was kept from the value, or that is computed, or a product."""
        kept = self._kept_at(points)
        wide = _wide(weights)
        return self._array(self._samples.vjp(_wide(points), wide) if kept is None else np.matmul(wide, kept))

    def jvp(self, points: Array, directions: Array) -> Array:
        """``(N, K, m)``: the Jacobian times directions."""
        kept = self._kept_at(points)
        wide = _wide(directions)
        if kept is not None:
            return self._array(np.matmul(wide, kept.swapaxes(1, 2)))
        return self._array(self._samples.jvp(_wide(points), wide))

    def hvp(self, points: Array, weights: Array, directions: Array) -> Array:
        """``(N, K, n)``: the Hessian, weighted by component, times directions."""
        return self._array(self._samples.hvp(_wide(points), _wide(weights), _wide(directions)))

    def second(self, points: Array, first: Array, other: Array) -> Array:
        """``(N, K, m)``: the second derivative of each component along two directions ``(N, K, n)``."""
        return self._array(self._samples.second(_wide(points), _wide(first), _wide(other)))

    def hessian(self, points: Array) -> Array:
        """``(N, m, n, n)``: of each component."""
        return self._array(self._samples.hessians(_wide(points)))

    def require(self, order: int) -> None:
        """Raises ``NotExportedError``, which names the request that is missing, of derivatives of ``order`` 1 or 2."""
        self._samples.require(order)

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
            raise InputError(
                f"{', '.join(self.names)}: all inputs must have the same number of rows, got"
                f" {[tuple(s) for s in shapes]}"
            )
        return found.pop()

    def require_held(self, name: str, dtype: str) -> None:
        """Raises ``InputError`` where numbers of ``dtype`` would lose digits on the way in."""
        if dtype.startswith("float") and np.dtype(dtype).itemsize > self.dtype.itemsize:
            raise InputError(
                f"{name!r} is {dtype}, but the model computes in {self.dtype}: convert it explicitly, or"
                ' export the model with precision="float64"'
            )

    def _kept_at(self, points: Array) -> Array | None:
        with self._lock:
            return self._kept.get(points.tobytes())

    def _array(self, found: Array) -> Array:
        """In the dtype of the model, never one that is kept."""
        return np.array(found, self.dtype)


def _wide(array: Array) -> Array:
    return array.astype(np.float64)
