"""A way that was timed against another in the same rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Measured:
    """Seconds by hand and through the integration, medians, and quartiles of their ratio over the rounds."""

    name: str
    hand: float
    call: float
    ratio: float
    low: float
    high: float

    @staticmethod
    def of(name: str, hand: Sequence[float], call: Sequence[float]) -> Measured:
        """From one number of each a round."""
        low, ratio, high = np.percentile(np.divide(call, hand), [25, 50, 75])
        return Measured(name, float(np.median(hand)), float(np.median(call)), float(ratio), float(low), float(high))
