"""First derivatives without a seed: the gradient and the Jacobian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pullback_export.derivatives.kinds.request import Differentiation, Key, Request, Shape
from pullback_export.errors import ExportError

_WITHOUT_BATCH = (
    "; batched=False: if the leading axis is the batch, give it a free size (None), and batched=True where all rows"
    " share an input without it"
)
# A free size says that the components are of one sort: values at so many points, say.
_AT_POINTS = (
    "; {0}(sum({1}), {2}) has one gradient for each component of {2}, which is that of each point where points do not"
    " influence each other, and batch_axes=2 makes derivatives those of each point (docs/howto/points.md)"
)


class Gradient(Request):
    """Gradient of one scalar per sample, shape ``(B, *in)``: ``dy_dx``."""

    kind = "gradient"
    one_pass = True
    sums_over_batch = True

    def _default_name(self) -> str:
        return f"d{self.of.label}_d{self.wrt[0].label}"

    def check_shapes(self, out: Shape, into: Sequence[Shape], lead: int) -> None:
        if all(size == 1 for size in out):
            return
        of, wrt = self.of, self.wrt[0]
        shape = ("B", "N")[:lead] + tuple(out)
        zeros = ", ".join("0" for _ in out)
        raise ExportError(
            f"{self}: {of} has shape {shape}, not one scalar per sample;"
            f" pick a component {self.kind}({of.name}[{zeros}], {wrt}), "
            f"request all of them jacobian({of}, {wrt}), or pass the weights at run time vjp({of}, {wrt})"
            + (_AT_POINTS.format(self.kind, of, wrt) if None in out else "")
            + ("" if lead else _WITHOUT_BATCH)
        )

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.gradient()


class Jacobian(Request):
    """All first derivatives, shape ``(B, *out, *in)``: ``dy_dx``."""

    kind = "jacobian"
    vectorised = True
    _default_name = Gradient._default_name

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return step.jacobian()
