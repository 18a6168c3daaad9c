"""Every derivative kind on every architecture and dtype: nested tapes on the live model, and the laws."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import export

from tests.exporter.derivatives.live_models import INPUT_SHAPES, MODELS

REQUESTS = (
    "jacobian(y, x)",
    "gradient(y[1], x)",
    "hessian(y[1], x)",
    "laplacian(y[1], x)",
    "vjp(y, x)",
    "jvp(y, x)",
    "hvp(y[1], x)",
)
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def live_derivatives(model: Any, x: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Value, Jacobian, and gradient and Hessian of component 1, one plain backward pass for each component."""
    x = tf.constant(x)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(x)
            y = model(x)
            parts = tf.unstack(y, axis=1)
        rows = [inner.gradient(part, x) for part in parts]
        flat = tf.unstack(tf.reshape(rows[1], [x.shape[0], -1]), axis=1)
    hessian = tf.stack([outer.gradient(item, x) for item in flat], 1)
    shape = x.shape.as_list()
    return {
        "y": y.numpy(),
        "dy_dx": tf.stack(rows, 1).numpy(),
        "dy_1_dx": rows[1].numpy(),
        "d2y_1_dx2": hessian.numpy().reshape(shape[0], *shape[1:], *shape[1:]),
    }


QUICK = {("mlp", "float32"), ("mlp", "float64"), ("function", "float64")}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, dtype), marks=[] if (name, dtype) in QUICK else [pytest.mark.slow])
        for name in MODELS
        for dtype in ("float32", "float64")
    ],
    ids="-".join,
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    name, dtype = request.param
    model = MODELS[name](dtype)
    folder: pathlib.Path = tmp_path_factory.mktemp(name) / "model.pullback"
    inputs = [tf.TensorSpec([None, *INPUT_SHAPES[name]], dtype, name="x")] if name == "function" else None
    bundle = export(model, folder, REQUESTS, inputs=inputs, tolerance=1e-4 if dtype == "float32" else None)
    x = np.random.default_rng(7).normal(size=(3, *INPUT_SHAPES[name])).astype(dtype)
    return model, bundle, folder, x, TOLERANCE[dtype]


def close(actual: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-3)


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
def test_agrees_with_nested_tapes(exported: Any, backend: str) -> None:
    model, _, folder, x, tolerance = exported
    result = pullback.load(folder, backend=backend)(x)._asdict()
    for name, expected in live_derivatives(model, x).items():
        close(result[name], expected, tolerance)


def test_laws(exported: Any) -> None:
    _, bundle, _, x, tolerance = exported
    rng = np.random.default_rng(8)
    result = bundle(x)
    rows, size = len(x), int(np.prod(x.shape[1:]))
    tangent = rng.normal(size=x.shape).astype(x.dtype)
    adjoint = rng.normal(size=result.y.shape).astype(x.dtype)
    jacobian = result.dy_dx.reshape(rows, -1, size)
    hessian = result.d2y_1_dx2.reshape(rows, size, size)
    pushed = bundle.jvp(x=x, fwd_x=tangent).fwd_y
    pulled = bundle.vjp(x=x, adj_y=adjoint).adj_x
    hvp = bundle.hvp(x=x, fwd_x=tangent).hvp_y_1_x
    flat = tangent.reshape(rows, size)
    close(pushed, np.einsum("bij,bj->bi", jacobian, flat), tolerance)
    close(pulled.reshape(rows, size), np.einsum("bij,bi->bj", jacobian, adjoint), tolerance)
    close((adjoint * pushed).sum(1), (pulled * tangent).reshape(rows, -1).sum(1), 10 * tolerance)
    close(hessian, hessian.transpose(0, 2, 1), tolerance)
    close(hvp.reshape(rows, size), np.einsum("bij,bj->bi", hessian, flat), tolerance)
    close(result.lap_y_1_x, np.trace(hessian, axis1=1, axis2=2), 10 * tolerance)
    close(result.dy_1_dx, result.dy_dx[:, 1], tolerance)


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_every_batch_size(exported: Any, rows: int) -> None:
    _, bundle, _, x, tolerance = exported
    many = np.concatenate([x, x, x])[:rows]
    whole = bundle(many)
    for name, array in whole._asdict().items():
        assert array.shape[0] == rows
        for row in range(rows):
            close(array[row : row + 1], getattr(bundle(many[row : row + 1]), name), 10 * tolerance)
