"""What a flat view costs above the call it makes: ``python -m tests.benchmarks.flat``; microseconds, of one run.

Both are timed in turn, point by point different, so that nothing comes from what was kept. The ratio is the median over
short rounds, which a busy machine leaves alone; what the view costs above the call is that of the fastest round, and at
most ``ALLOWED``.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pullback

ROOT = pathlib.Path(__file__).parents[2]
ALLOWED = 4.0  # microseconds
ROUNDS, CALLS = 300, 100

# The bundle, the output, the input, the method of the view, and the results that the call computes.
ROWS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("golden/v1/bowl", "y", "x", "value_and_gradient", ("y", "dy_dx")),
    ("golden/v1/bowl", "y", "x", "gradient", ("y", "dy_dx")),
    ("golden/v1/field", "flow", "x", "value_and_jacobian", ("flow", "dflow_dx")),
    ("golden/v1/field", "energy", "x", "value_and_gradient", ("energy", "denergy_dx")),
    ("golden/v1/field", "energy", "x", "hess", ("d2energy_dx2",)),
    ("runtime/fixtures/hill_float32", "energy", "x", "value_and_gradient", ("energy", "denergy_dx")),
    ("golden/v1/picture_float32", "score", "image", "value_and_gradient", ("score", "dscore_dimage")),
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Microseconds of the call, and how many times as long the view takes."""

    row: str
    call: float
    ratio: float

    @property
    def overhead(self) -> float:
        return self.call * (self.ratio - 1)

    def __str__(self) -> str:
        return f"{self.row:52} {self.call:8.1f} {self.ratio:7.2f} {self.overhead:+8.1f}"


def measure(
    name: str, of: str, wrt: str, method: str, fetch: tuple[str, ...], rounds: int = ROUNDS, calls: int = CALLS
) -> Cost:
    """One row."""
    bundle = pullback.load(ROOT / "tests" / f"{name}.pullback")
    view = bundle.flat(of, wrt)
    flat: Callable[[Any], Any] = getattr(view, method)
    tensor = next(tensor for tensor in bundle.spec.inputs if tensor.name == wrt)
    points = [np.full(view.n, 0.1 + 0.5 * index / calls) for index in range(calls)]
    arrays = [point.astype(tensor.dtype).reshape(1, *tensor.shape[1:]) for point in points]
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for array in arrays:
            bundle(array, fetch=fetch)
        middle = time.perf_counter()
        for point in points:
            flat(point)
        seconds.append((middle - start, time.perf_counter() - middle))
    ratio = statistics.median(view / call for call, view in seconds)
    fastest = min(call for call, _ in seconds)
    return Cost(f"{name.split('/')[-1]}: {method}({of}, {wrt})", fastest / calls * 1e6, ratio)


def main() -> int:
    """Print the table; 1 where a view costs more than is wanted."""
    print(f"{'microseconds':52} {'call':>8} {'ratio':>7} {'above':>8}")
    costs = [measure(*row) for row in ROWS]
    print(*costs, sep="\n")
    return int(any(cost.overhead > ALLOWED for cost in costs))


if __name__ == "__main__":
    raise SystemExit(main())
