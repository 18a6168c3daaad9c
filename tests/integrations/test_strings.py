"""Inputs of strings beside floats that are differentiated, through the integrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import InputError

from tests.runtime.conftest import FIXTURES
from tests.runtime.test_strings import ASKED, WEIGHTS, X

Y = WEIGHTS * (X**2).sum(1)
COLUMNS = {"x[0]": X[:, 0], "x[1]": X[:, 1]}


@pytest.fixture(scope="module")
def words() -> pullback.Bundle:
    return pullback.load(FIXTURES / "words.pullback")


def of(library: str) -> Callable[[dict[str, Any]], Any]:
    if library == "xarray":
        xarray = pytest.importorskip("xarray")
        return lambda columns: xarray.Dataset({name: ("row", np.asarray(item)) for name, item in columns.items()})
    module = pytest.importorskip(library.split()[0])
    if library == "pyarrow":
        return lambda columns: module.table(columns)
    if library == "pandas category":
        return lambda columns: module.DataFrame({**columns, "word": module.Categorical(columns["word"])})
    if library == "pandas string":
        return lambda columns: module.DataFrame({**columns, "word": module.array(columns["word"], "string")})
    if library == "polars category":
        return lambda columns: module.DataFrame(
            {**columns, "word": module.Series(columns["word"]).cast(module.Categorical)}
        )
    return lambda columns: module.DataFrame(columns)


LIBRARIES = ["pandas", "pandas category", "pandas string", "polars", "polars category", "pyarrow", "xarray"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_tables(words: pullback.Bundle, library: str) -> None:
    from pullback.integrations import tables

    table = of(library)
    found = tables.evaluate(words, table({"word": ASKED, **COLUMNS}), fetch="y")["y"]
    np.testing.assert_allclose(np.asarray(found), Y, rtol=1e-6)
    gaps = table({"word": [None, *ASKED[1:]], **COLUMNS})
    with pytest.raises(InputError, match="no 'word'"):
        tables.evaluate(words, gaps)
    found = np.asarray(tables.evaluate(words, gaps, fetch="y", missing="skip")["y"])
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], Y[1:], rtol=1e-6)
    arrays = tables.arrays(words, table({"word": ASKED, **COLUMNS}))
    assert arrays["word"].tolist() == ASKED


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_column_of_lists_is_none_of_strings(words: pullback.Bundle, library: str) -> None:
    from pullback.integrations import tables

    with pytest.raises(InputError, match=r"column 'word'.*of type list; pass str"):
        tables.evaluate(words, of(library)({"word": [["up"]] * 7, **COLUMNS}))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "xarray"])
def test_a_column_of_numbers_is_none_of_strings(words: pullback.Bundle, library: str) -> None:
    from pullback.integrations import tables

    with pytest.raises(InputError, match=r"column 'word'.*of type int; pass str"):
        tables.evaluate(words, of(library)({"word": list(range(7)), **COLUMNS}))
    given = tables.evaluate(words, of(library)(COLUMNS), fetch="y", given={"word": "up"})["y"]
    np.testing.assert_allclose(np.asarray(given), 0.5 * (X**2).sum(1), rtol=1e-6)


def test_dask(words: pullback.Bundle) -> None:
    array = pytest.importorskip("dask.array")
    from pullback.integrations.dask import map_blocks

    for word in (np.array(ASKED), np.array(ASKED, object)):
        inputs = array.from_array(word, chunks=3), array.from_array(X, chunks=(3, 2))
        np.testing.assert_allclose(map_blocks(words, *inputs, fetch="y").y.compute(), Y, rtol=1e-6)


def test_explanations_of_the_floats(words: pullback.Bundle) -> None:
    from pullback.explain import gradients, occluded

    given = {"word": ASKED}
    np.testing.assert_allclose(gradients.integrated_gradients(words, X, "y", "x", given=given).sum(1), Y, rtol=1e-4)
    np.testing.assert_allclose(occluded.occlusion(words, X, "y", "x", given=given), WEIGHTS[:, None] * X**2, rtol=1e-5)
    with pytest.raises(InputError, match="'word' is string; only float inputs have derivatives"):
        gradients.saliency(words, X, "y", "word", given={"x": X})


def test_casadi(words: pullback.Bundle) -> None:
    casadi = pytest.importorskip("casadi")
    from pullback.integrations.casadi import function
    from pullback.integrations.casadi.files import Files

    f = function(words, of=["y"], wrt=["x"], given={"word": "日本"})
    assert float(f(casadi.DM([1, 2]))) == 15
    np.testing.assert_allclose(f.jacobian()(casadi.DM([1, 2]), 0), [[6, 12]])
    with pytest.raises(InputError, match="'word' holds strings, and files for CasADi hold numbers alone"):
        Files(words, ["y"], ["x"])


def test_openmdao(words: pullback.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # OpenMDAO writes reports
    api = pytest.importorskip("openmdao.api")
    from pullback.integrations.openmdao import BundleComp

    problem = api.Problem()
    problem.model.add_subsystem("words", BundleComp(words, vec_size=2), promotes=["*"])
    problem.setup()
    for asked, weights in ((["up", "none"], [0.5, 7]), (["up", "日本"], [0.5, 3])):
        problem.set_val("x", X[1:3])
        problem.set_val("word", np.array(asked, object))
        problem.run_model()
        np.testing.assert_allclose(problem.get_val("y"), weights * (X[1:3] ** 2).sum(1), rtol=1e-6)
        slope = problem.compute_totals(["y"], ["x"])["y", "x"]
        np.testing.assert_allclose(slope[1, 2:], 2 * weights[1] * X[2], rtol=1e-6)
