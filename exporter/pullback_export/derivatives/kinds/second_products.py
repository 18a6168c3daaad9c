"""Products of second derivatives with seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pullback_export.derivatives.kinds.first_order import Gradient
from pullback_export.derivatives.kinds.products import check_whole_input, tangent_seed
from pullback_export.derivatives.kinds.request import Array, Differentiation, Key, Quotient, Request, Seed, Shape
from pullback_export.errors import ExportError


class HVP(Request):
    """Hessian-vector product of one scalar per sample: takes ``fwd_x (B, *in)``, gives ``hvp_y_x (B, *in)``."""

    kind = "hvp"
    function = "hvp"

    def _default_name(self) -> str:
        return f"hvp_{self.of.label}_{self.wrt[0].label}"

    @property
    def order(self) -> int:
        return 2

    @property
    def seeds(self) -> tuple[Seed, ...]:
        return (tangent_seed(self.wrt[0]),)

    @property
    def direction_seed(self) -> str:
        return self.seeds[-1].name

    def check_shapes(self, out: Shape, into: Sequence[Shape], lead: int) -> None:
        check_whole_input(self)
        if all(size == 1 for size in out):
            return
        of, wrt = self.of, self.wrt[0]
        shape = ("B",) * lead + tuple(out)
        zeros = ", ".join("0" for _ in out)
        raise ExportError(
            f"{self}: {of} has shape {shape}, not one scalar per sample;"
            f" pick a component {self.kind}({of.name}[{zeros}], {wrt}), "
            f"or ask for all second derivatives hessian({of}, {wrt})"
            + ("" if lead else "; batched=False: if the leading axis is the batch, give it a free size (None)")
        )

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.gradient() if level == 0 else step.vjp(seeds[self.direction_seed])

    def below(self) -> Request:
        return Gradient(str(self.of), str(self.wrt[0]), name="below")

    def predicted(self, result: Array, quotient: Quotient) -> Array:
        return result
