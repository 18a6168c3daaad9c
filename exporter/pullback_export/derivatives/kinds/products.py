"""Products of the Jacobian with a seed."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from pullback.selection import Selection

from pullback_export.derivatives.kinds.request import Array, Differentiation, Key, Quotient, Request, Seed, Shape
from pullback_export.errors import ExportError


class VJP(Request):
    """Vector-Jacobian product: takes ``adj_y (B, *out)``, gives ``adj_x (B, *in)``.

    By an input that all rows share, ``adj_x`` has its shape ``(*in)``: the sum over the rows. Points likewise.
    """

    kind = "vjp"
    function = "vjp"
    adds_up = True
    sums_over_batch = True

    def _default_name(self) -> str:
        return f"adj_{self.wrt[0].label}"

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return (adjoint_seed(self.of),)

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.vjp(seeds[self.seeds[0].name])

    def is_total(self, shared: Container[str]) -> bool:
        return self.wrt[0].name in shared

    def predicted(self, result: Array, quotient: Quotient) -> Array:
        """``(B,)``; ``(1,)`` where it is a sum over the rows, which is all that can be compared then."""
        if not quotient.missing:
            return super().predicted(result, quotient)
        product = np.asarray(result * quotient.direction[quotient.picked(self.wrt[0])])
        return np.asarray(
            product.sum().reshape(1) if 0 in quotient.missing else product.reshape(len(product), -1).sum(1)
        )

    def measured(self, quotient: Quotient, step: float) -> tuple[Array, Array]:
        """The difference quotient of ``of``, contracted with the adjoint: ``(B,)``, as points add up.

        One-sided differences are apart by rounding in every component: only what is beyond it adds up to a kink.
        """
        central, apart = quotient.along(quotient.direction, step)
        adjoint = quotient.inputs[self.seeds[0].name].astype(np.float64)
        axes = tuple(range(1 if quotient.missing else quotient.lead, adjoint.ndim))
        beyond = np.abs(adjoint) * np.maximum(apart - quotient.noise(step), 0)
        return np.asarray((adjoint * central).sum(axis=axes)), np.asarray(beyond.sum(axis=axes))


class AlongTangent(Request):
    """A product whose last seed is a tangent: central differences are taken along it."""

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return (tangent_seed(self.wrt[-1]),)

    @property
    def direction_seed(self) -> str:
        return self.seeds[-1].name

    def check_shapes(self, out: Shape, into: Sequence[Shape], lead: int) -> None:
        along = self.wrt[-1]
        if along.index:
            raise ExportError(
                f"{self}: a tangent belongs to a whole input; write {along.name} and pass zeros elsewhere"
            )

    def predicted(self, result: Array, quotient: Quotient) -> Array:
        return result


class JVP(AlongTangent):
    """Jacobian-vector product: takes ``fwd_x (B, *in)``, gives ``fwd_y (B, *out)``."""

    kind = "jvp"
    function = "jvp"
    adds_up = True

    def _default_name(self) -> str:
        return f"fwd_{self.of.label}"

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.jvp(seeds[self.seeds[0].name])


def adjoint_seed(of: Selection) -> Seed:
    """``adj_y``, in the shape of the selected part of the output."""
    return Seed(f"adj_{of.label}", of)


def tangent_seed(wrt: Selection) -> Seed:
    """``fwd_x``, in the shape of the whole input."""
    return Seed(f"fwd_{wrt.label}", Selection(wrt.name))
