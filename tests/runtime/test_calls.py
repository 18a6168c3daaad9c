"""Right answers: every way to pass inputs and to ask for results gives the same numbers."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pullback
import pytest
from pullback import Bundle

Array = npt.NDArray[Any]
X = np.array([[0.25, -1.5, 2.0], [1.0, 0.0, -1.0]], np.float32)


class Sub(np.ndarray[Any, Any]):
    """A subclass of ndarray."""


SAME: list[tuple[str, Callable[[Bundle], Any]]] = [
    ("by name", lambda b: b(x=X)),
    ("lists", lambda b: b(X.tolist())),
    ("tuples", lambda b: b(tuple(map(tuple, X.tolist())))),
    ("float64", lambda b: b(X.astype(np.float64))),
    ("longdouble", lambda b: b(X.astype(np.longdouble))),
    ("other byte order", lambda b: b(X.astype(X.dtype.newbyteorder()))),
    ("Fortran order", lambda b: b(np.asfortranarray(X))),
    ("every second column", lambda b: b(np.repeat(X, 2, axis=1)[:, ::2])),
    ("backwards", lambda b: b(X[::-1].copy()[::-1])),
    ("read only", lambda b: b(np.frombuffer(X.tobytes(), np.float32).reshape(2, 3))),
    ("unaligned", lambda b: b(np.frombuffer(b"." + X.tobytes(), np.float32, offset=1).reshape(2, 3))),
    ("a subclass", lambda b: b(X.view(Sub))),
    ("row by row", lambda b: _stacked(b, [b(X[:1]), b(X[1:])])),
    ("in chunks of one", lambda b: b(X, chunk=1)),
    ("all at once", lambda b: b(X, chunk=0)),
    ("fetch all", lambda b: b(X, fetch=["y", "dy_dx"])),
    ("pickled", lambda b: pickle.loads(pickle.dumps(b))(X)),
    ("prepared", lambda b: b.prepared(2)(X)),
    ("prepared, by name", lambda b: b.prepared(2)(x=X)),
    ("bare file", lambda b: pullback.load(b.path / "evaluate.onnx")(X)),
    ("two threads", lambda b: pullback.load(b.path, threads=2)(X)),
    ("no optimisation", lambda b: pullback.load(b.path, optimization="disabled")(X)),
    ("path as a string", lambda b: pullback.load(str(b.path))(X)),
]


def _stacked(bundle: Bundle, parts: list[Any]) -> Any:
    return type(parts[0])(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@pytest.mark.parametrize("call", [row[1] for row in SAME], ids=[row[0] for row in SAME])
def test_same_numbers(net: Bundle, call: Callable[[Bundle], Any]) -> None:
    expected, actual = net(X), call(net)
    assert actual._fields == expected._fields == ("y", "dy_dx")
    for want, got in zip(expected, actual, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_gradient_is_the_central_difference(net: Bundle) -> None:
    step = 2.0**-6
    for axis in range(3):
        shift = np.zeros(3, np.float32)
        shift[axis] = step
        slope = (net(X + shift).y.astype(float) - net(X - shift).y) / (2 * step)
        np.testing.assert_allclose(net(X).dy_dx[:, axis], slope, atol=2e-3)


@pytest.mark.parametrize("batch", [0, 1, 2, 7, 1000])
def test_any_batch(net: Bundle, batch: int) -> None:
    x = np.random.default_rng(batch).normal(size=(batch, 3)).astype(np.float32)
    y, dy_dx = net(x)
    assert y.shape == (batch,)
    assert dy_dx.shape == (batch, 3)
    assert net.vjp(x, np.ones(batch)).adj_x.shape == (batch, 3)


def test_fetch_runs_less(net: Bundle) -> None:
    assert net(X, fetch="dy_dx")._fields == ("dy_dx",)
    np.testing.assert_array_equal(net(X, fetch=("dy_dx", "y")).y, net(X).y)


def test_products_agree_with_the_gradient(net: Bundle) -> None:
    rng = np.random.default_rng(1)
    v, t = rng.normal(size=2).astype(np.float32), rng.normal(size=(2, 3)).astype(np.float32)
    slope = net(X).dy_dx
    np.testing.assert_allclose(net.vjp(X, v).adj_x, v[:, None] * slope, atol=1e-5)
    np.testing.assert_allclose(net.jvp(X, t).fwd_y, (slope * t).sum(1), atol=1e-5)
    step = 2.0**-7
    twice = (net(X + step * t).dy_dx.astype(float) - net(X - step * t).dy_dx) / (2 * step)
    np.testing.assert_allclose(net.hvp(X, t).hvp_y_x, twice, atol=2e-3)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_directions(net: Bundle, count: int) -> None:
    rng = np.random.default_rng(2)
    seeds = {"vjp": ("adj_y", (2,)), "jvp": ("fwd_x", (2, 3)), "hvp": ("fwd_x", (2, 3))}
    for name, (seed, shape) in seeds.items():
        function: Any = net.functions[name]
        many = rng.normal(size=(count, *shape)).astype(np.float32)
        (together,) = function(x=X, **{seed: many})
        assert together.shape[:2] == (count, 2)
        for i in range(count):
            np.testing.assert_allclose(together[i], function(x=X, **{seed: many[i]})[0], atol=1e-6)


def test_conversions_of_a_mixed_signature(mixed: Bundle) -> None:
    want = mixed(np.float64(2), np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.int32(1), np.bool_(True))
    for got in (
        mixed(2, [1, 2], np.array([3, 4], np.int8), 1, True),
        mixed(gain=np.float16(2), v=(1, 2), w=np.float32([3, 4]), index=np.uint64(1), negate=np.array(True)),
        mixed(2.0, [True, 2], w=[3, 4], index=True, negate=True),
    ):
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(want, got, strict=True))
    assert want.y == -2 * 11 - 1.5


def test_nan_and_infinity_go_through(net: Bundle) -> None:
    x = np.array([[np.nan, 0, 0], [0, 0, 0], [np.inf, 0, 0]], np.float32)
    y, _ = net(x)
    assert np.isnan(y[0])
    assert np.isfinite(y[1])
    assert y[1] == net(x[1:2]).y[0]


def test_results_are_plain_named_tuples(net: Bundle) -> None:
    result = net(X)
    assert isinstance(result, tuple)
    assert type(result) is type(net(X))
    again = pickle.loads(pickle.dumps(result))
    assert type(again) is type(result)
    np.testing.assert_array_equal(again.dy_dx, result.dy_dx)


def test_results_are_ours_to_change(net: Bundle) -> None:
    first = net(X).y.copy()
    net(X).y[:] = 7
    np.testing.assert_array_equal(net(X).y, first)


def test_prepared_reuses_its_buffers(net: Bundle) -> None:
    step = net.prepared(2, fetch=("dy_dx",))
    step.inputs["x"][...] = X
    result = step()
    assert step() is result
    np.testing.assert_allclose(result.dy_dx, net(X).dy_dx, atol=1e-6)
    step.inputs["x"][...] = -X
    np.testing.assert_allclose(step().dy_dx, net(-X).dy_dx, atol=1e-6)


def test_nothing_heavy_is_imported() -> None:
    import subprocess

    code = (
        "import sys, pullback; light = 'onnxruntime' not in sys.modules;"
        "pullback.load(sys.argv[1])([[0, 0, 0]]);"
        "print(light, [m for m in ('tensorflow', 'keras', 'onnx', 'tf2onnx', 'matplotlib') if m in sys.modules])"
    )
    path = str(pullback.load(_net_path()).path)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def _net_path() -> Any:
    from tests.runtime.conftest import FIXTURES

    return FIXTURES / "net.pullback"
