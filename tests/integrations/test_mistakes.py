"""The table of mistakes is closed, and its rows of what is installed here come out as it says."""

from __future__ import annotations

import pathlib

import pullback
import pullback.integrations
import pytest

from tests.integrations.mistakes import MISTAKES, Bundles, Row, data, frameworks, servers, solvers
from tests.integrations.mistakes.trial import attempt, name, rows

TABLE = (*solvers.ENTRIES, *data.ENTRIES, *frameworks.ENTRIES, *servers.ENTRIES)
# What others are made of, and the cluster behind ``pullback eval --dask``, whose faults stand in docs/faults.md.
INNER = {
    *("dask_cluster", "differentiable_rows", "jax_products", "one_sample", "torch_functions", "whole_derivatives"),
}
# No module of their own: a bundle itself, SciPy with flat views, and ``pullback.explain``.
FURTHER = {"bundle", "scipy", "explain"}


def test_every_integration_has_every_mistake() -> None:
    folder = pathlib.Path(pullback.integrations.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    known = (modules - {"__init__", *INNER}) | FURTHER
    assert modules > INNER
    assert {entry.integration for entry in TABLE} == known
    assert {(entry.integration, entry.mistake) for entry in TABLE} == {(a, b) for a in known for b in MISTAKES}
    tried = [name(row) for row in rows(TABLE)]
    assert len(set(tried)) == len(tried)


@pytest.fixture(scope="module")
def bundles(atoms_bundle: pullback.Bundle) -> Bundles:
    return Bundles(atoms_bundle)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """OpenMDAO writes a folder of reports where it runs."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("row", rows((*solvers.ENTRIES, *data.ENTRIES)), ids=name)
def test_a_mistake(row: Row, bundles: Bundles) -> None:
    attempt(row, bundles)
