"""Extrapolated differences: no step is taken that could change nothing, and what they say stays the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from pullback_export.gate.differences import extrapolation
from pullback_export.gate.differences.extrapolation import MOST_STEPS, Extrapolated, extrapolated


@dataclasses.dataclass
class Rounded:
    """Differences of ``exp`` at several points, whose values have an error of a unit in the last place of ``eps``."""

    eps: float
    kink: float = 0.0
    steps: list[float] = dataclasses.field(default_factory=list)

    def value(self, x: Any) -> Any:
        return np.round((np.exp(x) + self.kink * np.abs(x - 0.5)) / self.eps) * self.eps

    def measured(self, step: float) -> tuple[Any, Any]:
        self.steps.append(step)
        x = np.array([0.1, 0.5, 0.9])
        ahead, here, behind = self.value(x + step), self.value(x), self.value(x - step)
        return (ahead - behind) / (2 * step), np.abs(ahead - 2 * here + behind) / step

    def noise(self, step: float) -> float:
        return 4 * self.eps / step


def found(quotient: Rounded) -> Extrapolated:
    return extrapolated(quotient, 1e-1, None, 2.0, 1e-9, 1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kink", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-7, 1e-10, 2e-16])
def test_steps_of_noise_alone_are_not_taken(eps: float, kink: float, monkeypatch: pytest.MonkeyPatch) -> None:
    short, whole = Rounded(eps, kink), Rounded(eps, kink)
    one = found(short)
    monkeypatch.setattr(extrapolation._Best, "is_final", lambda *arguments: False)
    other = found(whole)
    for field in ("measured", "uncertainty", "smooth"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert len(short.steps) <= len(whole.steps)
    if eps > 1e-15:
        assert len(whole.steps) == MOST_STEPS and len(short.steps) < 20
    assert one.smooth.tolist() == [True, kink == 0, True]
