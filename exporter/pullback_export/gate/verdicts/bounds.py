"""How far a result may be off: one tolerance for all, and others for results that are named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pullback.manifest import Tolerance

from pullback_export.errors import ExportError


@dataclasses.dataclass(frozen=True)
class Bounds:
    """``usual``, and tolerances of their own for some outputs and derivatives, by name."""

    usual: Tolerance
    named: Mapping[str, Tolerance] = dataclasses.field(default_factory=dict)

    def of(self, name: str) -> Tolerance:
        """The tolerance of the result ``name``."""
        return self.named.get(name, self.usual)


def checked_tolerance(tolerance: float | Tolerance | None) -> Tolerance:
    """A tolerance from what the caller gave; None for the defaults of :class:`pullback.manifest.Tolerance`."""
    if isinstance(tolerance, Tolerance):
        checked_tolerance(tolerance.float32)
        checked_tolerance(tolerance.float64)
        return tolerance
    if tolerance is None:
        return Tolerance()
    if not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        raise ExportError(f"tolerance={tolerance!r}: give a positive number below 1 or a pullback.manifest.Tolerance")
    return Tolerance(float(tolerance), float(tolerance))
