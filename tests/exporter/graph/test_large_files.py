"""Weights that one ONNX file cannot hold, or that are wanted outside of it, are in a file beside the graph."""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
import onnxruntime
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, export
from pullback_export.artifacts.saved_model import check_size
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.tracing import trace
from pullback_export.graph import wire
from pullback_export.graph.wire import LEAST_BESIDE, beside
from pullback_export.sources.opening import open_source

INPUTS = [tf.TensorSpec([None, 8], tf.float32, name="x")]
ROWS = LEAST_BESIDE // (8 * 4)


def _model(x: tf.Tensor, rows: int = ROWS) -> dict[str, tf.Tensor]:
    table = tf.constant(np.random.default_rng(0).normal(size=(8, rows)), tf.float32)
    return {"y": tf.reduce_sum(tf.tanh(x @ table), 1)}


def _slightly_smaller(x: tf.Tensor) -> dict[str, tf.Tensor]:
    return _model(x, ROWS - 1)


@pytest.mark.parametrize("formats", [("onnx",), ("onnx", "saved_model")], ids=["onnx", "both"])
def test_large_weights_beside_the_graph(tmp_path: pathlib.Path, formats: tuple[str, ...]) -> None:
    requests = ["gradient(y, x)", "hvp(y, x)"]
    inside = export(_model, tmp_path / "a.pullback", requests, inputs=INPUTS, formats=formats)
    bundle = export(_model, tmp_path / "b.pullback", requests, inputs=INPUTS, formats=formats, external_data=True)
    for name in ("evaluate", "hvp"):
        path = bundle.path / f"{name}.onnx"
        assert path.stat().st_size < LEAST_BESIDE <= path.with_suffix(".onnx.data").stat().st_size
        onnx.checker.check_model(str(path), full_check=True)
        assert onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_outputs()
    assert not list(inside.path.glob("*.data"))
    assert [graph.weights is not None for graph in bundle.manifest.functions] == [True, True]
    x = np.random.default_rng(1).normal(size=(7, 8)).astype("f")
    for batch in (0, 1, 2, 7):
        for ours, theirs in zip(bundle(x=x[:batch]), inside(x=x[:batch]), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert bundle.verify().ok


def test_smaller_weights_stay_in_the_graph(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pullback"
    bundle = export(_slightly_smaller, path, inputs=INPUTS, formats="onnx", external_data=True)
    assert not list(path.glob("*.data"))
    assert bundle.graph()


def test_the_same_model_gives_the_same_bytes(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        export(_model, tmp_path / f"{name}.pullback", inputs=INPUTS, formats="onnx", external_data=True)
    for name in ("evaluate.onnx", "evaluate.onnx.data"):
        assert (tmp_path / "a.pullback" / name).read_bytes() == (tmp_path / "b.pullback" / name).read_bytes()


def test_a_file_that_cannot_hold_them_has_them_beside(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST_FILE", LEAST_BESIDE - 1)
    bundle = export(_model, tmp_path / "m.pullback", ["gradient(y, x)"], inputs=INPUTS, formats="onnx")
    assert (bundle.path / "evaluate.onnx.data").exists()
    with pytest.raises(pullback.NotExportedError, match="weights beside it"):
        bundle.graph()
    with pytest.raises(ExportError, match=r"holds at most .*; export with external_data=True or None"):
        export(_model, tmp_path / "n.pullback", inputs=INPUTS, formats="onnx", external_data=False)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pullback"]


def test_many_small_weights_are_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST_FILE", LEAST_BESIDE // 2)
    with pytest.raises(ExportError, match=r"weights of less than .* bytes each take .*; export a part of the model"):
        export(_slightly_smaller, tmp_path / "m.pullback", inputs=INPUTS, formats="onnx")
    assert list(tmp_path.iterdir()) == []


def test_constants_that_no_saved_model_can_hold_are_refused() -> None:
    source = open_source(_model, INPUTS, None, None, False)
    traced = [trace(function) for function in Derivatives(source, [], "error").functions()]
    check_size(traced)
    check_size(traced, 2 * LEAST_BESIDE)
    with pytest.raises(ExportError, match=r"constants of .* keep them in a tf.Variable, .* formats=\('onnx',\)"):
        check_size(traced, LEAST_BESIDE - 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "float16"])
def test_places_of_weights(dtype: str) -> None:
    """Each starts at a page of its own, in order, and the file holds what the arrays do."""
    rng, size = np.random.default_rng(0), LEAST_BESIDE // np.dtype(dtype).itemsize
    arrays = [(rng.random((size + extra, 1)) * 9).astype(dtype).T for extra in (0, 3)]
    found = beside([("a", arrays[0]), ("small", arrays[0][:, :5]), ("b", arrays[1])], "w", True)
    content, file = b"".join(found.pieces), found.described()
    assert file is not None and file.size == len(content)
    assert sorted(found.places) == ["a", "b"]
    for name, array in zip("ab", arrays, strict=True):
        start = found.places[name].start
        assert start % 2**16 == 0 and content[start : start + array.nbytes] == array.tobytes()


def test_the_limit_is_below_that_of_protobuf() -> None:
    assert 0.98 * 2**31 < wire.LARGEST_FILE < 2**31
