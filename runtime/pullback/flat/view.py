"""``Flat``: a function of one vector and its derivatives, in plain shapes, for optimisers, solvers and samplers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError, NotExportedError
from pullback.flat.layout import Layout, Shapes
from pullback.flat.plan import Found, Plan
from pullback.flat.samples import Samples
from pullback.function import Function
from pullback.manifest import TensorSpec
from pullback.selection import Selection


class Flat:
    """An output of a bundle as a function of ``x`` of shape ``(n,)``, and its derivatives; ``Bundle.flat`` makes it.

    Every method takes real numbers of any dtype and returns new float64 arrays. ``m`` is the number of components of
    the output; if it is 1, values are numbers. The results at the last ``x`` are cached: value and derivative at one
    point take one evaluation, whatever the order of the calls. Safe to share between threads; picklable.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        of: str,
        wrt: str | Sequence[str],
        given: Mapping[str, Any] | None = None,
        shape: Shapes | None = None,
        remake: tuple[Callable[..., Flat], tuple[Any, ...]] | None = None,
    ) -> None:
        """``remake`` is what pickle calls, and with what."""
        if not isinstance(wrt, (str, tuple, list)) or not all(isinstance(name, str) for name in wrt):
            raise InputError(f"flat({of}): wrt must be the name of an input, or several in a tuple; got {wrt!r}")
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"flat({of}): given must be values by name of the input, got {type(given).__name__}")
        self._wrt = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        self._call = f"flat({of}, {', '.join(map(str, self._wrt))})"
        self._of = self._selection(of)
        self._functions = tuple(functions.values())
        self._remake = remake
        self._tensor = self._output()
        self._layout = Layout(self._functions[0], self._wrt, given or {}, shape, self._call)
        self._plan: Plan | None = None
        self._last: tuple[bytes | None, Found] = (None, {})
        sample = self._layout.sample_shape(self._tensor)
        if sample is not None:
            self._plan = self._planned(sample)

    @property
    def n(self) -> int:
        """How many components ``x`` has."""
        return self._layout.n

    @property
    def slices(self) -> dict[str, slice]:
        """The slice of ``x`` that holds each input, flattened in C order."""
        return {part.name: slice(part.start, part.stop) for part in self._layout.parts}

    @property
    def m(self) -> int | None:
        """How many components the output has; None before the first call if this depends on free axes."""
        return None if self._plan is None else self._plan.m

    def samples(self) -> Samples:
        """The same at several points at once, ``(N, n)``; where free axes decide ``m``, one evaluation tells it."""
        return Samples(self._layout, self._plan or self._planned_at(np.zeros(self._layout.n)))

    def value(self, x: Any) -> Any:
        """The output at ``x``: a float64 number if it has one component, otherwise an array ``(m,)``.

        Raises:
            InputError: ``x`` is not ``(n,)``, or cannot be held in the dtype of the model.
            NotExportedError: the bundle holds only a derivative of this output.
        """
        point, found, plan = self._at(x)
        value = plan.value(found, point)
        return value[0] if plan.m == 1 else value.copy()

    def gradient(self, x: Any) -> Array:
        """The gradient, ``(n,)``, of an output with one component; raises ``InputError`` if it has several."""
        point, found, plan = self._at(x)
        if plan.m != 1:
            plan.require_scalar("gradient")
        gradient: Array = plan.jacobian(found, point)[0].copy()
        return gradient

    def value_and_gradient(self, x: Any) -> tuple[Any, Array]:
        """Both, from one evaluation, as ``scipy.optimize.minimize`` expects with ``jac=True``."""
        point, found, plan = self._at(x)
        if plan.m != 1:
            plan.require_scalar("value_and_gradient")
        value, jacobian = plan.both(found, point)
        return value[0], jacobian[0].copy()

    def jacobian(self, x: Any) -> Array:
        """The Jacobian, ``(m, n)``; ``(1, n)`` for an output with one component."""
        point, found, plan = self._at(x)
        return plan.jacobian(found, point).copy()

    def value_and_jacobian(self, x: Any) -> tuple[Any, Array]:
        """Both, from one evaluation."""
        point, found, plan = self._at(x)
        value, jacobian = plan.both(found, point)
        return value[0] if plan.m == 1 else value.copy(), jacobian.copy()

    def hess(self, x: Any, v: Any = None) -> Array:
        """The Hessian weighted by ``v`` of shape ``(m,)``: the sum of ``v[i]`` times that of component i, ``(n, n)``.

        ``v`` may be omitted if there is one component.
        """
        point, found, plan = self._at(x)
        return plan.hessian(found, point, plan.weights(v)).copy()

    def hessp(self, x: Any, p: Any, v: Any = None) -> Array:
        """``(n,)``: the (weighted) Hessian times ``p`` of shape ``(n,)``."""
        point, found, plan = self._at(x)
        weights, direction = plan.weights(v), self._layout.point(p, "p")
        product = plan.product("hessp", point, direction[None], weights)
        return product[0] if product is not None else plan.hessian(found, point, weights, "hessp") @ direction

    def vjp(self, x: Any, v: Any) -> Array:
        """``(n,)``: ``v`` of shape ``(m,)`` times the Jacobian."""
        point, found, plan = self._at(x)
        weights = plan.weights(v)
        product = None if "jacobian" in found else plan.product("vjp", point, weights[None])
        return product[0] if product is not None else weights @ plan.jacobian(found, point, "vjp")

    def jvp(self, x: Any, t: Any) -> Any:
        """The Jacobian times ``t`` of shape ``(n,)``, in the shape of a value: a number or ``(m,)``."""
        point, found, plan = self._at(x)
        direction = self._layout.point(t, "t")
        product = None if "jacobian" in found else plan.product("jvp", point, direction[None])
        row = product[0] if product is not None else plan.jacobian(found, point, "jvp") @ direction
        return row[0] if plan.m == 1 else row

    def __reduce__(self) -> tuple[Callable[..., Flat], tuple[Any, ...]]:
        if self._remake is None:
            raise TypeError(f"{self._call}: made without a bundle, and cannot be pickled")
        return self._remake

    def __repr__(self) -> str:
        given = "".join(f", {name} given" for name in self._layout.given)
        return f"<pullback.Flat {self._of} of {', '.join(self._wrt)}: n={self.n}, m={self.m or '?'}{given}>"

    def _at(self, x: Any) -> tuple[Array, Found, Plan]:
        """The point, what is known there, and the plan. One tuple holds the last point: threads need no lock for it."""
        point = self._layout.point(x)
        plan = self._plan or self._planned_at(point)
        key, last = point.tobytes(), self._last
        if last[0] == key:
            return point, last[1], plan
        plan.forget_unasked(last[1])
        found: Found = {}
        self._last = (key, found)
        return point, found, plan

    def _planned_at(self, point: Array) -> Plan:
        """Where free axes decide the shape of the output, one evaluation tells it."""
        name = self._of.name
        function = next((f for f in self._functions if self._tensor in f.spec.outputs and not f.spec.seeds), None)
        if function is None:
            raise NotExportedError(f"{self._call}: the shape of {self._tensor} is unknown; load the whole bundle")
        shape = function.run((name,), self._layout.feeds(point))[0].shape
        self._layout.learn(self._tensor, shape)
        self._plan = self._planned(shape[len(shape) - self._layout.rank(self._tensor) :])
        return self._plan

    def _planned(self, sample: tuple[int, ...]) -> Plan:
        return Plan(self._functions, self._layout, self._of, sample, self._call)

    def _output(self) -> TensorSpec:
        tensors = [tensor for function in self._functions for tensor in function.spec.outputs]
        derivatives = {d.name for function in self._functions for d in function.spec.derivatives}
        held = dict.fromkeys(tensor.name for tensor in tensors if tensor.name not in derivatives)
        for tensor in tensors:
            if tensor.name == self._of.name:
                return tensor
        outputs = f"the outputs are {', '.join(held)}" if held else "here are products alone, load the whole bundle"
        raise NotExportedError(f"{self._call}: there is no output {self._of.name!r}; {outputs}")

    def _selection(self, of: str) -> Selection:
        try:
            return Selection.parse(of)
        except (ValueError, AttributeError) as error:
            raise InputError(f"{self._call}: of must name an output: y, y[2], y[1:3] or sum(y)") from error
