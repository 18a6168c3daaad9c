"""Tables in and out: columns by name in any order, index and coordinates kept, missing values refused by row."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pullback
import pyarrow as pa
import pytest
import tensorflow as tf
import xarray as xr
from pullback.integrations.tables import arrays, evaluate, input_columns, result_columns
from pullback_export import ExportError, export

NAMES = {"x": ["age", "income", "size"], "t": ["time"], "z": ["risk", "cost"]}
S = tf.TensorSpec


def people_model(x: Any, t: Any) -> Any:
    """A number and a vector of two, of three features and a time."""
    return {"y": tf.reduce_sum(x**2, 1) * t[:, 0], "z": tf.stack([x[:, 0] * x[:, 1], x[:, 2]], 1)}


@pytest.fixture(scope="module")
def people(folder: pathlib.Path) -> pullback.Bundle:
    wanted = ["gradient(y, x)", "jacobian(z, x)", "hessian(y, x)", "gradient(y, t)", "gradient(z[1], x)"]
    wanted += ["laplacian(y, x)", "jacobian(z, x[:, 1:3])", "gradient(sum(z), x)"]
    inputs = [S([None, 3], tf.float32, "x"), S([None, 1], tf.float32, "t")]
    return export(people_model, folder / "people.pullback", wanted, inputs=inputs, features=NAMES, formats="onnx")


@pytest.fixture
def frame() -> pd.DataFrame:
    """Columns in another order than the model's, one that it does not know, and an index of names."""
    columns = {"income": [1.0, 2, 3], "time": [1, 1, 2], "id": ["a", "b", "c"], "size": [0.1, 0.2, 0.3]}
    return pd.DataFrame({**columns, "age": [5.0, 6, 7]}, index=pd.Index(["u", "v", "w"], name="who"))


KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas nullable": lambda frame: frame.convert_dtypes(),
    "pandas arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "pandas objects": lambda frame: frame.astype(object),
    "polars": lambda frame: pl.from_pandas(frame, nan_to_null=True),
    "polars nan": lambda frame: pl.from_pandas(frame, nan_to_null=False),
    "arrow table": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "arrow batch": lambda frame: pa.RecordBatch.from_pandas(frame, preserve_index=False),
}


def _columns_of(table: Any) -> dict[str, Any]:
    names = table.schema.names if isinstance(table, (pa.Table, pa.RecordBatch)) else table.columns
    return {name: np.asarray(table[name]) for name in names}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_are_found_by_name(people: pullback.Bundle, frame: pd.DataFrame, kind: str) -> None:
    table = KINDS[kind](frame)
    found = evaluate(people, table)
    assert type(found) is type(table)
    columns = _columns_of(found)
    x = np.array(frame[NAMES["x"]], np.float32)
    want = people(x, np.array(frame[["time"]], np.float32))
    np.testing.assert_array_equal(columns["y"], want.y)
    np.testing.assert_array_equal(columns["cost"], want.z[:, 1])
    for i, one in enumerate(NAMES["x"]):
        np.testing.assert_array_equal(columns[f"dy_dx[{one}]"], want.dy_dx[:, i])
        np.testing.assert_array_equal(columns[f"dz_1_dx[{one}]"], want.dz_1_dx[:, i])
        np.testing.assert_array_equal(columns[f"dsum_z_dx[{one}]"], want.dsum_z_dx[:, i])
        for j, other in enumerate(NAMES["x"]):
            np.testing.assert_array_equal(columns[f"d2y_dx2[{one},{other}]"], want.d2y_dx2[:, i, j])
        for j, out in enumerate(NAMES["z"]):
            np.testing.assert_array_equal(columns[f"dz_dx[{out},{one}]"], want.dz_dx[:, j, i])
    np.testing.assert_array_equal(columns["dz_dx_1_3[risk,size]"], want.dz_dx_1_3[:, 0, 1])
    np.testing.assert_array_equal(columns["dy_dt[time]"], want.dy_dt[:, 0])
    np.testing.assert_array_equal(columns["lap_y_x"], want.lap_y_x)
    assert list(columns) == [name for result in want._fields for name in result_columns(people, result)]
    assert _columns_of(evaluate(people, table, fetch="y")).keys() == {"y"}


def test_the_index_is_kept(people: pullback.Bundle, frame: pd.DataFrame) -> None:
    pd.testing.assert_index_equal(evaluate(people, frame).index, frame.index)
    several = frame.set_index("id", append=True)
    joined = several.join(evaluate(people, several, fetch=("y",)))
    np.testing.assert_array_equal(joined["y"], people(**arrays(people, frame)).y)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_batches(people: pullback.Bundle, kind: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    frame = pd.DataFrame(rng.random((rows, 4)), columns=["size", "time", "age", "income"])
    found = _columns_of(evaluate(people, KINDS[kind](frame)))
    reordered = _columns_of(evaluate(people, KINDS[kind](frame[["income", "age", "time", "size"]])))
    assert found.keys() == reordered.keys() and len(found["y"]) == rows
    for name, values in found.items():
        np.testing.assert_array_equal(values, reordered[name])


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "pandas objects"])
def test_missing_values_are_refused_by_row(people: pullback.Bundle, frame: pd.DataFrame, kind: str) -> None:
    whole = _columns_of(evaluate(people, KINDS[kind](frame)))
    frame.loc["v", "age"] = np.nan
    table = KINDS[kind](frame)
    named = r"row 1 \(index 'v'\)" if kind.startswith("pandas") else "row 1"
    with pytest.raises(pullback.InputError, match=f"{named} has no 'age'.*missing='skip'"):
        evaluate(people, table)
    found = _columns_of(evaluate(people, table, missing="skip"))
    for name, values in found.items():
        assert np.isnan(values[1])
        np.testing.assert_array_equal(values[[0, 2]], whole[name][[0, 2]])


def test_the_first_of_many_missing_values(people: pullback.Bundle) -> None:
    frame = pd.DataFrame(np.full((100, 4), np.nan), columns=["size", "time", "age", "income"])
    with pytest.raises(pullback.InputError, match=r"row 0 has no 'age'.*395 more"):
        evaluate(people, frame)


MISTAKES: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "lacks": (lambda f: f.drop(columns="age"), "lacks the column 'age'"),
    "misspelt": (lambda f: f.rename(columns={"age": "ages"}), "did you mean 'ages'"),
    "text": (lambda f: f.assign(age="old"), "column 'age' holds"),
    "numbers as text": (lambda f: f.assign(age=f["age"].astype(str).astype(object)), "column 'age' holds str"),
    "dates": (lambda f: f.assign(age=pd.Timestamp("2020-01-01")), "column 'age' holds datetime64"),
    "category": (lambda f: f.assign(age=f["age"].astype("category")), "column 'age' holds category"),
    "complex": (lambda f: f.assign(age=1j), "column 'age' holds complex128"),
    "too large": (lambda f: f.assign(age=1e300), "column 'age'.*cannot hold"),
    "twice": (lambda f: pd.concat([f, f["age"]], axis=1), "several columns 'age'"),
    "polars text": (lambda f: pl.from_pandas(f.assign(age="old")), "column 'age' holds String"),
    "arrow text": (lambda f: pa.Table.from_pandas(f.assign(age="old")), "column 'age' holds"),
    "series": (lambda f: f["age"], "to_frame"),
    "lazy": (lambda f: pl.from_pandas(f).lazy(), "collect"),
    "array": (lambda f: f[["age"]].to_numpy(), "a table is a DataFrame"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(people: pullback.Bundle, frame: pd.DataFrame, mistake: str) -> None:
    wrong, message = MISTAKES[mistake]
    with pytest.raises(pullback.InputError, match=message):
        evaluate(people, wrong(frame))


def test_options(people: pullback.Bundle, frame: pd.DataFrame) -> None:
    with pytest.raises(pullback.InputError, match="no input takes the column 'id'"):
        evaluate(people, frame, extra="error")
    evaluate(people, frame.drop(columns="id"), extra="error")
    for options in ({"extra": "drop"}, {"missing": "ignore"}, {"given": {"u": [1.0]}}, {"given": {"t": [1.0, 2]}}):
        with pytest.raises(pullback.InputError):
            evaluate(people, frame, **options)
    with pytest.raises(pullback.NotExportedError):
        evaluate(people, frame, fetch="q")
    fixed = evaluate(people, frame.drop(columns="time"), given={"t": [2.0]}, fetch="y")
    np.testing.assert_array_equal(fixed["y"], people(**{**arrays(people, frame), "t": np.full((3, 1), 2)}).y)


@pytest.fixture
def grid() -> xr.Dataset:
    """Features over years and latitudes; one that varies by latitude alone."""
    rng = np.random.default_rng(0)
    values = {name: (("year", "lat"), rng.random((2, 3))) for name in ("size", "age")}
    coords = {"year": [2001, 2002], "lat": [-5.0, 0.0, 5.0], "zone": ("lat", ["s", "e", "n"])}
    return xr.Dataset({**values, "income": ("lat", rng.random(3))}, coords)


def test_a_grid_is_kept(people: pullback.Bundle, grid: xr.Dataset) -> None:
    found = evaluate(people, grid, given={"t": [2.0]})
    x = np.stack([grid[name].broadcast_like(grid["size"]).values for name in NAMES["x"]], -1).reshape(-1, 3)
    want = people(x, np.full((6, 1), 2.0))
    np.testing.assert_array_equal(found["y"].values.ravel(), want.y)
    np.testing.assert_array_equal(found["dy_dx"].sel(x_feature="size").values.ravel(), want.dy_dx[:, 2])
    second = found["d2y_dx2"].sel(x_feature="age", x_feature_2="size")
    np.testing.assert_array_equal(second.values.ravel(), want.d2y_dx2[:, 0, 2])
    picked = found["dz_dx"].sel(z_feature="cost", x_feature="size", lat=5.0, year=2002)
    np.testing.assert_array_equal(picked.values, want.dz_dx[5, 1, 2])
    assert found["y"].dims == ("year", "lat") and found["dy_dt"].dims == ("year", "lat")
    xr.testing.assert_equal(found["y"].coords["zone"], grid.coords["zone"])
    stacked = evaluate(people, grid.to_array("feature"), given={"t": [2.0]})
    xr.testing.assert_equal(stacked["dy_dx"].transpose(*found["dy_dx"].dims), found["dy_dx"])


def test_missing_points_are_named(people: pullback.Bundle, grid: xr.Dataset) -> None:
    grid["age"][1, 2] = np.nan
    with pytest.raises(pullback.InputError, match=r"year=2002, lat=5\.0 has no 'age'"):
        evaluate(people, grid, given={"t": [2.0]})
    found = evaluate(people, grid, given={"t": [2.0]}, missing="skip", fetch="y")
    assert np.isnan(found["y"].values).sum() == 1 and np.isnan(found["y"].sel(year=2002, lat=5.0))
    with pytest.raises(pullback.InputError, match="no axis of the DataArray"):
        evaluate(people, grid["age"], given={"t": [2.0]})
    with pytest.raises(pullback.InputError, match="lacks the column 'age'"):
        evaluate(people, grid.drop_vars("age"), given={"t": [2.0]})


def test_a_coordinate_is_a_feature(people: pullback.Bundle, grid: xr.Dataset) -> None:
    named = grid.drop_vars("size").rename(lat="size")
    found = evaluate(people, named, given={"t": [1.0]})
    np.testing.assert_array_equal(found["z"].sel(z_feature="cost").transpose("year", "size")[0], named["size"])


def test_without_names(valley: pullback.Bundle) -> None:
    """An input without features has the columns that ``pullback eval`` writes."""
    assert input_columns(valley) == {"x": ("x[0]", "x[1]", "x[2]")}
    frame = pd.DataFrame({"x[2]": [0.5], "x[0]": [-1.0], "x[1]": [0.25]})
    found = evaluate(valley, frame)
    want = valley(np.array([[-1.0, 0.25, 0.5]]))
    np.testing.assert_array_equal(found["dy_dx[1]"], want.dy_dx[:, 1])
    np.testing.assert_array_equal(found["d2y_dx2[2,1]"], want.d2y_dx2[:, 2, 1])


def test_a_frame_in_a_plain_call(people: pullback.Bundle, frame: pd.DataFrame) -> None:
    """Columns in another order are an error, where they once were a wrong answer."""
    time = frame[["time"]]
    np.testing.assert_array_equal(people(frame[NAMES["x"]], time).y, people(**arrays(people, frame)).y)
    for wrong in (frame[["income", "age", "size"]], pl.from_pandas(frame[["income", "age", "size"]])):
        with pytest.raises(pullback.InputError, match="takes the columns age, income, size"):
            people(wrong, time)


def test_what_needs_rows(atoms_bundle: pullback.Bundle) -> None:
    with pytest.raises(pullback.InputError, match="every array must have the batch axis"):
        evaluate(atoms_bundle, pd.DataFrame({"a": [1.0]}))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"q": ["a"]}, "not an input or output"),
        ({"x": ["a", "b"]}, "2 names, and x: float64.* has 3 components"),
        ({"x": ["a", "b", "a"]}, "'a' occurs twice"),
        ({"x": [1, 2, 3]}, "list of names"),
        ({"x": "abc"}, "1 names"),
        ({"dy_dx": ["a", "b", "c"]}, "not an input or output"),
    ],
)
def test_export_refuses(tmp_path: pathlib.Path, features: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export(
            lambda x: {"y": tf.reduce_sum(x, 1)},
            tmp_path / "b.pullback",
            ["gradient(y, x)"],
            inputs=[S([None, 3], tf.float64, "x")],
            features=features,
        )
    assert not list(tmp_path.iterdir())


def test_names_of_the_only_input(tmp_path: pathlib.Path) -> None:
    bundle = export(
        lambda x: {"y": tf.reduce_sum(x, 1)}, tmp_path / "b.pullback", inputs=[S([None, 2])], features=["a", "b"]
    )
    (name,) = bundle.features
    assert bundle.features == {name: ("a", "b")}
    bundle.pack(tmp_path / "b.zip")
    assert pullback.load(tmp_path / "b.zip").features == bundle.features
    with pytest.raises(ExportError, match="several inputs"):
        export(people_model, tmp_path / "c.pullback", inputs=[S([None, 3]), S([None, 1])], features=["a"])


def test_the_manifest_has_no_new_key(people: pullback.Bundle, tmp_path: pathlib.Path) -> None:
    """Readers of version 1 refuse unknown keys of the manifest, and pass ``parity`` on as it is."""
    written = json.loads((people.path / "manifest.json").read_text())
    keys = "format_version name producer functions saved_model golden tolerance parity ranges"
    assert set(written) == set(keys.split())
    for wrong in ([], {"x": ["a"]}, {"x": 3}, {"nothing": ["a"]}):
        copy = tmp_path / "copy.pullback"
        shutil.copytree(people.path, copy, dirs_exist_ok=True)
        written["parity"]["features"] = wrong
        (copy / "manifest.json").write_text(json.dumps(written))
        with pytest.raises(pullback.BundleError, match="features"):
            pullback.load(copy)
