"""The numbers that every engine gets: the same in every process."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks.work import Work


def draw(chosen: Work, batch: int, moved: int = 0) -> list[Any]:
    """``x`` and, for products, a tangent: the same in every process; ``moved``: each number by at most one unit."""
    rng = np.random.default_rng(7)
    count = 2 if chosen.kind == "hvp" else 1
    arrays = [rng.standard_normal((batch, *chosen.shape), np.float32) for _ in range(count)]
    if moved:
        steps = np.random.default_rng(moved).integers(-1, 2, arrays[0].shape).astype(np.float32)
        arrays[0] += steps * np.spacing(np.abs(arrays[0]))
    return arrays
