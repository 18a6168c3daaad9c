"""Whether an engine computes what Pullback computes: a benchmark of a wrong answer is worthless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# The largest difference that is rounding, relative to the largest number of the expected array.
LARGEST = 1e-3
# With thousands of random rows some lie so close to a kink of a relu that rounding decides on which side: of so many
# rows one may differ. The first thousand have none to spare.
ROWS_FOR_ONE_KINK = 1000


def difference(found: Array, expected: Array) -> float:
    """Largest difference relative to ``max|expected|``, over rows that are at no kink; ``inf`` where one is no number.

    Arrays have the batch first; what follows may be laid out differently, ``(B, 1, n, n)`` for ``(B, n, n)``.
    """
    if found.size != expected.size or len(found) != len(expected):
        return float("inf")
    rows = len(expected)
    apart = np.abs(found.reshape(rows, -1).astype(np.float64) - expected.reshape(rows, -1)).max(axis=1)
    scale = float(np.abs(expected).max())
    apart = np.sort(np.where(np.isnan(apart), np.inf, apart))[: rows - rows // ROWS_FOR_ONE_KINK]
    return float(apart[-1]) / (scale or 1.0)


def complaint(found: Mapping[str, Array], expected: Mapping[str, Array]) -> str:
    """What is wrong with an engine's answer, by name of the result; empty where nothing is."""
    common = [name for name in found if name in expected]
    wrong = {name: error for name in common if not (error := difference(found[name], expected[name])) <= LARGEST}
    return ", ".join(f"{name} off by {error:.1e} of its largest number" for name, error in wrong.items())
