"""Bundles that version 1 wrote stay readable for ever, untouched, and give the numbers that they gave."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pullback
import pytest
from pullback.backends.sessions import LEVELS

FOLDER = Path(__file__).parents[1] / "golden" / "v1"

# SHA-256 of each manifest, which holds those of all other files: a change of one changes history.
DIGESTS = {
    "attention_float32": "1ade8d45d75cf0dfc78e180e21295cb3f8732b68fe1e8e424fb4570c81715b63",
    "attention_float64": "2b5fd1d144dbfa3ff669db84d13e1d4cde767aa2dc75da315ecd635548b5942a",
    "bowl": "c5488a45b863792c001ab5c1f16197680f6d590829e7f3861591c50ba79a69d8",
    "field": "4f8853efb0f85396795fdea5e28eff436dc12104ed5606798a5bf5ce4a11d7d0",
    "picture_float32": "583cd466fc8a07c4af9efb5852ad09b5150756f950beb3197d6a33c6ac2a6a43",
    "picture_float64": "639504e8f5c210e3ead996a84f6ba451ddb17c0789e097c9ea842384bd90b906",
}


def test_nothing_was_added_or_taken_away() -> None:
    assert sorted(path.name.removesuffix(".pullback") for path in FOLDER.iterdir()) == sorted(DIGESTS)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", DIGESTS)
def test_verifies_at_every_optimisation_level(name: str, level: str) -> None:
    bundle = pullback.load(FOLDER / f"{name}.pullback", optimization=level)
    assert bundle.digest == DIGESTS[name]
    assert bundle.manifest is not None
    assert bundle.manifest.format_version == 1
    assert bundle.verify().ok


@pytest.mark.parametrize("name", DIGESTS)
def test_each_graph_loads_alone(name: str) -> None:
    for path in (FOLDER / f"{name}.pullback").glob("*.onnx"):
        assert pullback.load(path).spec.name == path.stem


def test_field_is_the_field() -> None:
    """Closed forms, written down here once more: not even the golden samples are trusted."""
    bundle = pullback.load(FOLDER / "field.pullback")
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
    bundle = pullback.load(FOLDER / "bowl.pullback")
    x = np.linspace(0, 10, 101, dtype=np.float32)[:, None]
    y, dy_dx = bundle(x)
    assert math.isclose(float(np.abs(y - (x - 5) ** 2 / 25).max()), 0, abs_tol=0.2)  # it was trained for a moment
    step = np.float32(2**-9)
    slope = (bundle(x + step).y.astype(float) - bundle(x - step).y) / (2 * step)
    smooth = np.abs(slope - dy_dx)[:, 0] < 1e-3  # all but the points next to a kink of a ReLU
    assert smooth.mean() > 0.9


def test_info_of_a_bundle_with_a_saved_model() -> None:
    bundle = pullback.load(FOLDER / "bowl.pullback")
    assert bundle.backend == "onnx"  # the SavedModel beside it is never opened unasked
    assert bundle.manifest is not None
    assert "saved_model/saved_model.pb" in {file.path for file in bundle.manifest.saved_model}
