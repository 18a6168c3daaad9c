"""Weighted second derivatives of vector outputs: symmetric, and what the dense Hessian gives with the same weights."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import HVP, ExportError, Hessian, WeightedHessian, export

from tests.laws.sources import SOURCES, mlp

REQUESTS = ["jacobian(y, x)", "hessian(y, x)", "vjp(y, x)", "hvp(y, x)", "weighted_hessian(y, x)"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
SLOW = {("recurrent", "float32"), ("recurrent", "float64"), ("table", "float32"), ("kinked", "float32")}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, dtype), marks=[pytest.mark.slow] if (name, dtype) in SLOW else [])
        for name in SOURCES
        for dtype in ("float32", "float64")
    ],
    ids="-".join,
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Any, str]:
    """The bundle, the shape of a sample, the dtype."""
    name, dtype = request.param
    make, shape = SOURCES[name]
    model = make(dtype)
    inputs = None if hasattr(model, "layers") else [tf.TensorSpec([None, *shape], dtype, name="x")]
    folder = tmp_path_factory.mktemp(name) / "it.pullback"
    export(model, folder, REQUESTS, inputs=inputs)
    return folder, shape, dtype


def close(actual: Any, expected: Any, tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) <= tolerance * max(np.abs(expected).max(initial=0), 1e-3)


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_weighted_is_the_weighted_sum_of_the_dense(exported: Any, backend: str, rows: int) -> None:
    folder, shape, dtype = exported
    bundle = pullback.load(folder, backend=backend)
    rng = np.random.default_rng(rows)
    x, tangent = (rng.normal(size=(rows, *shape)).astype(dtype) for _ in range(2))
    dense = bundle(x)
    weights = rng.normal(size=dense.y.shape).astype(dtype)
    size = int(np.prod(shape))
    flat = dense.d2y_dx2.reshape(rows, int(np.prod(dense.y.shape[1:])), size, size)
    expected = np.einsum("bi,bijk->bjk", weights.reshape(rows, flat.shape[1]), flat)
    (weighted,) = bundle.weighted_hessian(x=x, adj_y=weights)
    assert weighted.shape == (rows, *shape, *shape)
    square = weighted.reshape(rows, size, size)
    close(square, expected, TOLERANCE[dtype])
    close(square, square.transpose(0, 2, 1), TOLERANCE[dtype])
    (product,) = bundle.hvp(x=x, adj_y=weights, fwd_x=tangent)
    along = np.einsum("bij,bj->bi", square, tangent.reshape(rows, size)).reshape(x.shape)
    close(product, along, 10 * TOLERANCE[dtype])


def test_it_is_the_derivative_of_the_vjp(exported: Any) -> None:
    """<w, H> against central differences of the vjp, in float64."""
    folder, shape, dtype = exported
    if dtype != "float64":
        return
    bundle, rng, step = pullback.load(folder), np.random.default_rng(3), 1e-6
    x = rng.normal(size=(4, *shape))
    weights, tangent = rng.normal(size=bundle(x).y.shape), rng.normal(size=x.shape)
    (product,) = bundle.hvp(x=x, adj_y=weights, fwd_x=tangent)
    ahead, behind = (bundle.vjp(x=x + sign * step * tangent, adj_y=weights).adj_x for sign in (1, -1))
    close(product, (ahead - behind) / (2 * step), 1e-7)


def test_many_weights_in_one_call(exported: Any) -> None:
    """Seeds with a leading axis of directions."""
    folder, shape, dtype = exported
    bundle, rng = pullback.load(folder), np.random.default_rng(4)
    x = rng.normal(size=(2, *shape)).astype(dtype)
    weights = rng.normal(size=(3, *bundle(x).y.shape)).astype(dtype)
    tangents = rng.normal(size=(3, *x.shape)).astype(dtype)
    (hessians,) = bundle.weighted_hessian(x=x, adj_y=weights)
    (products,) = bundle.hvp(x=x, adj_y=weights, fwd_x=tangents)
    for k in range(3):
        close(hessians[k], bundle.weighted_hessian(x=x, adj_y=weights[k])[0], TOLERANCE[dtype])
        close(products[k], bundle.hvp(x=x, adj_y=weights[k], fwd_x=tangents[k])[0], TOLERANCE[dtype])


def two(x: Any, t: Any) -> dict[str, Any]:
    """``x (3,)`` and ``t (2,)`` to ``y (2,)``, whole tensors."""
    return {"y": tf.stack([tf.reduce_sum(x**3) * t[0], tf.sin(x[0] * t[1]) + x[1] * x[2] * t[0]])}


def test_whole_tensors_mixed_inputs_and_selections(tmp_path: pathlib.Path) -> None:
    inputs = [tf.TensorSpec([3], tf.float64, name="x"), tf.TensorSpec([2], tf.float64, name="t")]
    requests = [
        *("hessian(y, x)", "hessian(y, x, t)", "hvp(y, x)", "hvp(y[0], t)", "hvp(y[0:2], t)"),
        *("weighted_hessian(y, x)", "weighted_hessian(y, x, t)", "weighted_hessian(y, x[1:3], t[0])"),
        *("weighted_hessian(y[1], x)", WeightedHessian("sum(y)", "x", scale=-1.0, mode="forward", chunk=2)),
    ]
    bundle = export(two, tmp_path / "it.pullback", requests, inputs=inputs, batched=False, unconnected="zero")
    rng = np.random.default_rng(5)
    x, t, weights = rng.normal(size=3), rng.normal(size=2), rng.normal(size=2)
    dense = bundle(x, t)
    found = bundle.weighted_hessian(x=x, t=t, adj_y=weights, adj_y_1=np.array(2.0), adj_sum_y=np.array(3.0))
    close(found.hess_y_x, np.einsum("i,ijk->jk", weights, dense.d2y_dx2), 1e-12)
    close(found.hess_y_x_t, np.einsum("i,ijk->jk", weights, dense.d2y_dx_dt), 1e-12)
    close(found.hess_y_x_1_3_t_0, np.einsum("i,ij->j", weights, dense.d2y_dx_dt[:, 1:3, 0]), 1e-12)
    close(found.hess_y_1_x, 2 * dense.d2y_dx2[1], 1e-12)
    close(found.hess_sum_y_x, -3 * dense.d2y_dx2.sum(0), 1e-12)
    way = rng.normal(size=3)
    products = bundle.hvp(x=x, t=t, adj_y=weights, fwd_x=way, fwd_t=t, adj_y_0_2=weights)
    close(products.fwd_adj_x, np.einsum("i,ijk,k->j", weights, dense.d2y_dx2, way), 1e-12)
    assert products.hvp_y_0_t.shape == products.fwd_adj_t.shape == (2,)


def test_adjoints_of_several_outputs_add_up(tmp_path: pathlib.Path) -> None:
    def function(x: Any) -> dict[str, Any]:
        return {"y": tf.sin(x) * x[:, ::-1], "z": x**3}

    inputs = [tf.TensorSpec([None, 2], tf.float64, name="x")]
    requests = ["hvp(y, x)", HVP("z", "x", scale=2.0), "hessian(y, x)", "hessian(z, x)"]
    bundle = export(function, tmp_path / "it.pullback", requests, inputs=inputs, formats="onnx")
    x, v, w, way = np.random.default_rng(6).normal(size=(4, 3, 2))
    dense = bundle(x)
    expected = np.einsum("bi,bijk,bk->bj", v, dense.d2y_dx2, way) + 2 * np.einsum(
        "bi,bijk,bk->bj", w, dense.d2z_dx2, way
    )
    close(bundle.hvp(x=x, adj_y=v, adj_z=w, fwd_x=way).fwd_adj_x, expected, 1e-12)


def test_an_inner_layer_stands_where_an_output_or_an_input_does(tmp_path: pathlib.Path) -> None:
    requests = [
        "weighted_hessian(hidden, x)",
        "weighted_hessian(y, hidden)",
        "hessian(hidden, x)",
        "hessian(y, hidden)",
    ]
    bundle = export(mlp("float64"), tmp_path / "it.pullback", requests)
    rng = np.random.default_rng(7)
    x, v, w = rng.normal(size=(2, 3)), rng.normal(size=(2, 5)), rng.normal(size=(2, 2))
    dense, found = bundle(x), bundle.weighted_hessian(x=x, adj_hidden=v, adj_y=w)
    close(found.hess_hidden_x, np.einsum("bi,bijk->bjk", v, dense.d2hidden_dx2), 1e-12)
    close(found.hess_y_hidden, np.einsum("bi,bijk->bjk", w, dense.d2y_dhidden2), 1e-12)


def test_the_dense_hessian_is_never_there(tmp_path: pathlib.Path) -> None:
    """Of 40 outputs and 6 inputs, no value of the graph has a row as large as (40, 6, 6)."""
    import onnx

    mix = np.random.default_rng(8).normal(size=(6, 40))
    inputs = [tf.TensorSpec([None, 6], tf.float64, name="x")]
    folder = tmp_path / "it.pullback"
    export(lambda x: {"y": tf.tanh(x @ mix)}, folder, ["weighted_hessian(y, x)"], inputs=inputs, formats="onnx")
    graph = onnx.load(folder / "weighted_hessian.onnx").graph
    sizes = [
        np.prod([dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")])
        for value in graph.value_info
    ]
    assert max(sizes) <= 40 * 6


def test_the_two_ways_to_write_it_are_one() -> None:
    assert Hessian("y", "x", weighted=True) == WeightedHessian("y", "x")
    assert str(Hessian("y", "x", "t", weighted=True)) == "weighted_hessian(y, x, t)"
    assert Hessian("y", "x", weighted=False) == Hessian("y", "x") != WeightedHessian("y", "x")


@pytest.mark.parametrize(
    ("requests", "remedy"),
    [
        (["hvp(y, x[0])"], "whole input"),
        (["weighted_hessian(y, x, x, x)"], "1 or 2"),
        (["weighted_hessian(y, x)", "weighted_hessian(y, x)"], "requested twice"),
        (["hvp(y, x)", "hvp(y, x)"], "requested twice"),
        (["vjp(y, x)", "vjp(y, x)"], "requested twice"),
        (["vjp(y[1], x)", "vjp(y[:1], x)"], "adj_y_1.*different shape"),
        (["vjp(y, hidden)", "vjp(hidden, x)"], "adj_hidden.*name="),
    ],
    ids=str,
)
def test_wrong_requests_say_what_to_write(requests: list[str], remedy: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=remedy):
        export(mlp("float32"), tmp_path / "it.pullback", requests, formats="onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_input_may_not_have_the_name_of_a_seed(tmp_path: pathlib.Path) -> None:
    inputs = [tf.TensorSpec([None, 2], tf.float64, name="x"), tf.TensorSpec([None, 2], tf.float64, name="adj_y")]
    with pytest.raises(ExportError, match="rename the input"):
        export(lambda x, adj_y: {"y": x * adj_y}, tmp_path / "it.pullback", ["vjp(y, x)"], inputs=inputs)
