"""The rows of a large batch in chunks that fit the cache, on one thread or on several."""

from __future__ import annotations

import collections
import functools
import os
import threading
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pullback.backends import Array, Run

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


def batch_of(feeds: Mapping[str, Array], shared: Container[str]) -> int:
    """How many rows ``feeds`` have, of which those that are ``shared`` have none."""
    return len(next(array for name, array in feeds.items() if name not in shared))


def in_chunks(
    run: Run, rows: int, threads: int, feeds: Mapping[str, Array], shared: Container[str] = ()
) -> Sequence[Array]:
    """What ``run`` gives for ``feeds``, which have the batch axis first, ``rows`` rows at a time.

    Each chunk takes the feeds that are ``shared`` by all rows whole.
    ``threads`` chunks are computed side by side; each is the same whatever their number is. An error of any chunk is
    raised here.
    """
    chunks = _Chunks(run, rows, feeds, shared)
    others = min(threads, chunks.count) - 1
    futures = [_pool(threads).submit(chunks.work) for _ in range(others)]
    try:
        chunks.work()
    finally:  # what has not started finds nothing to do
        started = [future for future in futures if not future.cancel()]
    for future in started:
        future.result()
    return chunks.results


class _Chunks:
    """Chunks that are still to be computed, and the arrays that take their results."""

    def __init__(self, run: Run, rows: int, feeds: Mapping[str, Array], shared: Container[str]) -> None:
        self._run, self._rows = run, rows
        self._feeds = {name: array for name, array in feeds.items() if name not in shared}
        self._whole = {name: array for name, array in feeds.items() if name in shared}
        self._batch = len(next(iter(self._feeds.values())))
        self._starts = collections.deque(range(0, self._batch, rows))
        self.count = len(self._starts)
        self.results: list[Array] = []
        self._lock = threading.Lock()

    def work(self) -> None:
        """Compute chunks until none is left."""
        while True:
            try:
                start = self._starts.popleft()
            except IndexError:
                return
            rows = slice(start, start + self._rows)
            try:
                part = self._run({name: array[rows] for name, array in self._feeds.items()} | self._whole)
            except BaseException:
                self.drop()
                raise
            self._keep(rows, part)

    def drop(self) -> None:
        """Nothing more is to be computed: one of the chunks failed."""
        self._starts.clear()

    def _keep(self, rows: slice, part: Sequence[Array]) -> None:
        with self._lock:
            if not self.results:
                self.results = [np.empty((self._batch, *array.shape[1:]), array.dtype) for array in part]
        for whole, array in zip(self.results, part, strict=True):
            whole[rows] = array


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """The threads besides the caller's, shared by all bundles of the process; idle ones cost nothing."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads - 1, thread_name_prefix="pullback")


if hasattr(os, "register_at_fork"):
    # The parent's threads do not exist in a child.
    os.register_at_fork(after_in_child=_pool.cache_clear)
