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

    Of a vector output it takes ``adj_y (B, *out)`` too, and gives ``fwd_adj_x (B, *in)``: see :class:`VectorHVP`.
    """

    kind = "hvp"
    function = "hvp"
    by_shared = False

    def _default_name(self) -> str:
        return f"hvp_{self.of.label}_{self.wrt[0].label}"

    def resolved(self, out: Shape) -> Request:
        if all(size == 1 for size in out):
            return self
        name = None if self.name == self._default_name() else self.name
        of, wrt = str(self.of), str(self.wrt[0])
        return VectorHVP(of, wrt, scale=self.scale, name=name, mode=self.mode, chunk=self.chunk)

    @property
    def order(self) -> int:
        return 2

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.gradient() if level == 0 else step.vjp(seeds[self.direction_seed])

    @property
    def byproducts(self) -> tuple[Request, ...]:
        return (Gradient(str(self.of), str(self.wrt[0])),)

    def below(self) -> Request:
        return Gradient(str(self.of), str(self.wrt[0]), name="below")


class VectorHVP(HVP):
    """What :class:`HVP` is for a vector output: ``fwd_adj_x``, the Hessian of ``<adj_y, y>`` times ``fwd_x``.

    CasADi's forward-over-adjoint; those of several outputs add up, as their adjoints do.
    """

    adds_up = True

    def _default_name(self) -> str:
        return f"fwd_adj_{self.wrt[0].label}"

    def resolved(self, out: Shape) -> Request:
        return self

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return adjoint_seed(self.of), tangent_seed(self.wrt[0])

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.vjp(seeds[self.seeds[level].name])

    @property
    def byproducts(self) -> tuple[Request, ...]:
        return (VJP(str(self.of), str(self.wrt[0])),)

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
