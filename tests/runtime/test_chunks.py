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
from pullback.backends.onnx import OnnxBackend
from pullback.backends.sessions import ONE_THREAD_BYTES
from pullback.calls.chunks import in_chunks
from pullback.calls.rows import LEAST_CHUNK, NARROW_ROW_BYTES, Choice, RowPlan, fewest_rows
from pullback.storage import content, opening
from pullback.storage.opening import GraphFile

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


def graph_of(bundle: Bundle, row_bytes: int) -> dict[str, GraphFile]:
    path = bundle.path / "evaluate.onnx"
    return {"evaluate": GraphFile(path.stat().st_size, path.read_bytes, row_bytes)}


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
    backend = OnnxBackend(graph_of(net, 64), **options)
    assert backend.plan(net.functions["evaluate"].spec) == RowPlan(64, shared)


@pytest.mark.parametrize(
    ("row_bytes", "batch", "rows"),
    [
        (2**10, 1023, 1023),
        (2**10, 1024, 512),
        (2**10, 10**6, 512),
        (2 * NARROW_ROW_BYTES, 2, 2),
        (2 * NARROW_ROW_BYTES, 3, 1),
        (2 * NARROW_ROW_BYTES, 100, 34),
        (2 * NARROW_ROW_BYTES, 10**6, 256),
        (0, 10**6, 10**6),
        (0, 0, 1),
    ],
)
def test_chunks_of_three_threads(row_bytes: int, batch: int, rows: int) -> None:
    """Narrow rows by what fits the cache; wide ones as soon as each thread has one; unknown ones not at all."""
    assert RowPlan(row_bytes, 3).rows(batch) == rows


@pytest.mark.parametrize(
    ("row_bytes", "weights", "threads", "batch", "rows"),
    [
        (2**19, 10 * 2**19, 1, 1, 1),
        (2**19, 10 * 2**19, 1, 2, 1),
        (2**16, 2**16, 1, 8, 8),
        (2**16, 2**16, 1, 9, 5),
        (2**16, 2**16, 1, 100, 8),
        (2**22, 25 * 2**22, 1, 8, 2),
        (2**22, 45 * 2**22, 1, 8, 3),
        (2**22, 45 * 2**22, 2, 4, 2),
        (NARROW_ROW_BYTES, 2**20, 1, 500, 500),
        (NARROW_ROW_BYTES + 1, 2**20, 1, 500, 30),
    ],
)
def test_chunks_of_rows_that_share_weights(row_bytes: int, weights: int, threads: int, batch: int, rows: int) -> None:
    """What fits the cache, even a row alone, unless the weights are much larger; shared evenly."""
    plan = RowPlan(row_bytes, threads, fewest_rows(row_bytes, weights, True))
    assert plan.rows(batch) == rows


def test_rows_that_use_weights_once_stay_together() -> None:
    assert [fewest_rows(widest, 2**30, False) for widest in (0, 2**10, 2**22)] == [LEAST_CHUNK] * 3
    assert fewest_rows(0, 2**30, True) == LEAST_CHUNK


def test_a_choice_without_a_plan_is_never_split() -> None:
    """What the caller requests is done, side by side or not."""
    sizes = list[int]()

    def run(feeds: dict[str, Array]) -> list[Array]:
        sizes.append(len(feeds["x"]))
        return twice(feeds)

    choice = Choice(run)
    for chunk in (None, 0, 3):
        doubled, _ = choice.in_chunks({"x": np.ones((7, 2))}, chunk)
        assert np.array_equal(doubled, np.full((7, 2), 2.0))
    assert (choice.least, choice.rows(10**6), sizes) == (0, 10**6, [7, 7, 3, 3, 1])


def test_one_session_where_one_will_do(net: Bundle) -> None:
    """A wide net that only sees batches has no session for single rows, and the other way round."""
    spec = net.functions["evaluate"].spec
    backend = OnnxBackend(graph_of(net, 2 * NARROW_ROW_BYTES), threads=2)
    choice = backend.prepare(spec, tuple(tensor.name for tensor in spec.outputs))
    assert not backend._sessions
    x = {"x": np.ones((4, 3), np.float32)}
    chunks = choice.in_chunks(x)
    assert list(backend._sessions) == [("evaluate", 1)]
    for want, got in zip(choice.run(x), chunks, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    assert list(backend._sessions) == [("evaluate", 1), ("evaluate", 2)]


def test_one_total_of_all_rows_is_not_shared(mixed: Bundle) -> None:
    backend = OnnxBackend(graph_of(mixed, 8), threads=3)
    assert backend.plan(mixed.functions["evaluate"].spec) == RowPlan(0, 1)


def test_a_plan_takes_no_look_at_the_graph(net: Bundle) -> None:
    """The bytes of a large graph are kept for one session: if a plan read them, the session would read them again."""

    def read() -> bytes:
        raise AssertionError("read")

    for size, threads in ((ONE_THREAD_BYTES, 1), (ONE_THREAD_BYTES + 1, 2)):
        backend = OnnxBackend({"evaluate": GraphFile(size, read, 64)})
        backend._cores = lambda: 2  # type: ignore[method-assign]
        assert backend.plan(net.functions["evaluate"].spec) == RowPlan(64, threads)


def test_a_large_graph_is_read_once(net: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``load``; the first call opens its session from what was kept, the next session reads the file again."""
    monkeypatch.setattr(opening, "_KEPT_BYTES", 0)
    reads = list[str]()
    read = content.read
    monkeypatch.setattr(content, "read", lambda place, file: (reads.append(file.path), read(place, file))[1])
    bundle = pullback.load(net.path, threads=2)
    assert sorted(reads) == ["evaluate.onnx", "hvp.onnx", "jvp.onnx", "vjp.onnx"]
    x = np.ones((9, 3), np.float32)
    for _ in range(3):
        bundle(x)
        bundle.vjp(x, np.ones(9))
    assert len(reads) == 4
    bundle(x, fetch="y")
    assert reads[4:] == ["evaluate.onnx"]
