"""``pullback eval --dask`` with a real cluster on loopback: workers are killed, and the scheduler goes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import cli
from pullback.streams import sinks

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES

distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

from pullback.integrations import dask, dask_cluster  # noqa: E402

NET = str(FIXTURES / "net.pullback")
ROWS = 6000


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes of two threads, each with a nanny that starts it again."""
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(host="127.0.0.1", **options) as cluster:
        yield cluster


@pytest.fixture
def undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The output of a run without a cluster; the input is rows.npy in the current folder."""
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.random.default_rng(8).normal(size=(ROWS, 3)).astype(np.float32))
    assert evaluate("rows.npy", "-o", "local.npz") == 0
    return Path("local.npz").read_bytes()


def evaluate(*arguments: str, bundle: str = NET) -> int:
    return cli.main(["eval", bundle, *arguments, "--rows", "50", "--quiet"])


def on_each_worker(cluster: Any, function: Callable[[], Any]) -> dict[str, Any]:
    with distributed.Client(cluster, set_as_default=False) as client:
        return dict(client.run(function))


def loads() -> int:
    """How many bundles this worker has loaded."""
    return dask._loaded.cache_info().misses


def test_same_file_and_one_load_per_worker(cluster: Any, undisturbed: bytes) -> None:
    before = on_each_worker(cluster, loads)
    assert evaluate("rows.npy", "-o", "out.npz", "--dask", cluster.scheduler_address) == 0
    assert Path("out.npz").read_bytes() == undisturbed
    after = on_each_worker(cluster, loads)
    assert max(after[worker] - before[worker] for worker in after) == 1
    assert not list(Path().glob("*.part"))


def test_killed_workers_lose_nothing(cluster: Any, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both workers are killed, one early and one late; their blocks are computed again."""
    append, blocks, killed = sinks.Store.append, [0], set[int]()

    def killing(store: sinks.Store, *arguments: Any) -> None:
        blocks[0] += 1
        if blocks[0] in (10, 70):
            pid = next(pid for pid in on_each_worker(cluster, os.getpid).values() if pid not in killed)
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        append(store, *arguments)

    monkeypatch.setattr(sinks.Store, "append", killing)
    assert evaluate("rows.npy", "-o", "out.npz", "--dask", cluster.scheduler_address) == 0
    assert len(killed) == 2
    assert blocks[0] == ROWS // 50
    assert Path("out.npz").read_bytes() == undisturbed


@pytest.mark.parametrize("first", ["here", "on the cluster"])
def test_interrupted_and_resumed(cluster: Any, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """A run may begin here and go on there, and the other way round."""
    address = ["--dask", cluster.scheduler_address]
    arguments = ["rows.npy", "-o", "out.npz"]
    append, blocks = sinks.Store.append, [0]

    def interrupted(store: sinks.Store, *arguments: Any) -> None:
        blocks[0] += 1
        if blocks[0] == 30:
            raise KeyboardInterrupt
        append(store, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(sinks.Store, "append", interrupted)
        assert evaluate(*arguments, *(address if first == "on the cluster" else [])) == 1
    assert not Path("out.npz").exists()
    assert evaluate(*arguments, *(address if first == "here" else []), "--resume") == 0
    assert Path("out.npz").read_bytes() == undisturbed


def test_bad_rows_are_those_of_a_local_run(cluster: Any, undisturbed: bytes) -> None:
    lines = ["x[0],x[1],x[2]", *("1,2,3" for _ in range(400))]
    lines[1 + 7] = "1,two,3"
    lines[1 + 100 : 1 + 160] = ["nan,2,3"] * 60  # a whole block and some more
    Path("rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["--skip-bad", "--check-finite"]
    assert evaluate("rows.csv", "-o", "here.csv", *options) == 0
    assert evaluate("rows.csv", "-o", "there.csv", *options, "--dask", cluster.scheduler_address) == 0
    assert Path("there.csv").read_bytes() == Path("here.csv").read_bytes()
    assert Path("there.csv.bad.csv").read_bytes() == Path("here.csv.bad.csv").read_bytes()
    assert len(Path("there.csv.bad.csv").read_text(encoding="utf-8").splitlines()) == 1 + 61


def test_errors_are_one_line(
    cluster: Any, undisturbed: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A worker that sees another bundle; whole arrays; a scheduler that is not there."""
    load = pullback.load

    def replaced(*arguments: Any, **options: Any) -> pullback.Bundle:
        bundle = load(*arguments, **options)
        forge.edit_manifest(folder, forge.setting("name", "another"))
        return bundle

    monkeypatch.setattr("pullback.commands.evaluate.load", replaced)
    address = ["--dask", cluster.scheduler_address]
    assert evaluate("rows.npy", "-o", "out.npz", *address, bundle=str(folder)) == 1
    monkeypatch.undo()
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
    assert evaluate(f"{folder.parent}/rows.npy", "-o", "out.npz", *address, bundle=f"{FIXTURES}/mixed.pullback") == 2
    assert evaluate(f"{folder.parent}/rows.npy", "-o", "out.npz", "--dask", "tcp://127.0.0.1:9") == 1
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("pullback: error: ")]
    assert len(errors) == 3
    for line, text in zip(errors, ("on worker ", "nothing to spread with --dask", "no Dask scheduler answers")):
        assert text in line
    assert not list(folder.parent.glob("out*"))


def test_no_worker_at_all(undisturbed: bytes, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(dask_cluster, "WORKER_SECONDS", 1.0)
    options: dict[str, Any] = {"n_workers": 0, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with distributed.LocalCluster(**options) as cluster:
        assert evaluate("rows.npy", "-o", "out.npz", "--dask", cluster.scheduler_address) == 1
    assert "the scheduler had no worker for 1 s" in capfd.readouterr().err


@pytest.mark.slow
def test_scheduler_lost(undisturbed: bytes, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """The error comes instead of a hang, and what was computed is kept."""
    append, blocks = sinks.Store.append, [0]
    options: dict[str, Any] = {"n_workers": 1, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    cluster = distributed.LocalCluster(**options)

    def closing(store: sinks.Store, *arguments: Any) -> None:
        blocks[0] += 1
        append(store, *arguments)
        if blocks[0] == 20:
            cluster.close()

    with monkeypatch.context() as patch:
        patch.setattr(sinks.Store, "append", closing)
        start = time.monotonic()
        assert evaluate("rows.npy", "-o", "out.npz", "--dask", cluster.scheduler_address) == 1
        assert time.monotonic() - start < 60
    assert "the connection to the scheduler was lost" in capfd.readouterr().err
    assert evaluate("rows.npy", "-o", "out.npz", "--resume") == 0
    assert Path("out.npz").read_bytes() == undisturbed
