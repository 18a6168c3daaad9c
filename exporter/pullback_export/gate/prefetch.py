"""Work that a second thread does before its results are requested."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import contextvars
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pullback_export.gate.supervision.limits import abandon

Result = TypeVar("Result")


@contextlib.contextmanager
def prefetched(tasks: Iterable[Callable[[], Result]], most: int) -> Iterator[Iterator[Result]]:
    """The results of ``tasks``, in order and computed one after the other in a thread of their own.

    At most ``most`` results wait to be taken. A task that raises does so there. On leaving, tasks that have not
    begun are dropped, and one that runs is waited for; where an error leaves, it is stopped.
    """
    left = iter(tasks)
    pool = concurrent.futures.ThreadPoolExecutor(1)
    context = contextvars.copy_context()

    def submitted(count: int) -> Iterator[concurrent.futures.Future[Result]]:
        return (pool.submit(context.run, task) for task in itertools.islice(left, count))

    def results() -> Iterator[Result]:
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(submitted(1))

    try:
        waiting = collections.deque(submitted(most))
        yield results()
    except BaseException:
        abandon()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
