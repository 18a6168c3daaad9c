"""Second derivatives without a seed: the Hessian and its trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pullback_export.derivatives.kinds.first_order import Jacobian
from pullback_export.derivatives.kinds.request import (
    Array,
    Differentiation,
    Key,
    Quotient,
    Request,
    chain_name,
)
from pullback_export.derivatives.kinds.second_products import ByTwoInputs, WeightedHessian


class Hessian(ByTwoInputs):
    """Second derivatives, shape ``(B, *out, *in, *in2)``: ``d2y_dx2``, or ``d2y_dx_dt`` for two inputs.

    ``weighted=True`` makes a :class:`~pullback_export.derivatives.kinds.second_products.WeightedHessian` instead.
    """

    kind = "hessian"

    def __new__(cls, of: str = "", *wrt: str, weighted: bool = False, **options: Any) -> Any:
        """A request of the other kind where it is ``weighted``. (Copies and pickles are made without arguments.)"""
        return WeightedHessian(of, *wrt, **options) if weighted else super().__new__(cls)

    def __init__(self, of: str, *wrt: str, weighted: bool = False, **options: Any) -> None:
        super().__init__(of, *wrt, **options)

    def _default_name(self) -> str:
        return chain_name(self.of, self.wrt)

    def _step_name(self, order: int) -> str:
        return Jacobian.kind

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.jacobian()

    def below(self) -> Request:
        return Jacobian(str(self.of), str(self.wrt[0]), name="below")


class Laplacian(Request):
    """Trace of the Hessian over all components of the input, shape ``(B, *out)``: ``lap_y_x``."""

    kind = "laplacian"
    vectorised = True
    after_others = True
    differs_by_component = True

    def _default_name(self) -> str:
        return f"lap_{self.of.label}_{self.wrt[0].label}"

    @property
    def order(self) -> int:
        return 2

    def _step_name(self, order: int) -> str:
        return Jacobian.kind if order == 1 else self.kind

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        """The trace of the Hessian, if that is computed anyway."""
        if level == 0:
            return step.jacobian()
        hessian = results.get((Jacobian.kind, *self.key(2)[1:]))
        return step.trace() if hessian is None else step.trace_of(hessian)

    def below(self) -> Request:
        """Of the whole input: :meth:`measured` picks the components."""
        return Jacobian(str(self.of), self.wrt[0].name, name="below")

    def predicted(self, result: Array, quotient: Quotient) -> Array:
        return result

    def measured(self, quotient: Quotient, step: float) -> tuple[Array, Array]:
        """The sum over the unit directions: of each, the component of the first derivative along it."""
        total, spread = np.zeros(()), np.zeros(())
        whole, lead, picked = quotient.direction.shape, quotient.lead_in, quotient.picked(self.wrt[0])
        chosen = np.zeros(whole[lead:], bool)
        chosen[picked[lead:]] = True
        for component in np.argwhere(chosen):
            unit = np.zeros(whole)
            unit[(slice(None),) * lead + tuple(component)] = 1
            central, apart = quotient.along(unit, step)
            at = (..., *component)
            total, spread = total + central[at], spread + apart[at]
        return total, spread
