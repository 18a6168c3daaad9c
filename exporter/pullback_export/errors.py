"""Every error of the exporter; each message says what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pullback.errors import MissingDependencyError, PullbackError

__all__ = ["ExportError", "MissingDependencyError", "ParityWarning", "PrecisionError", "UnsupportedOpsError"]


class ExportError(PullbackError):
    """The model or the request cannot be exported as it stands; nothing was written."""


class UnsupportedOpsError(ExportError):
    """Operators that have no exact form in ONNX here. ``ops`` maps each to the places it comes from.

    ``reasons`` holds, for an operator that is covered in part, which attribute or shape is not. ``remedy`` is what to
    do instead.
    """

    def __init__(
        self,
        ops: Mapping[str, Sequence[str]] | Sequence[str],
        reasons: Mapping[str, str] | None = None,
        remedy: str = "Replace the layer, or add a rule of your own (`pullback_export.lowers`; docs/own_operators.md)",
    ) -> None:
        self.ops = {name: tuple(ops[name]) for name in ops} if isinstance(ops, Mapping) else dict.fromkeys(ops, ())
        self.reasons = dict(reasons or {})
        self.remedy = remedy
        lines = [self._line(name, places) for name, places in sorted(self.ops.items())]
        super().__init__(f"these operators cannot be exported exactly: {'; '.join(lines)}. {remedy}.")

    def __reduce__(self) -> tuple[type[UnsupportedOpsError], tuple[Mapping[str, Sequence[str]], dict[str, str], str]]:
        return type(self), (self.ops, self.reasons, self.remedy)

    def _line(self, name: str, places: Sequence[str]) -> str:
        where = (
            f" in {', '.join(places[:4])}" + (f" and {len(places) - 4} more" if len(places) > 4 else "")
            if places
            else ""
        )
        why = f" ({self.reasons[name]})" if name in self.reasons else ""
        return f"{name}{where}{why}"


class PrecisionError(ExportError):
    """The model computes in a dtype that cannot be exported without losing precision."""


class ParityWarning(UserWarning):
    """What an export found worth a look, although nothing failed: a derivative that is zero everywhere, say."""
