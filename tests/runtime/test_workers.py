"""Threads and processes: one bundle, the numbers of a single thread, bit by bit."""

from __future__ import annotations

import concurrent.futures
import hashlib
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import Bundle

from tests.runtime import load

X = np.random.default_rng(5).normal(size=(64, 3)).astype(np.float32)


def digest(bundle: Bundle, calls: int = 50) -> str:
    """Of the results of many calls at several batch sizes."""
    found = hashlib.sha256()
    for i in range(calls):
        for array in (*bundle(X[: i % 9]), *bundle.vjp(x=X[:4], adj_y=X[i : i + 4, 0])):
            found.update(array.tobytes())
    return found.hexdigest()


def test_threads_share_a_bundle(net: Bundle) -> None:
    fresh = pullback.load(net.path)  # its sessions are made by the first thread that needs them
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
    resident = load.resident()
    for i in range(20_000):
        net(X[: i % 17])
        if i % 10 == 0:
            net(X, fetch=("y",))
    assert load.resident() - resident < 16 * 2**20


@pytest.mark.slow
def test_load_figures(net: Bundle) -> None:
    """``python -m tests.runtime.load``, shortened."""
    for figure in load.measure(net.path, 200, 20_000):
        assert figure.ok, figure


# Bound so that the process can have so many more bytes: what memory pressure looks like from inside.
PRESSURE = """
import resource, sys
import numpy as np
import pullback

def call(rows):
    x = np.zeros((rows, 3), np.float32)
    return bundle(x, chunk=0)

bundle = pullback.load(sys.argv[1])
want = call(7)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
failed = 0
for rows in (8_000_000, 4_000_000, 12_000_000):
    try:
        call(rows)
    except (pullback.PullbackError, MemoryError) as error:
        failed += 1
        print(type(error).__name__, error)
    assert all(np.array_equal(a, b) for a, b in zip(call(7), want))
x = np.zeros((1_000_000, 3), np.float32)
assert np.all(bundle(x).y == want.y[0])  # in chunks, it fits
print("failed", failed)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
def test_memory_pressure(net: Bundle) -> None:
    """Too large a call is an error of ours; the next one, that fits, is right."""
    done = subprocess.run([sys.executable, "-c", PRESSURE, str(net.path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "failed 3", done.stdout
    assert "ONNX Runtime failed" in done.stdout
