"""Large batches in chunks, on one thread and on several: the same numbers, and errors arrive."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pullback
import pytest
from pullback import Bundle
from pullback.backends.onnx import NARROW_ROW_BYTES, OnnxBackend
from pullback.chunks import in_chunks

Array = npt.NDArray[Any]


def twice(feeds: dict[str, Array]) -> list[Array]:
    return [2 * feeds["x"], feeds["x"].sum(1)]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_rows_stay_in_place(rows: int, threads: int) -> None:
    x = np.arange(14.0).reshape(7, 2)
    doubled, total = in_chunks(twice, rows, threads, {"x": x})
    assert np.array_equal(doubled, 2 * x)
    assert np.array_equal(total, x.sum(1))


def test_threads_share_the_chunks() -> None:
    """Two chunks wait for each other, which only two threads can do."""
    barrier = threading.Barrier(2, timeout=60)
    in_chunks(lambda feeds: (barrier.wait(), twice(feeds))[1], 1, 2, {"x": np.ones((2, 2))})


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bad", range(6))
def test_an_error_of_a_chunk_is_the_error_of_the_call(bad: int, threads: int) -> None:
    def run(feeds: dict[str, Array]) -> list[Array]:
        if feeds["x"][0, 0] == bad:
            raise pullback.PullbackError(f"row {bad}")
        return twice(feeds)

    with pytest.raises(pullback.PullbackError, match=f"row {bad}"):
        in_chunks(run, 1, threads, {"x": np.arange(6.0)[:, None]})


@pytest.mark.parametrize("threads", [0, 2, 3])
def test_threads_change_no_bit(net: Bundle, threads: int) -> None:
    several = pullback.load(net.path, threads=threads)
    x = np.random.default_rng(0).normal(size=(5 * net.functions["evaluate"].rows_at_a_time(10**9) + 1, 3))
    for want, got in zip(net(x), several(x), strict=True):
        assert np.array_equal(want, got)
    for want, got in zip(net(x, fetch="dy_dx"), several(x, fetch="dy_dx"), strict=True):
        assert np.array_equal(want, got)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no os.fork: workers are spawned, see test_workers")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(net: Bundle) -> None:
    several = pullback.load(net.path, threads=2)
    x = np.ones((9, 3), np.float32)
    want = several(x, chunk=2)
    child = os.fork()
    if not child:
        os._exit(int(not np.array_equal(several(x, chunk=2).y, want.y)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def backend_of(bundle: Bundle, row_bytes: int, **options: Any) -> OnnxBackend:
    content = {"evaluate": (bundle.path / "evaluate.onnx").read_bytes}
    return OnnxBackend(content, row_bytes={"evaluate": row_bytes}, **options)


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        ({"threads": 3}, 3),
        ({"threads": 1}, 1),
        ({}, 1),
        ({"threads": 3, "providers": [("CPUExecutionProvider", {})]}, 1),
    ],
    ids=["three", "one", "default of a small net", "a provider with options"],
)
def test_how_many_threads_share_rows(net: Bundle, options: dict[str, Any], shared: int) -> None:
    assert backend_of(net, 64, **options).row_threads(net.functions["evaluate"].spec) == shared


@pytest.mark.parametrize(
    ("row_bytes", "batch", "rows"),
    [
        (2**10, 1023, 0),
        (2**10, 1024, 512),
        (2**10, 10**6, 512),
        (2 * NARROW_ROW_BYTES, 2, 0),
        (2 * NARROW_ROW_BYTES, 3, 1),
        (2 * NARROW_ROW_BYTES, 100, 34),
        (2 * NARROW_ROW_BYTES, 10**6, 256),
        (0, 10**6, 0),
    ],
)
def test_chunks_of_three_threads(net: Bundle, row_bytes: int, batch: int, rows: int) -> None:
    """Narrow rows by what fits the cache; wide ones as soon as each thread has one; unknown ones not at all."""
    backend, spec = backend_of(net, row_bytes, threads=3), net.functions["evaluate"].spec
    least = backend.splits_from(spec)
    assert (backend.split(spec, batch) if least and batch >= least else (0, 3)) == (rows, 3)


def test_one_session_where_one_will_do(net: Bundle) -> None:
    """A wide net that only sees batches has no session for single rows, and the other way round."""
    spec = net.functions["evaluate"].spec
    backend = backend_of(net, 2 * NARROW_ROW_BYTES, threads=2)
    outputs = tuple(tensor.name for tensor in spec.outputs)
    whole = backend.prepare(spec, outputs)
    assert not backend._sessions
    x = {"x": np.ones((4, 3), np.float32)}
    chunks = in_chunks(backend.prepare_chunks(spec, outputs), *backend.split(spec, 4), x)
    assert list(backend._sessions) == [("evaluate", 1)]
    for want, got in zip(whole(x), chunks, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert list(backend._sessions) == [("evaluate", 1), ("evaluate", 2)]


def test_one_total_of_all_rows_is_not_shared(mixed: Bundle) -> None:
    backend = OnnxBackend({"evaluate": (mixed.path / "evaluate.onnx").read_bytes}, threads=3, row_bytes={"evaluate": 8})
    spec = mixed.functions["evaluate"].spec
    assert (backend.row_threads(spec), backend.splits_from(spec)) == (1, 0)
