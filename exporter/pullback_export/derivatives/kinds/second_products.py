"""Products of second derivatives with seeds: along a direction, and weighted over the components of an output.

Both are one reverse pass of the weighted sum ``<adj_y, y>`` and then derivatives of that pass, so that the dense
Hessian ``(m, n, n)`` of a vector output never exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pullback.selection import Selection

from pullback_export.derivatives.kinds.first_order import Gradient
from pullback_export.derivatives.kinds.products import VJP, AlongTangent, adjoint_seed, tangent_seed
from pullback_export.derivatives.kinds.request import Differentiation, Key, Request, Seed, Shape


class HVP(AlongTangent):
    """Hessian-vector product: takes ``fwd_x (B, *in)``, gives ``hvp_y_x (B, *in)`` of one scalar per sample.

    By two inputs, ``hvp(y, x, t)`` takes ``fwd_t (B, *in2)`` and gives ``hvp_y_x_t (B, *in)``: the mixed second
    derivative ``hessian(y, x, t)`` times the direction. Of a vector output it takes ``adj_y (B, *out)`` too, and gives
    ``fwd_adj_x (B, *in)``: see :class:`VectorHVP`.
    """

    kind = "hvp"
    function = "hvp"
    orders = (1, 2)
    by_shared = False

    def _complete(self, wrt: tuple[Selection, ...]) -> tuple[Selection, ...]:
        return wrt[:1] if len(set(wrt)) == 1 else wrt

    def _default_name(self) -> str:
        return "_".join(("hvp", self.of.label, *(item.label for item in self.wrt)))

    def resolved(self, out: Shape) -> Request:
        if all(size == 1 for size in out):
            return self
        name = None if self.name == self._default_name() else self.name
        wrt = map(str, self.wrt)
        return VectorHVP(str(self.of), *wrt, scale=self.scale, name=name, mode=self.mode, chunk=self.chunk)

    @property
    def order(self) -> int:
        return 2

    @property
    def path(self) -> tuple[Selection, ...]:
        """The input of the direction comes first, as the rest is the derivative of one number then, a reverse pass.

        ``d2y/dx dt`` times ``v`` is the derivative by ``x`` of ``<dy/dt, v>``, as second derivatives are symmetric.
        """
        return self.wrt[::-1]

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.gradient() if level == 0 else step.vjp(seeds[self.direction_seed])

    @property
    def byproducts(self) -> tuple[Request, ...]:
        return (Gradient(str(self.of), str(self.path[0])),)

    def below(self) -> Request:
        return Gradient(str(self.of), str(self.wrt[0]), name="below")


class VectorHVP(HVP):
    """What :class:`HVP` is for a vector output: ``fwd_adj_x``, the Hessian of ``<adj_y, y>`` times ``fwd_x``.

    CasADi's forward-over-adjoint; those of several outputs add up, as their adjoints do. By two inputs it is
    ``fwd_adj_x_t``, the part of it that ``fwd_t`` makes.
    """

    adds_up = True

    def _default_name(self) -> str:
        return "_".join(("fwd_adj", *(item.label for item in self.wrt)))

    def resolved(self, out: Shape) -> Request:
        return self

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return adjoint_seed(self.of), tangent_seed(self.wrt[-1])

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.vjp(seeds[self.seeds[level].name])

    @property
    def byproducts(self) -> tuple[Request, ...]:
        return (VJP(str(self.of), str(self.path[0])),)

    def below(self) -> Request:
        return VJP(str(self.of), str(self.wrt[0]), name="below")


class ByTwoInputs(Request):
    """A dense second derivative, by one input twice or by two inputs."""

    orders = (1, 2)
    vectorised = True

    def _complete(self, wrt: tuple[Selection, ...]) -> tuple[Selection, ...]:
        return wrt * 2 if len(wrt) == 1 else wrt

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, (self.of, *self._named)))})"

    @property
    def _named(self) -> tuple[Selection, ...]:
        """The inputs as they are written: once where both are the same."""
        return self.wrt[:1] if self.wrt[0] == self.wrt[1] else self.wrt


class WeightedHessian(ByTwoInputs):
    """The sum of ``adj_y[i]`` times the Hessian of ``y[i]``: takes ``adj_y (B, *out)``.

    Gives ``hess_y_x (B, *in, *in)``, or ``hess_y_x_t (B, *in, *in2)`` for two inputs.
    """

    kind = "weighted_hessian"
    function = "weighted_hessian"
    by_shared = False

    def _default_name(self) -> str:
        return "_".join(("hess", self.of.label, *(item.label for item in self._named)))

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return (adjoint_seed(self.of),)

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.vjp(seeds[self.seeds[0].name]) if level == 0 else step.jacobian()

    @property
    def byproducts(self) -> tuple[Request, ...]:
        return (VJP(str(self.of), str(self.wrt[0])),)

    def below(self) -> Request:
        return VJP(str(self.of), str(self.wrt[0]), name="below")
