"""Threads and processes: one bundle, the numbers of a single thread, bit by bit."""

from __future__ import annotations

import concurrent.futures
import hashlib
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import Bundle

X = np.random.default_rng(5).normal(size=(64, 3)).astype(np.float32)


def digest(bundle: Bundle, calls: int = 50) -> str:
    """Of the results of many calls at several batch sizes."""
    found = hashlib.sha256()
    for i in range(calls):
        for array in (*bundle(X[: i % 9]), *bundle.vjp(x=X[:4], adj_y=X[i : i + 4, 0])):
            found.update(array.tobytes())
    return found.hexdigest()


def test_threads_share_a_bundle(net: Bundle) -> None:
    fresh = pullback.load(net.path)  # its sessions are made by whoever comes first
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = set(pool.map(digest, [fresh] * 32))
    assert found == {digest(net)}


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("threads", [1, 2])
def test_processes(net: Bundle, method: str, threads: int) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    bundle = pullback.load(net.path, threads=threads)
    expected = digest(bundle)  # used before the fork: the child has to begin again
    context: Any = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert set(pool.map(digest, [bundle] * 4)) == {expected}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_without_pickling(folder: Path) -> None:
    """The child has the very object, and the files may be gone by then."""
    bundle = pullback.load(folder, threads=2)
    expected = digest(bundle)
    for path in folder.iterdir():
        path.unlink()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, digest(bundle).encode())
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 100).decode() == expected
    os.close(reader)
    os.close(writer)
    assert digest(bundle) == expected


def test_memory_does_not_grow(net: Bundle) -> None:
    resident = _resident()
    for i in range(20_000):
        net(X[: i % 17])
        if i % 10 == 0:
            net(X, fetch=("y",))
    assert _resident() - resident < 16 * 2**20


def _resident() -> int:
    """Bytes of resident memory, or 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0
