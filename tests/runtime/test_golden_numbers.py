"""Golden bundles against closed forms, written down here once more: not even the golden samples are trusted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest

FOLDER = Path(__file__).parents[1] / "golden"
BRANCH, TRUNK = np.array([[4, -2, 1], [-3, 5, 2]]) / 8, np.array([[8, -4, 6], [2, 7, -5]]) / 8
RNG = np.random.default_rng(9)


def test_field_is_the_field() -> None:
    bundle = pullback.load(FOLDER / "v1" / "field.pullback")
    x = np.random.default_rng(9).normal(size=(50, 3))
    wave, found = np.exp(-(x**2) / 2), bundle(x)
    product = np.stack([x[:, 1] * x[:, 2], x[:, 0] * x[:, 2], x[:, 0] * x[:, 1]], axis=1)
    energy = (np.sin(x) * wave).sum(1) + x.prod(1)
    slope = wave * (np.cos(x) - x * np.sin(x)) + product
    curve = wave * (np.sin(x) * (x**2 - 2) - 2 * x * np.cos(x))
    hessian = np.zeros((50, 3, 3))
    for i in range(3):
        hessian[:, i, i] = curve[:, i]
        for j in {0, 1, 2} - {i}:
            hessian[:, i, j] = x[:, 3 - i - j]
    root, tangent = np.sqrt(1 + (x**2).sum(1)), np.tanh(x[:, 0] * x[:, 1])
    jacobian = np.zeros((50, 2, 3))
    jacobian[:, 0, 0], jacobian[:, 0, 1] = (1 - tangent**2) * x[:, 1], (1 - tangent**2) * x[:, 0]
    jacobian[:, 1] = x / root[:, None]
    want = {
        **{"energy": energy, "flow": np.stack([tangent, root], axis=1), "denergy_dx": slope},
        **{"d2energy_dx2": hessian, "lap_energy_x": curve.sum(1), "dflow_dx": jacobian},
    }
    assert set(found._fields) == set(want)
    for name, values in want.items():
        np.testing.assert_allclose(
            getattr(found, name), values, rtol=0, atol=1e-12 * np.abs(values).max(), err_msg=name
        )
    seed, way = np.random.default_rng(10).normal(size=(50, 2)), np.random.default_rng(11).normal(size=(50, 3))
    np.testing.assert_allclose(bundle.vjp(x, seed)[0], np.einsum("bo,boi->bi", seed, jacobian), rtol=0, atol=1e-11)
    np.testing.assert_allclose(bundle.jvp(x, way)[0], np.einsum("boi,bi->bo", jacobian, way), rtol=0, atol=1e-11)
    np.testing.assert_allclose(bundle.hvp(x, way)[0], np.einsum("bij,bj->bi", hessian, way), rtol=0, atol=1e-11)


def test_bowl_is_the_bowl() -> None:
    bundle = pullback.load(FOLDER / "v1" / "bowl.pullback")
    x = np.linspace(0, 10, 101, dtype=np.float32)[:, None]
    y, dy_dx = bundle(x)
    assert math.isclose(float(np.abs(y - (x - 5) ** 2 / 25).max()), 0, abs_tol=0.2)  # it was trained for a moment
    step = np.float32(2**-9)
    slope = (bundle(x + step).y.astype(float) - bundle(x - step).y) / (2 * step)
    smooth = np.abs(slope - dy_dx)[:, 0] < 1e-3  # all but the points next to a kink of a ReLU
    assert smooth.mean() > 0.9


def test_info_of_a_bundle_with_a_saved_model() -> None:
    bundle = pullback.load(FOLDER / "v1" / "bowl.pullback")
    assert bundle.backend == "onnx"  # the SavedModel beside it is never opened unasked
    assert bundle.manifest is not None
    assert "saved_model/saved_model.pb" in {file.path for file in bundle.manifest.saved_model}


@pytest.mark.parametrize("name", ["grid", "own_points"])
def test_functions_at_points(name: str) -> None:
    bundle = pullback.load(FOLDER / "v2" / f"{name}.pullback")
    u, x = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 5, 2))
    x = x if name == "own_points" else np.broadcast_to(x[0], x.shape)
    dtype = "float64" if name == "own_points" else "float32"
    given: dict[str, Any] = {"u": u.astype(dtype), "x": (x if name == "own_points" else x[0]).astype(dtype)}
    basis, slope = np.tanh(u @ BRANCH), 1 - np.tanh(u @ BRANCH) ** 2
    modes, turned = np.sin(x @ TRUNK), np.cos(x @ TRUNK)
    want = {
        "y": np.einsum("bp,bnp->bn", basis, modes),
        "dy_dx": np.einsum("bp,bnp,ip->bni", basis, turned, TRUNK),
        "d2y_dx2": -np.einsum("bp,bnp,ip,jp->bnij", basis, modes, TRUNK, TRUNK),
        "lap_y_x": -np.einsum("bp,bnp,ip,ip->bn", basis, modes, TRUNK, TRUNK),
        "dy_du": np.einsum("bp,kp,bnp->bnk", slope, BRANCH, modes),
        "d2y_dx_du": np.einsum("bp,kp,bnp,ip->bnik", slope, BRANCH, turned, TRUNK),
    }
    found = bundle(**given)._asdict()
    assert set(found) == set(want)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for key, values in want.items():
        np.testing.assert_allclose(found[key], values, rtol=0, atol=tolerance * np.abs(values).max(), err_msg=key)
    adjoint = RNG.normal(size=(3, 5)).astype(dtype)
    pulled = np.einsum("bn,bni->bni" if name == "own_points" else "bn,bni->ni", adjoint, want["dy_dx"])
    product = bundle.vjp(**given, adj_y=adjoint).adj_x
    np.testing.assert_allclose(product, pulled, rtol=0, atol=tolerance * np.abs(pulled).max())
