"""Functions on points, the three ways of ``docs/howto/points.md``: any number of functions and points, and messages."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, export

from tests.rotation import chosen

S = tf.TensorSpec
RNG = np.random.default_rng(5)
BRANCH, TRUNK = RNG.normal(size=(3, 4)) / 2, RNG.normal(size=(2, 4))


def value(u: Any, x: Any, product: str) -> Any:
    of_u = tf.tanh(tf.tensordot(u, tf.constant(BRANCH, u.dtype), 1))
    of_x = tf.sin(tf.tensordot(x, tf.constant(TRUNK, x.dtype), 1))
    return tf.einsum(product, of_u, of_x)


def exact(u: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Of every function and point in closed form: ``y``, its slopes ``(B, N, 2)`` and Laplacian ``(B, N)``."""
    of_u, angle = np.tanh(u @ BRANCH), x @ TRUNK
    return {
        "y": np.einsum("bk,nk->bn", of_u, np.sin(angle)),
        "slopes": np.einsum("bk,nk,ik->bni", of_u, np.cos(angle), TRUNK),
        "laplacian": -np.einsum("bk,nk,ik->bn", of_u, np.sin(angle), TRUNK**2),
        "by_u": np.einsum("bk,nk,mk->bnm", 1 - of_u**2, np.sin(angle), BRANCH),
    }


def bundles(folder: pathlib.Path, dtype: Any) -> dict[str, pullback.Bundle]:
    """A grid whose points all functions share, one where each has its own, pairs as rows, and one function's points."""
    u, x = S([None, 3], dtype, "u"), S([None, 2], dtype, "x")
    every = ["gradient(y, x)", "hessian(y, x)", "laplacian(y, x)", "gradient(y, u)"]

    def written(name: str, product: str, requests: list[str], inputs: list[Any], **options: Any) -> pullback.Bundle:
        def call(u: Any, x: Any) -> dict[str, Any]:
            return {"y": value(u, x, product)}

        return export(call, folder / name, requests, inputs=inputs, formats="onnx", **options)

    return {
        "grid": written("grid", "bk,nk->bn", ["gradient(sum(y), x)"], [u, x], batched=["u"]),
        "own points": written("own", "bk,bnk->bn", ["gradient(sum(y), x)"], [u, S([None, None, 2], dtype, "x")]),
        "pairs": written("pairs", "bk,bk->b", every, [u, x]),
        "one function": written("one", "k,bk->b", every, [S([3], dtype, "u"), x], batched=["x"]),
    }


def test_derivatives_are_those_of_each_function_and_point(tmp_path: pathlib.Path) -> None:
    dtype = (tf.float64, tf.float32)[chosen("functions on points", 2)]
    limit = {"rtol": 1e-9, "atol": 1e-10} if dtype == tf.float64 else {"rtol": 2e-4, "atol": 2e-5}
    made = bundles(tmp_path, dtype)
    for functions in (0, 1, 2, 7):
        for points in (0, 1, 2, 7):
            u = RNG.normal(size=(functions, 3)).astype(dtype.as_numpy_dtype)
            x = RNG.normal(size=(points, 2)).astype(dtype.as_numpy_dtype)
            wanted = exact(u.astype(float), x.astype(float))
            grid = made["grid"](u=u, x=x)
            np.testing.assert_allclose(grid.y, wanted["y"], **limit)
            np.testing.assert_allclose(grid.dsum_y_dx, wanted["slopes"], **limit)
            own = made["own points"](u=u, x=np.tile(x, (functions, 1, 1)))
            np.testing.assert_allclose(own.dsum_y_dx, wanted["slopes"], **limit)
            pairs = made["pairs"](u=np.repeat(u, points, axis=0), x=np.tile(x, (functions, 1)))
            of_rows = [("pairs", pairs, wanted)]
            of_rows += [
                ("one function", made["one function"](u=u[k], x=x), exact(u[k : k + 1].astype(float), x.astype(float)))
                for k in range(functions)
            ]
            for name, found, exactly in of_rows:
                shape = exactly["y"].shape
                np.testing.assert_allclose(found.dy_dx.reshape(*shape, 2), exactly["slopes"], err_msg=name, **limit)
                np.testing.assert_allclose(found.dy_du.reshape(*shape, 3), exactly["by_u"], err_msg=name, **limit)
                np.testing.assert_allclose(found.lap_y_x.reshape(shape), exactly["laplacian"], err_msg=name, **limit)
                trace = np.trace(found.d2y_dx2, axis1=1, axis2=2).reshape(shape)
                np.testing.assert_allclose(trace, exactly["laplacian"], err_msg=name, **limit)


U, X = S([None, 3], tf.float32, "u"), S([None, 2], tf.float32, "x")
MESSAGES: dict[str, tuple[str, Any, str]] = {
    "both are taken for one batch": (
        "jacobian(y, x)",
        None,
        r"every row of u meets every row of x.*batch_axes=2, batched=\{'u': 'functions', 'x': 'points'\}",
    ),
    "a gradient of all points": ("gradient(y, x)", ["u"], r"gradient\(sum\(y\), x\) has one gradient .*points"),
    "of whole tensors": ("gradient(y, x)", False, r"gradient\(sum\(y\), x\) has one gradient .*points"),
    "a Laplacian of all points": ("laplacian(y, x)", ["u"], r"export with batch_axes=2 \(docs/howto/points.md\)"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages_name_the_way(case: str, tmp_path: pathlib.Path) -> None:
    request, batched, said = MESSAGES[case]
    with pytest.raises(ExportError, match=said):
        export(
            lambda u, x: {"y": value(u, x, "bk,nk->bn")},
            tmp_path / "it.pullback",
            [request],
            inputs=[U, X],
            batched=batched,
        )
    assert not list(tmp_path.iterdir())


def test_other_messages_do_not_speak_of_points(tmp_path: pathlib.Path) -> None:
    """One input whose rows depend on each other, and a vector of known size."""
    with pytest.raises(ExportError, match="changes with the other samples") as raised:
        export(lambda x: {"y": x - tf.reduce_mean(x, 0)}, tmp_path / "it.pullback", "jacobian(y, x)", inputs=[X])
    assert "points" not in str(raised.value)
    with pytest.raises(ExportError, match="not one scalar per sample") as raised:
        export(lambda x: {"y": 2 * x}, tmp_path / "it.pullback", "gradient(y, x)", inputs=[X])
    assert "points" not in str(raised.value)
