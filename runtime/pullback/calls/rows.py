"""Which rows of a batch are computed together, and by how many threads: decided once for each choice of results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from pullback.backends import Array, Run
from pullback.calls.chunks import batch_of, in_chunks

# A chunk's widest value should have about this size, to stay in the cache, and a chunk at least so many rows: each
# weight is read once for all of them.
CHUNK_BYTES = 2**19
LEAST_CHUNK = 256

# Where a row alone uses each weight many times, the weights may be so many times the widest value of a chunk instead.
# python -m tests.benchmarks.wide_rows compares chunks.
WEIGHTS_OVER_WIDEST = 20

# With rows no wider than this, operators of a small net are too small to be shared among threads.
NARROW_ROW_BYTES = 2**14


@dataclasses.dataclass(frozen=True)
class RowPlan:
    """How batches are split: ``widest`` bytes of a row of the widest intermediate value, ``threads`` that share rows.

    ``widest`` is 0 where it is unknown or where rows depend on each other: then nothing is split unasked. ``fewest``:
    rows of the smallest chunk.
    """

    widest: int = 0
    threads: int = 1
    fewest: int = LEAST_CHUNK

    @property
    def narrow(self) -> bool:
        """Whether rows are known to be narrow."""
        return 0 < self.widest <= NARROW_ROW_BYTES

    @property
    def least(self) -> int:
        """The smallest batch that is computed in chunks when the caller does not say how large they are; 0: none is.

        Twice the rows that fit the cache, or one more where a few rows are worth a run; where rows are wide, as many as
        there are threads to share them: ONNX Runtime's own threads share the work of one operator, which pays where
        there are fewer rows than threads.
        """
        if not self.widest:
            return 0
        if self.threads > 1 and not self.narrow:
            return self.threads
        rows = self._rows_in_cache()
        return rows + 1 if self.fewest < LEAST_CHUNK else 2 * rows

    def rows(self, batch: int) -> int:
        """Rows of a chunk of a ``batch``: chunks follow the widest value; those of wide rows, the threads too.

        Without a split, all of them. Few rows are shared evenly.
        """
        if not self.least or batch < self.least:
            return max(batch, 1)
        rows = self._rows_in_cache()
        if self.fewest < LEAST_CHUNK:
            rows = -(-batch // -(-batch // rows))
        return rows if self.narrow else min(rows, -(-batch // self.threads))

    def _rows_in_cache(self) -> int:
        return max(CHUNK_BYTES // self.widest, self.fewest)


def fewest_rows(widest: int, weights: int, shares_weights: bool) -> int:
    """The fewest rows that are worth a run of their own: enough that reading ``weights`` bytes takes no time beside.

    ``shares_weights``: a row alone uses each weight many times, as images and sequences do.
    """
    if not shares_weights or widest <= NARROW_ROW_BYTES:
        return LEAST_CHUNK
    return -(-weights // (WEIGHTS_OVER_WIDEST * widest))


WHOLE_BATCHES = RowPlan()


class Choice:
    """Prepared results of one function: ``run`` computes a whole batch, ``in_chunks`` one by rows.

    ``least`` is the smallest batch for which ``in_chunks`` is the faster way; 0: none is.
    """

    __slots__ = ("_chunk_run", "_plan", "_shared", "least", "run")

    def __init__(
        self,
        run: Run,
        plan: RowPlan = WHOLE_BATCHES,
        chunk_run: Callable[[], Run] | None = None,
        shared: frozenset[str] = frozenset(),
    ) -> None:
        """``chunk_run`` gives what computes a chunk, several of them side by side; None: ``run`` itself.

        ``shared`` are the inputs without a batch axis, which every chunk takes whole.
        """
        self.run = run
        self.least = plan.least
        self._plan = plan
        self._chunk_run = chunk_run
        self._shared = shared

    def rows(self, batch: int) -> int:
        """Of a ``batch`` of rows, how many are computed together when the caller does not say."""
        return self._plan.rows(batch)

    def in_chunks(self, feeds: dict[str, Array], chunk: int | None = None) -> Sequence[Array]:
        """The results for ``feeds``, which have the batch axis first unless they are shared, ``chunk`` rows at a time.

        Args:
            feeds: arrays exactly as the function's specification says.
            chunk: None: as many rows as suit the cache and the threads; 0: all.
        """
        if chunk == 0:
            return self.run(feeds)
        batch = batch_of(feeds, self._shared)
        rows = chunk or self.rows(batch)
        if batch <= rows:
            return self.run(feeds)
        run = self.run if self._chunk_run is None else self._chunk_run()
        return in_chunks(run, rows, self._plan.threads, feeds, self._shared)
