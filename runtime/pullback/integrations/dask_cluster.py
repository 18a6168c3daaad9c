"""Blocks of rows on the workers of a Dask cluster, in order, a bounded number of them at a time.

Needs ``pip install "pullback[dask]"``. The inputs of a block travel with its task and stay with the scheduler until
the block's results are here: the blocks of a worker that dies are computed again by another one.
"""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import MissingDependencyError, PullbackError
from pullback.integrations.dask import evaluate_block, pickled
from pullback.streams.tables import Block

CONNECT_SECONDS = 30.0
WORKER_SECONDS = 60.0  # to wait for a worker, at the start and after all of them were lost
_LOOK_SECONDS = 5.0
_MOST_BLOCKS = 64  # on their way at a time


class Cluster:
    """``function`` of ``bundle`` on the cluster whose scheduler is at ``address``; a context manager.

    Workers must see the bundle at its path; each loads it once. The results are those of the same blocks computed
    here, bit by bit where the workers have this machine's processor and this version of ONNX Runtime.

    Raises:
        PullbackError: no scheduler answers, no worker joins in ``WORKER_SECONDS``, or a block was lost for good.
        MissingDependencyError: ``distributed`` is not installed.
    """

    def __init__(self, address: str, bundle: Bundle, function: str, fetch: tuple[str, ...]) -> None:
        self._address = address
        self._task = (pickled(bundle), function, fetch)
        self._distributed = _distributed()
        try:
            self._client = self._distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except Exception as error:  # OSError, ValueError of an address that is none, TimeoutError ...
            raise PullbackError(f"{address}: no Dask scheduler answers at this address ({_text(error)})") from error
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except Exception as error:
            self._client.close()
            raise self._no_worker() from error

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def __call__(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, dict[str, Array]]]:
        """Each block with its results by name (none for a block without a good row), in the order of ``blocks``."""
        waiting: collections.deque[tuple[Block, Any]] = collections.deque()
        most = min(2 * max(sum(self._client.nthreads().values()), 1), _MOST_BLOCKS)
        for block in blocks:
            waiting.append((block, self._submit(block[0])))
            if len(waiting) >= most:
                yield self._done(*waiting.popleft())
        while waiting:
            yield self._done(*waiting.popleft())

    def _submit(self, inputs: dict[str, Array]) -> Any:
        """The future of a block's results; None where there is no row."""
        if not len(next(iter(inputs.values()))):
            return None
        # Not pure: a key from the content would cost a pass over the data and gain nothing.
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        return self._client.submit(evaluate_block, *self._task, arrays, pure=False)

    def _done(self, block: Block, future: Any) -> tuple[Block, dict[str, Array]]:
        return block, {} if future is None else dict(zip(self._task[2], self._result(future), strict=True))

    def _result(self, future: Any) -> tuple[Array, ...]:
        """The results, however often workers come and go; never waits for workers that are not there."""
        alone = 0.0
        while True:
            try:
                found: tuple[Array, ...] = future.result(timeout=_LOOK_SECONDS)
                return found
            except PullbackError:
                raise
            except self._distributed.KilledWorker as error:
                raise PullbackError(
                    f"{self._address}: several workers died one after the other with the same block of rows; "
                    "give them more memory, or hold fewer rows at a time with --rows"
                ) from error
            except (concurrent.futures.CancelledError, self._distributed.CancelledError) as error:
                raise self._lost(error) from error
            except (TimeoutError, self._distributed.TimeoutError) as error:
                alone = 0.0 if self._workers() else alone + _LOOK_SECONDS
                if alone >= WORKER_SECONDS:
                    raise self._no_worker() from error
            except Exception as error:
                raise PullbackError(f"{self._address}: a block failed on a worker: {_text(error)}") from error

    def _workers(self) -> int:
        if self._client.status != "running":
            raise self._lost(self._client.status)
        try:
            return len(self._client.nthreads())
        except Exception as error:
            raise self._lost(error) from error

    def _no_worker(self) -> PullbackError:
        return PullbackError(f"{self._address}: the scheduler had no worker for {WORKER_SECONDS:g} s; start some")

    def _lost(self, error: object) -> PullbackError:
        return PullbackError(
            f"{self._address}: the connection to the scheduler was lost ({_text(error)}); what was computed is kept, "
            "--resume goes on from there"
        )


def _text(error: object) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise MissingDependencyError('a cluster needs dask: pip install "pullback[dask]"') from error
    return distributed
