"""Dask arrays through a bundle, on threads and on a cluster of processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pullback import Bundle, InputError

from tests.runtime import forge

da = pytest.importorskip("dask.array", reason="the extra dask is not installed")

from pullback.integrations.dask import map_blocks  # noqa: E402

X = np.random.default_rng(6).normal(size=(100, 3)).astype(np.float32)


def test_threads(net: Bundle) -> None:
    lazy = map_blocks(net, da.from_array(X, chunks=(30, 2)))
    assert lazy.y.chunks == ((30, 30, 30, 10),)
    assert lazy.dy_dx.shape == (100, 3)
    assert lazy.dy_dx.dtype == np.float32
    np.testing.assert_allclose(lazy.y.compute(), net(X).y, atol=1e-6)
    np.testing.assert_allclose(lazy.dy_dx.compute(), net(X).dy_dx, atol=1e-6)


def test_seeds_and_fetch(net: Bundle) -> None:
    v = np.ones(100, np.float32)
    lazy = map_blocks(net, function="vjp", x=da.from_array(X, chunks=(50, 3)), adj_y=da.from_array(v, chunks=50))
    np.testing.assert_allclose(lazy.adj_x.compute(), net(X).dy_dx, atol=1e-5)
    assert map_blocks(net, da.from_array(X), fetch=("y",))._fields == ("y",)


def test_cluster(net: Bundle) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        lazy = map_blocks(net, da.from_array(X, chunks=(10, 3)))
        np.testing.assert_allclose(lazy.dy_dx.compute(), net(X).dy_dx, atol=1e-6)


BAD: list[tuple[str, Callable[[Bundle], Any], str]] = [
    ("a NumPy array", lambda b: map_blocks(b, X), "must be a dask array"),
    ("too narrow", lambda b: map_blocks(b, da.zeros((5, 2))), "got shape (5, 2)"),
    ("a vector", lambda b: map_blocks(b, da.zeros(5)), "got shape (5,)"),
    ("nothing", lambda b: map_blocks(b), "takes x"),
    ("a wrong name", lambda b: map_blocks(b, z=da.zeros((5, 3))), "takes x"),
    (
        "chunks that differ",
        lambda b: map_blocks(b, da.zeros((4, 3), chunks=2), da.zeros(4, chunks=4), function="vjp"),
        "same chunks",
    ),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_arrays(net: Bundle, call: Callable[[Bundle], Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        call(net)
    assert message in str(caught.value)


def test_no_batch(mixed: Bundle) -> None:
    with pytest.raises(InputError, match="blocks need a batch axis"):
        map_blocks(mixed, da.zeros(5))


def test_options_travel_with_the_bundle(net: Bundle) -> None:
    import pullback

    strict = pullback.load(net.path, check_finite=True)
    lazy = map_blocks(strict, da.from_array(np.full((4, 3), np.nan, np.float32)))
    with pytest.raises(InputError, match="check_finite is on"):
        lazy.y.compute()


def test_another_bundle_on_the_worker(folder: Path, net: Bundle) -> None:
    import pullback

    bundle = pullback.load(folder)
    lazy = map_blocks(bundle, da.from_array(X))
    forge.edit_manifest(folder, forge.setting("name", "another"))
    with pytest.raises(pullback.BundleError, match=r"on worker .*replaced after"):
        lazy.y.compute()
