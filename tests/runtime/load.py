"""Load figures of one bundle on this machine: ``python -m tests.runtime.load [--calls N] [--loop N] [--json]``.

16 threads that share a bundle, 4 forked and 4 spawned processes, workers of multiprocessing, joblib and Dask that get
it pickled, and an hour's worth of calls in one loop: every number that comes back is compared, bit by bit, with a
single thread's.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import gc
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pullback
from pullback import Bundle

NET = Path(__file__).parent / "fixtures" / "net.pullback"
X = np.random.default_rng(5).normal(size=(64, 3)).astype(np.float32)
THREADS, PROCESSES = 16, 4
CYCLE = 27  # calls of digest() repeat their arguments after so many


def digest(bundle: Bundle, calls: int) -> str:
    """SHA-256 of the results of so many calls: three functions, batches of 0 to 8 rows."""
    found = hashlib.sha256()
    for i in range(calls):
        rows = X[: i % 9]
        which = i % 3
        arrays = bundle(rows) if which == 0 else bundle.vjp(x=rows, adj_y=rows[:, 0].copy())
        if which == 2:
            arrays = bundle.hvp(x=rows, fwd_x=rows)
        for array in arrays:
            found.update(array)
    return found.hexdigest()


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line: what ran, how many workers made how many calls in what time, what went wrong or grew."""

    what: str
    workers: int
    calls: int
    seconds: float
    identical: bool
    grown_bytes: int | None = None

    @property
    def ok(self) -> bool:
        """Bit-identical, and no growth beyond 16 MiB."""
        return self.identical and (self.grown_bytes or 0) < 16 * 2**20

    def __str__(self) -> str:
        rate = f"{self.calls / self.seconds:12,.0f}"
        grown = "" if self.grown_bytes is None else f"{self.grown_bytes / 2**20:+.1f} MiB"
        bits = "identical" if self.identical else "DIFFERENT"
        return f"{self.what:34} {self.workers:7} {self.calls:12,} {rate} {bits:>10} {grown:>10}".rstrip()


HEAD = f"{'what':34} {'workers':>7} {'calls':>12} {'calls per s':>12} {'bits':>10} {'memory':>10}"


def timed(what: str, workers: int, calls: int, expected: str, run: Callable[[], Any]) -> Figure:
    """A figure of ``run``, which gives the digest of each worker."""
    start = time.perf_counter()
    found = list(run())
    seconds = time.perf_counter() - start
    identical = len(found) == workers and set(found) == {expected}
    return Figure(what, workers, calls * workers, seconds, identical)


def threads(bundle: Bundle, calls: int, expected: str) -> Figure:
    """Threads that share the bundle and begin at once, so that they also make its sessions at once."""
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        fresh = pullback.load(bundle.path)
        job = functools.partial(digest, calls=calls)
        return timed("threads, one bundle", THREADS, calls, expected, lambda: pool.map(job, [fresh] * THREADS))


def processes(bundle: Bundle, calls: int, expected: str, method: str) -> Figure:
    """Processes that get the bundle pickled (path and digest), or that were forked with its sessions open."""
    context: Any = multiprocessing.get_context(method)
    with context.Pool(PROCESSES) as pool:
        job = functools.partial(digest, calls=calls)
        run = functools.partial(pool.map, job, [bundle] * PROCESSES, 1)
        return timed(f"processes, {method}, pickled", PROCESSES, calls, expected, run)


def forked(bundle: Bundle, calls: int, expected: str) -> Figure:
    """Children that have the very object of the parent, without pickling."""

    def run() -> list[str]:
        pipes = [os.pipe() for _ in range(PROCESSES)]
        children = []
        for _, writer in pipes:
            if (child := os.fork()) == 0:
                try:
                    os.write(writer, digest(bundle, calls).encode())
                finally:
                    os._exit(0)
            children.append(child)
        found = [os.read(reader, 64).decode() for reader, _ in pipes]
        for child in children:
            os.waitpid(child, 0)
        for pair in pipes:
            for end in pair:
                os.close(end)
        return found

    return timed("processes, fork, inherited", PROCESSES, calls, expected, run)


def joblib_workers(bundle: Bundle, calls: int, expected: str) -> Figure | None:
    """joblib's loky workers; None where joblib is not installed."""
    try:
        import joblib
    except ImportError:
        return None
    jobs = [joblib.delayed(digest)(bundle, calls) for _ in range(PROCESSES)]
    return timed("joblib workers (loky)", PROCESSES, calls, expected, lambda: joblib.Parallel(PROCESSES)(jobs))


def dask_workers(bundle: Bundle, calls: int, expected: str) -> Figure | None:
    """Workers of a Dask cluster on loopback; None where distributed is not installed."""
    try:
        import distributed
    except ImportError:
        return None
    options: dict[str, Any] = {"n_workers": PROCESSES, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(host="127.0.0.1", **options) as cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(PROCESSES)

        def run() -> Any:
            return client.gather([client.submit(digest, bundle, calls, pure=False) for _ in range(PROCESSES)])

        return timed("Dask workers", PROCESSES, calls, expected, run)


def long_loop(bundle: Bundle, calls: int) -> Figure:
    """So many calls, one after the other; the growth is that of resident memory after the first tenth."""
    expected, identical, start = digest(bundle, CYCLE), True, time.perf_counter()
    settled = resident()
    for done in range(0, calls, CYCLE):
        identical &= digest(bundle, CYCLE) == expected
        if done < calls / 10:
            settled = resident()
    gc.collect()
    return Figure("long loop, one thread", 1, calls, time.perf_counter() - start, identical, resident() - settled)


def resident() -> int:
    """Bytes of resident memory, or 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def measure(path: Path, calls: int, loop: int) -> list[Figure]:
    """Every figure; ``calls`` for each worker, ``loop`` for the long loop."""
    bundle = pullback.load(path)
    expected = digest(bundle, calls)
    found = [threads(bundle, calls, expected)]
    if "fork" in multiprocessing.get_all_start_methods():
        found += [forked(bundle, calls, expected), processes(bundle, calls, expected, "fork")]
    found.append(processes(bundle, calls, expected, "spawn"))
    others = (joblib_workers(bundle, calls, expected), dask_workers(bundle, calls, expected))
    return [*found, *(figure for figure in others if figure is not None), long_loop(bundle, loop)]


def main() -> int:
    """Print the figures; 1 when a number differs or memory grows."""
    parser = argparse.ArgumentParser("python -m tests.runtime.load", description="Load figures of a bundle.")
    parser.add_argument("--calls", type=int, default=10_000, help="for each thread and process (default 10,000)")
    parser.add_argument("--loop", type=int, default=3_600_000, help="calls of the long loop (default: 1000/s, an hour)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    found = measure(NET, options.calls, options.loop)
    if options.json:
        print(json.dumps([dataclasses.asdict(figure) for figure in found], indent=2))
    else:
        print("\n".join([HEAD, *map(str, found)]))
    return 0 if all(figure.ok for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
