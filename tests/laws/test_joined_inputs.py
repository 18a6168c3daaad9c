"""Second-order products of several inputs: their blocks make up the Hessian of the joined inputs."""

from __future__ import annotations

import itertools
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pullback
import pytest
import tensorflow as tf
from pullback import NotExportedError
from pullback_export import HVP, ExportError, export

Array = npt.NDArray[Any]

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
SIZES = {"x": 3, "t": 2}
PAIRS = ("x", "x, t", "t, x", "t")
DENSE = ("hessian({}, x)", "hessian({}, x, t)", "hessian({}, t)")


def model(x: Any, t: Any) -> dict[str, Any]:
    """``x (B, 3)`` and ``t (B, 2)`` to ``y (B, 2)`` and ``e (B,)``; what is mixed is not symmetric in any block."""
    u = tf.tanh(x @ tf.constant(np.arange(1.0, 7.0).reshape(3, 2) / 7, x.dtype))
    y = tf.sin(u * t) + u[:, ::-1] * tf.reduce_sum(t**2, 1, keepdims=True)
    return {"y": y, "e": tf.reduce_sum(y * t, 1)}


def of_dtype(dtype: str) -> list[tf.TensorSpec]:
    return [tf.TensorSpec([None, size], dtype, name=name) for name, size in SIZES.items()]


@pytest.fixture(scope="module", params=TOLERANCE)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[pullback.Bundle, str]:
    requests = [
        *(f"hvp({of}, {pair})" for of in ("y", "e") for pair in PAIRS),
        *(dense.format(of) for of in ("y", "e") for dense in DENSE),
        *("vjp(y, x)", "vjp(y, t)"),
    ]
    folder = tmp_path_factory.mktemp("joined") / "it.pullback"
    return export(model, folder, requests, inputs=of_dtype(request.param)), request.param


def point(rows: int, dtype: str, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(rows, size)).astype(dtype) for name, size in SIZES.items()}


def close(actual: Array, expected: Array, tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) <= tolerance * max(np.abs(expected).max(initial=0), 1e-3)


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_each_block_is_that_of_the_dense_hessian(exported: Any, backend: str, rows: int) -> None:
    bundle, dtype = exported
    loaded = pullback.load(bundle.path, backend)
    at, along = point(rows, dtype, rows), point(rows, dtype, rows + 10)
    weights = np.random.default_rng(rows).normal(size=(rows, 2)).astype(dtype)
    dense = loaded(**at)
    seeds = {f"fwd_{name}": value for name, value in along.items()}
    found = loaded.hvp(**at, **seeds, adj_y=weights)
    mixed = {"xx": dense.d2y_dx2, "xt": dense.d2y_dx_dt, "tx": dense.d2y_dx_dt.swapaxes(2, 3), "tt": dense.d2y_dt2}
    lone = {"xx": dense.d2e_dx2, "xt": dense.d2e_dx_dt, "tx": dense.d2e_dx_dt.swapaxes(1, 2), "tt": dense.d2e_dt2}
    for left, right in itertools.product("xt", "xt"):
        end = left if left == right else f"{left}_{right}"
        want = np.einsum("bi,bijk,bk->bj", weights, mixed[left + right], along[right])
        close(getattr(found, f"fwd_adj_{end}"), want, 10 * TOLERANCE[dtype])
        want = np.einsum("bjk,bk->bj", lone[left + right], along[right])
        close(getattr(found, f"hvp_e_{end}"), want, 10 * TOLERANCE[dtype])


@pytest.mark.parametrize("wrt", [("x", "t"), ("t", "x")])
def test_the_flat_view_joins_them(exported: Any, wrt: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    """Against the dense Hessian, symmetric, for vector and scalar outputs; from products alone."""
    bundle, dtype = exported
    tolerance = 10 * TOLERANCE[dtype]
    rng = np.random.default_rng(1)
    x, p, q = (rng.normal(size=5).astype(dtype).astype(float) for _ in range(3))
    products = [bundle.functions["evaluate"], bundle.functions["hvp"]]
    for of, v in (("y", np.array([0.5, -2.0])), ("y[1]", None), ("sum(y)", None), ("e", None)):
        dense = bundle.flat(of, wrt)
        alone = pullback.Flat({"hvp": products[1], "evaluate": _without(products[0])}, of, wrt)
        hessian = dense.hess(x, v)
        close(hessian, hessian.T, tolerance)
        close(alone.hess(x, v), hessian, tolerance)
        close(alone.hessp(x, p, v), hessian @ p, tolerance)
        left, right = q @ alone.hessp(x, p, v), p @ alone.hessp(x, q, v)
        assert abs(left - right) <= tolerance * np.abs(hessian).max() * 10


def _without(function: Any) -> Any:
    """The same function, whose Hessians nobody may use."""
    import copy
    import dataclasses

    plain = copy.copy(function)
    plain.spec = dataclasses.replace(function.spec, derivatives=())
    return plain


def test_products_are_derivatives_of_the_adjoint(exported: Any) -> None:
    """Along both directions at once, by central differences in float64."""
    bundle, dtype = exported
    if dtype != "float64":
        return
    at, along, step = point(4, dtype, 3), point(4, dtype, 4), 1e-6
    weights = np.random.default_rng(5).normal(size=(4, 2))
    found = bundle.hvp(**at, **{f"fwd_{name}": value for name, value in along.items()}, adj_y=weights)
    moved = [{name: at[name] + sign * step * along[name] for name in at} for sign in (1, -1)]
    ahead, behind = (bundle.vjp(**inputs, adj_y=weights) for inputs in moved)
    close(found.fwd_adj_x + found.fwd_adj_x_t, (ahead.adj_x - behind.adj_x) / (2 * step), 1e-7)
    close(found.fwd_adj_t + found.fwd_adj_t_x, (ahead.adj_t - behind.adj_t) / (2 * step), 1e-7)


def test_one_name_adds_blocks_up(tmp_path: pathlib.Path) -> None:
    """What a caller of one direction of all inputs wants: CasADi's ``fwd_adj_x``; the flat view reads it as well."""
    requests = [HVP("y", *pair.split(", "), name=f"fwd_adj_{pair[0]}") for pair in PAIRS]
    bundle = export(model, tmp_path / "it.pullback", requests, inputs=of_dtype("float64"), formats="onnx")
    assert [tensor.name for tensor in bundle.functions["hvp"].spec.outputs][:2] == ["fwd_adj_x", "fwd_adj_t"]
    f, x, v = bundle.flat("y", ("t", "x")), np.linspace(-1, 1, 5), np.array([1.0, -0.5])
    hessian = f.hess(x, v)
    close(hessian, hessian.T, 1e-12)
    close(f.hessp(x, x[::-1], v), hessian @ x[::-1], 1e-12)
    alone = bundle.flat("y", "x", given={"t": x[:2]})  # the other direction is zero
    close(alone.hess(x[2:], v), hessian[2:, 2:], 1e-12)


def test_blocks_that_are_missing_are_named(tmp_path: pathlib.Path) -> None:
    requests = ["hvp(e, x)", "hvp(e, x, t)", "hvp(e, t)"]
    bundle = export(model, tmp_path / "it.pullback", requests, inputs=of_dtype("float64"), formats="onnx")
    with pytest.raises(NotExportedError, match=r"'hvp\(e, x, t\)', 'hvp\(e, t, x\)'"):
        bundle.flat("e", ("x", "t")).hessp(np.ones(5), np.ones(5))


@pytest.mark.parametrize(
    ("requests", "remedy"),
    [
        (["hvp(y, x, t[0])"], "a tangent belongs to a whole input; write t"),
        (["hvp(y, x, t, x)"], "give 1 or 2 input name"),
        (["hvp(y, x, x)", "hvp(y, x)"], "requested twice"),
        (["hvp(e, x, t)", "hvp(e, x, t)"], "requested twice"),
    ],
    ids=str,
)
def test_wrong_requests_say_what_to_write(requests: list[str], remedy: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=remedy):
        export(model, tmp_path / "it.pullback", requests, inputs=of_dtype("float32"), formats="onnx")
    assert list(tmp_path.iterdir()) == []


def test_free_axes_of_a_direction_are_those_of_its_input(tmp_path: pathlib.Path) -> None:
    """Whole tensors of two sizes, both free: ``fwd_t`` has that of ``t``, not of ``x``."""
    inputs = [tf.TensorSpec([None], tf.float64, name="x"), tf.TensorSpec([None], tf.float64, name="t")]
    bundle = export(
        lambda x, t: {"e": tf.reduce_sum(x**2) * tf.reduce_sum(t**3)},
        tmp_path / "it.pullback",
        [f"hvp(e, {pair})" for pair in PAIRS],
        inputs=inputs,
        batched=False,
        formats="onnx",
    )
    x, t, p = np.array([1.0, 2.0, -1.0]), np.array([0.5, -1.0]), np.array([1.0, 0.25, -2.0, 3.0, 1.0])
    found = bundle.hvp(x=x, t=t, fwd_x=p[:3], fwd_t=p[3:])
    np.testing.assert_allclose(found.hvp_e_x_t, 2 * x * (3 * t**2 @ p[3:]), rtol=1e-12)
    np.testing.assert_allclose(found.hvp_e_t_x, 3 * t**2 * (2 * x @ p[:3]), rtol=1e-12)
    f = bundle.flat("e", ("x", "t"), shape={"x": (3,), "t": (2,)})
    want = np.concatenate([found.hvp_e_x + found.hvp_e_x_t, found.hvp_e_t + found.hvp_e_t_x])
    np.testing.assert_allclose(f.hessp(np.concatenate([x, t]), p), want, rtol=1e-12)
