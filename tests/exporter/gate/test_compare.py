"""The gate as a tool: ``compare``, ``assert_parity``, ``pullback-parity``, and the page that shows a suite of tests."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import onnx
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, ParityWarning, assert_parity, cli, compare, export
from pullback_export.gate.verdicts.excuses import NOT_CHECKED, SURROGATES

from tests.project.test_readme import blocks
from tests.warm_start import run

ROOT = pathlib.Path(__file__).parents[3]
SPEC = [tf.TensorSpec([None, 3], tf.float32, name="x")]
REQUESTS = ["jacobian(y, x)", "vjp(y, x)", "jvp(y, x)", "hessian(y, x)"]
X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def waves(x: Any) -> Any:
    return {"y": tf.sin(x) * tf.reduce_sum(x * x, 1, keepdims=True)}


def other(x: Any) -> Any:
    return {"y": tf.sin(x) * tf.reduce_sum(x * x, 1, keepdims=True) * 1.001}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A function and its bundles, and a Keras model with a float32 and a float64 bundle."""
    folder = tmp_path_factory.mktemp("compare")
    export(waves, folder / "waves.pullback", REQUESTS, inputs=SPEC)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.save(folder / "bowl.keras")
    for name, precision in (("bowl", None), ("bowl64", "float64")):
        export(model, folder / f"{name}.pullback", ["gradient(y, x)"], outputs=["y"], precision=precision)
    np.save(folder / "samples.npy", X)
    np.savez(folder / "samples.npz", x=X)
    (folder / "functions.py").write_text(
        "import tensorflow as tf\n\ndef waves(x):\n"
        "    return {'y': tf.sin(x) * tf.reduce_sum(x * x, 1, keepdims=True)}\n"
    )
    return folder


def test_a_function_needs_no_inputs_where_the_bundle_names_them(folder: pathlib.Path) -> None:
    report = assert_parity(waves, folder / "waves.pullback", {"x": X})
    stages = {row.stage.split(":")[0] for row in report.rows}
    assert {"SavedModel", "ONNX Runtime, optimisation all", "central differences in float64"} <= stages
    assert any(stage.startswith("law <w, jvp t>") for stage in stages)
    assert all(row.live_error is not None for row in report.rows if row.reference)
    assert compare(waves, folder / "waves.pullback", {"x": X}, inputs=SPEC).ok


def test_another_function_is_found_out(folder: pathlib.Path) -> None:
    report = compare(other, folder / "waves.pullback", {"x": X})
    assert not report.ok
    assert {row.output for row in report.failures} >= {"y", "dy_dx", "adj_x", "fwd_y", "d2y_dx2"}
    with pytest.raises(pullback.ParityError, match=r"waves.pullback: .*of its size") as caught:
        assert_parity(other, folder / "waves.pullback", {"x": X})
    assert not caught.value.report.ok


def test_a_tolerance_for_each_result(folder: pathlib.Path) -> None:
    results = ("y", "dy_dx", "adj_x", "fwd_y", "d2y_dx2")
    assert compare(other, folder / "waves.pullback", tolerance=dict.fromkeys(results, 1e-2)).ok
    report = compare(other, folder / "waves.pullback", tolerance=dict.fromkeys(results[1:], 1e-2))
    assert {row.output for row in report.failures} == {"y"}
    assert compare(other, folder / "waves.pullback", tolerance=1e-2).ok
    with pytest.raises(ExportError, match="no result 'z'; it has y"):
        compare(waves, folder / "waves.pullback", tolerance={"z": 1.0})


def test_a_loaded_bundle_is_not_its_files(folder: pathlib.Path) -> None:
    loaded: Any = pullback.load(folder / "waves.pullback")
    with pytest.raises(ExportError, match=r"give the folder, '.*waves\.pullback'"):
        compare(waves, loaded)


@pytest.mark.parametrize("name", ["bowl", "bowl64"])
def test_a_bundle_in_a_higher_precision(folder: pathlib.Path, name: str) -> None:
    report = assert_parity(folder / "bowl.keras", folder / f"{name}.pullback", {"x": X})
    dtypes = {row.dtype for row in report.rows if row.stage.startswith("ONNX")}
    assert dtypes == {"float64" if name == "bowl64" else "float32"}


def test_a_damaged_weight_is_found_in_either_precision(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Another model of the same shape."""
    model = keras.models.load_model(folder / "bowl.keras")
    model.set_weights([item * 1.01 for item in model.get_weights()])
    for name in ("bowl", "bowl64"):
        assert not compare(model, folder / f"{name}.pullback", {"x": X}).ok


def test_the_page_runs(folder: pathlib.Path) -> None:
    (block,) = blocks("docs/parity_tests.md", "python")
    (folder / "test_page.py").write_text(block)
    program = 'import sys, pytest\nsys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "test_page.py"]))'
    done = run(program, folder=folder)
    assert done.returncode == 0, done.stdout[-3000:]
    assert ".." in done.stdout


def test_the_command_knows_files_and_functions(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    assert cli.parity_main(["bowl.keras", "bowl.pullback", "--samples", "samples.npz"]) == 0
    assert "central differences in float64" in capsys.readouterr().out
    assert cli.parity_main(["functions:waves", "waves.pullback", "-q", "--tolerance", "dy_dx=1e-4"]) == 0
    assert cli.parity_main(["functions:waves", "waves.pullback", "-q", "--input", "x:float32[?,3]"]) == 0
    assert cli.parity_main(["functions:nothing", "waves.pullback", "-q"]) == 2
    assert cli.parity_main(["functions:waves", "waves.pullback", "-q", "--tolerance", "dy_dx=much"]) == 2
    assert cli.parity_main(["functions:waves", "waves.pullback", "-q", "--input", "x"]) == 2


def test_what_a_report_warns_of_is_said(tmp_path: pathlib.Path) -> None:
    def flat(x: Any) -> Any:
        return {"y": tf.round(x)}

    said: list[str] = []
    with pytest.warns(ParityWarning, match="dy_dx: the derivative is zero in every sample"):
        export(flat, tmp_path / "a.pullback", ["jacobian(y, x)"], inputs=SPEC, unconnected="zero", formats="onnx")
    export(
        flat,
        tmp_path / "b.pullback",
        ["jacobian(y, x)"],
        inputs=SPEC,
        unconnected="zero",
        formats="onnx",
        progress=said.append,
    )
    assert "warning: dy_dx: the derivative is zero in every sample" in said
    assert any(line.startswith("note: evaluate: the truth has") for line in said)


def test_the_page_of_promises_lists_every_excuse() -> None:
    page = (ROOT / "docs" / "parity.md").read_text()
    for table, mark in ((SURROGATES, "`"), (NOT_CHECKED, "")):
        for name, reason in table.items():
            assert f"| {mark}{name}{mark} | {reason} |" in page


def test_the_report_shows_truth_and_both_errors(folder: pathlib.Path) -> None:
    from pullback.display import html

    page = "".join(html._exported(pullback.load(folder / "bowl.pullback")))
    for words in ("float64 truth", "error of the bundle", "error of the live model"):
        assert words in page
    assert onnx.load(folder / "bowl.pullback" / "evaluate.onnx").graph.node
