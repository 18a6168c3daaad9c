"""Bundles of version 2, with two batch axes, stay readable for ever, untouched; a reader of version 1 refuses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.backends.sessions import LEVELS
from pullback.manifest import checks

FOLDER = Path(__file__).parents[1] / "golden" / "v2"
DIGESTS = {
    "grid": "a08b4f01372441232824d3965faffe5443b15cc08692742af114436e3ed8c1b5",
    "own_points": "3b97b5dd9ca9135a1c2593d02b7a2c0245bb554c2ca6259159da2811a3671cfc",
}
BRANCH, TRUNK = np.array([[4, -2, 1], [-3, 5, 2]]) / 8, np.array([[8, -4, 6], [2, 7, -5]]) / 8
RNG = np.random.default_rng(9)


def test_nothing_was_added_or_taken_away() -> None:
    assert sorted(path.name.removesuffix(".pullback") for path in FOLDER.iterdir()) == sorted(DIGESTS)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", DIGESTS)
def test_verifies_at_every_optimisation_level(name: str, level: str) -> None:
    bundle = pullback.load(FOLDER / f"{name}.pullback", optimization=level)
    assert bundle.digest == DIGESTS[name]
    assert bundle.manifest is not None
    assert bundle.manifest.format_version == 2
    assert bundle.verify().ok


@pytest.mark.parametrize("name", DIGESTS)
def test_each_graph_loads_alone(name: str) -> None:
    for path in (FOLDER / f"{name}.pullback").glob("*.onnx"):
        assert pullback.load(path).spec.batch_axes == 2


@pytest.mark.parametrize("name", DIGESTS)
def test_numbers_are_those_of_the_closed_form(name: str) -> None:
    bundle = pullback.load(FOLDER / f"{name}.pullback")
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


def test_an_earlier_reader_refuses_it_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "READABLE_VERSIONS", (1,))
    for place in (FOLDER / "grid.pullback", FOLDER / "grid.pullback" / "evaluate.onnx"):
        with pytest.raises(pullback.FormatVersionError, match="format version 2; this runtime reads 1"):
            pullback.load(place)
