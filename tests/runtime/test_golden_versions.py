"""Bundles that any version wrote stay readable for ever, untouched, and give the numbers that they gave."""

from __future__ import annotations

from pathlib import Path

import pullback
import pytest
from pullback.backends.sessions import LEVELS
from pullback.manifest import READABLE_VERSIONS, checks

FOLDER = Path(__file__).parents[1] / "golden"

# SHA-256 of each manifest, which holds those of all other files: a change of one changes history.
DIGESTS: dict[int, dict[str, str]] = {
    1: {
        "attention_float32": "1ade8d45d75cf0dfc78e180e21295cb3f8732b68fe1e8e424fb4570c81715b63",
        "attention_float64": "2b5fd1d144dbfa3ff669db84d13e1d4cde767aa2dc75da315ecd635548b5942a",
        "bowl": "c5488a45b863792c001ab5c1f16197680f6d590829e7f3861591c50ba79a69d8",
        "field": "4f8853efb0f85396795fdea5e28eff436dc12104ed5606798a5bf5ce4a11d7d0",
        "picture_float32": "583cd466fc8a07c4af9efb5852ad09b5150756f950beb3197d6a33c6ac2a6a43",
        "picture_float64": "639504e8f5c210e3ead996a84f6ba451ddb17c0789e097c9ea842384bd90b906",
    },
    # Functions with two batch axes.
    2: {
        "grid": "a08b4f01372441232824d3965faffe5443b15cc08692742af114436e3ed8c1b5",
        "own_points": "3b97b5dd9ca9135a1c2593d02b7a2c0245bb554c2ca6259159da2811a3671cfc",
    },
}
NAMES = [(version, name) for version, digests in DIGESTS.items() for name in digests]
ALL = pytest.mark.parametrize(("version", "name"), NAMES, ids=[f"v{version}-{name}" for version, name in NAMES])


def path(version: int, name: str) -> Path:
    """Where the bundle is."""
    return FOLDER / f"v{version}" / f"{name}.pullback"


def test_every_version_that_is_read_has_bundles() -> None:
    assert list(DIGESTS) == list(READABLE_VERSIONS)


@pytest.mark.parametrize("version", DIGESTS)
def test_nothing_was_added_or_taken_away(version: int) -> None:
    there = sorted(item.name.removesuffix(".pullback") for item in (FOLDER / f"v{version}").iterdir())
    assert there == sorted(DIGESTS[version])


@pytest.mark.parametrize("level", LEVELS)
@ALL
def test_verifies_at_every_optimisation_level(version: int, name: str, level: str) -> None:
    bundle = pullback.load(path(version, name), optimization=level)
    assert bundle.digest == DIGESTS[version][name]
    assert bundle.manifest is not None
    assert bundle.manifest.format_version == version
    assert bundle.verify().ok


@ALL
def test_each_graph_loads_alone(version: int, name: str) -> None:
    for file in path(version, name).glob("*.onnx"):
        spec = pullback.load(file).spec
        assert spec.name == file.stem
        assert spec.batch_axes == version


def test_an_earlier_reader_refuses_it_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "READABLE_VERSIONS", (1,))
    for place in (path(2, "grid"), path(2, "grid") / "evaluate.onnx"):
        with pytest.raises(pullback.FormatVersionError, match="format version 2; this runtime reads 1"):
            pullback.load(place)
