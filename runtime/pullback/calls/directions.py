"""Several directions in one call: a seed of shape ``(k, *shape)`` gives results of shape ``(k, *shape)``."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.calls.chunks import batch_of
from pullback.errors import InputError
from pullback.inputs import Binder
from pullback.manifest import FunctionSpec


class Directions:
    """The seeds of one function, each with the rank it has for a single direction."""

    def __init__(self, spec: FunctionSpec, binder: Binder) -> None:
        self._name = spec.name
        self._binder = binder
        self._divisible, self._shared = spec.divisible, spec.shared_inputs
        self._ranks = {tensor.name: len(tensor.shape) for tensor in spec.inputs if tensor.name in spec.seeds}

    def many(self, values: Mapping[str, Any]) -> list[str]:
        """Names of the seeds in ``values`` that have the extra leading axis."""
        return [name for name, rank in self._ranks.items() if name in values and _rank(values[name]) == rank + 1]

    def call(self, function: Callable[..., Any], many: list[str], values: Mapping[str, Any], options: Any) -> Any:
        """``function`` once for every direction, results stacked along a new first axis; raises ``InputError``."""
        seeds = {name: self._binder.convert(name, values[name]) for name in many}
        count = self._count(seeds)
        one = {name: seed[0] if count else np.zeros(seed.shape[1:], seed.dtype) for name, seed in seeds.items()}
        feeds = self._binder.feeds({**values, **one})  # checks every shape
        if self._divisible and not self._shared.intersection(seeds):
            return _folded(function, count, seeds, feeds, self._shared, options)
        if not count:
            alone = function(**feeds, **options)
            return type(alone)(*(np.zeros((0, *array.shape), array.dtype) for array in alone))
        calls = [function(**{**feeds, **{n: seed[i] for n, seed in seeds.items()}}, **options) for i in range(count)]
        return type(calls[0])(*map(np.stack, zip(*calls, strict=True)))

    def _count(self, seeds: Mapping[str, Array]) -> int:
        counts = {name: len(seed) for name, seed in seeds.items()}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise InputError(
                f"{self._name}: the seeds differ in their number of directions ({shown}); give the same number for each"
            )
        return next(iter(counts.values()))


def _folded(
    function: Callable[..., Any],
    count: int,
    seeds: Mapping[str, Array],
    feeds: Mapping[str, Array],
    shared: Container[str],
    options: Any,
) -> Any:
    """Directions times batch as one batch, for functions that treat every row alone."""
    batch = batch_of(feeds, shared)
    folded = {}
    for name, feed in feeds.items():
        if name in shared:
            folded[name] = feed
            continue
        whole = seeds[name] if name in seeds else np.broadcast_to(feed, (count, *feed.shape))
        folded[name] = whole.reshape(count * batch, *feed.shape[1:])
    results = function(**folded, **options)
    return type(results)(*(array.reshape(count, batch, *array.shape[1:]) for array in results))


def _rank(value: Any) -> int:
    """Rank of anything; -1 for what is no array, which the binder refuses with a reason."""
    try:
        return int(np.ndim(value))
    except ValueError:
        return -1
