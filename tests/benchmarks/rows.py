"""One line of the tables: what every engine took at one batch size and number of threads, round by round."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from tests.benchmarks import engines
from tests.benchmarks.bounds import OF_GEMM

REFERENCE = "pullback"


@dataclasses.dataclass(frozen=True)
class Result:
    """Of one engine in one row: seconds of a call in each round, or why there are none.

    ``reference``: Pullback's seconds in the same rounds; an engine that was measured on another day is paired with
    those of that day. ``date``: that day.
    """

    engine: str
    seconds: tuple[float, ...] = ()
    skipped: str = ""
    reference: tuple[float, ...] = ()
    date: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; all engines at one batch size and number of threads of one machine.

    ``flops``: of the products of one call of Pullback; see :mod:`tests.benchmarks.bounds`. ``load``: of the machine
    when Pullback was measured, the average of a minute. ``machine``: see :func:`tests.benchmarks.machine.name`.
    """

    work: str
    batch: int
    threads: int
    results: tuple[Result, ...]
    flops: float = 0.0
    load: float = 0.0
    machine: str = ""

    @property
    def key(self) -> tuple[str, int, str, int]:
        return self.machine, self.threads, self.work, self.batch

    @property
    def date(self) -> str:
        """The day when Pullback was measured."""
        found = self.result(REFERENCE)
        return found.date if found else ""

    def result(self, engine: str) -> Result | None:
        return next((result for result in self.results if result.engine == engine), None)

    def ratios(self, engine: str, to: str = engines.FLOOR) -> list[float]:
        """Time of ``engine`` to the time of ``to`` in the same round; empty where one has none."""
        mine, other = self._relative(engine), self._relative(to)
        return [a / b for a, b in zip(mine, other, strict=False)]

    def _relative(self, engine: str) -> list[float]:
        """Times over Pullback's in the same round, or the times of the row where no round is told apart."""
        found, reference = self.result(engine), self.result(REFERENCE)
        if found is None:
            return []
        paired = found.reference or (reference.seconds if reference else ())
        return [a / b for a, b in zip(found.seconds, paired, strict=False)] if paired else list(found.seconds)

    def floor(self) -> str:
        """The fastest way to the value alone; empty where none was measured."""
        medians = {name: statistics.median(times) for name in engines.FLOORS if (times := self._relative(name))}
        return min(medians, key=lambda name: medians[name]) if medians else ""

    def seconds(self, engine: str) -> float | None:
        """The median of its times."""
        found = self.result(engine)
        return statistics.median(found.seconds) if found and found.seconds else None

    def of_limit(self) -> list[float]:
        """Pullback's time over what the machine needs at least, round by round; empty where that was not measured."""
        gemm, copy = (self._relative(name) for name in engines.BOUNDS)
        return [1 / (self.flops / OF_GEMM * product + moved) for product, moved in zip(gemm, copy, strict=False)]

    def merged(self, new: Row) -> Row:
        """This row, and in place of what ``new`` has the newer."""
        measured = {result.engine: result for result in self.results}
        for result in new.results:
            missing = result.skipped.endswith("not installed") and result.engine in measured
            if not missing:
                measured[result.engine] = result
        return dataclasses.replace(new, results=tuple(sorted(measured.values(), key=_place)))


def _place(result: Result) -> int:
    return [engine.name for engine in engines.ENGINES].index(result.engine)


def ordered(results: list[Result]) -> tuple[Result, ...]:
    """In the order of the engines."""
    return tuple(sorted(results, key=_place))


def loaded(saved: Mapping[str, Any]) -> Row:
    """From JSON."""
    results = [
        Result(**{**item, "seconds": tuple(item["seconds"]), "reference": tuple(item.get("reference", ()))})
        for item in saved["results"]
        if item["engine"] in {engine.name for engine in engines.ENGINES}
    ]
    return Row(**{**saved, "results": tuple(results)})


def spread(numbers: list[float]) -> tuple[float, float, float]:
    """Median and quartiles."""
    if len(numbers) < 2:
        return numbers[0], numbers[0], numbers[0]
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return middle, low, high
