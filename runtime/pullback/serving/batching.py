"""Small requests that wait for the same function are computed together: one call, its rows dealt out again.

No request waits for a batch to fill: while a call runs, requests queue up; when it ends, all that fit go at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.calls.chunks import batch_of
from pullback.errors import PullbackError
from pullback.function import Function

Results = dict[str, Array]
Key = tuple[Any, ...]


class Overloaded(Exception):
    """Too many requests wait already."""


@dataclasses.dataclass(eq=False)
class _Waiting:
    feeds: dict[str, Array]
    outputs: tuple[str, ...]
    rows: int
    key: Key
    answer: asyncio.Future[Results]


class Batcher:
    """One function's queue; ``compute`` runs something in a thread, ``seen`` is told the rows of each call.

    ``rows`` is the largest batch that is put together; a request of more rows, and a function whose rows may not be
    computed apart, is computed by itself. At most ``queue`` requests wait.
    """

    def __init__(
        self, function: Function, rows: int, queue: int, compute: Callable[..., Any], seen: Callable[[int], None]
    ) -> None:
        self._function = function
        self._rows = rows if function.spec.divisible else 0
        self._shared = function.spec.shared_inputs
        self._queue = queue
        self._compute = compute
        self._seen = seen
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def results(self, feeds: dict[str, Array], outputs: tuple[str, ...]) -> Results:
        """The function's ``outputs`` for ``feeds``; raises what a call raises, and ``Overloaded``."""
        if len(self._waiting) >= self._queue:
            raise Overloaded(f"{len(self._waiting)} requests wait for {self._function.spec.name}")
        rows = batch_of(feeds, self._shared) if self._rows else 1
        item = _Waiting(feeds, outputs, rows, self._key(feeds, outputs), asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        try:
            return await item.answer
        finally:
            if item in self._waiting:  # its client has gone: nothing is computed for it
                self._waiting.remove(item)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._next())
        finally:
            self._running = None

    def _next(self) -> list[_Waiting]:
        """The first that waits, and those behind it that can be computed with it."""
        first = self._waiting[0]
        chosen, rows = [first], first.rows
        for item in self._waiting[1:]:
            if self._rows and rows + item.rows <= self._rows and item.key == first.key:
                chosen.append(item)
                rows += item.rows
        self._waiting = [item for item in self._waiting if item not in chosen]
        return chosen

    async def _answer(self, chosen: list[_Waiting]) -> None:
        try:
            found: Sequence[Results] = await self._compute(self._together, chosen)
        except PullbackError as error:
            if len(chosen) == 1:
                _set(chosen[0], error)
            else:  # one of them is at fault, and its neighbours need not suffer
                for item in chosen:
                    await self._answer([item])
        except Exception as error:
            for item in chosen:
                _set(item, error)
        else:
            for item, results in zip(chosen, found, strict=True):
                if not item.answer.done():
                    item.answer.set_result(results)

    def _together(self, chosen: Sequence[_Waiting]) -> list[Results]:
        """One call for all, in a thread."""
        outputs = chosen[0].outputs
        self._seen(sum(item.rows for item in chosen))
        if len(chosen) == 1:
            return [self._call(chosen[0].feeds, outputs)]
        feeds = {
            name: array if name in self._shared else np.concatenate([item.feeds[name] for item in chosen])
            for name, array in chosen[0].feeds.items()
        }
        results = self._call(feeds, outputs)
        ends = np.cumsum([item.rows for item in chosen])[:-1]
        parts = {name: np.split(array, ends) for name, array in results.items()}
        return [{name: parts[name][number] for name in outputs} for number in range(len(chosen))]

    def _key(self, feeds: dict[str, Array], outputs: tuple[str, ...]) -> Key:
        """Equal for what one call can compute: outputs, sizes besides the rows, and values of what all rows share."""
        if not self._rows:
            return ()
        shared = [(feeds[name].shape, feeds[name].tobytes()) for name in feeds if name in self._shared]
        return (outputs, *(array.shape[1:] for array in feeds.values()), tuple(feeds), *shared)

    def _call(self, feeds: dict[str, Any], outputs: tuple[str, ...]) -> Results:
        results: Results = self._function(**feeds, fetch=outputs)._asdict()
        return results


def _set(item: _Waiting, error: Exception) -> None:
    if not item.answer.done():
        item.answer.set_exception(error)
