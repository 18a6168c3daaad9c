"""The gate finds one wrong number, whichever artifact and sample it is in, and says where."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback.parity import Report
from pullback_export import ExportError, compare, export
from pullback_export.gate import check, live_model, written_files
from pullback_export.gate.written_files import Answer, Arrays, Artifact

STAGES = ("SavedModel", *(f"ONNX Runtime, optimisation {level}" for level in written_files.LEVELS))
SAMPLES = ("7 random rows", "1 random row", "2 rows of zeros", "2 rows of large values")
SPEC = tf.TensorSpec([None, 3], tf.float32, name="x")


class Model(tf.Module):
    """``y = sum(x**2)``, which rounding hardly touches."""

    @tf.function(input_signature=[SPEC])
    def __call__(self, x: Any) -> Any:
        return {"y": tf.reduce_sum(x * x, 1)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("gate") / "it.pullback"
    export(Model(), path, ["gradient(y, x)", "vjp(y, x)"])
    return path


def failures(report: Report) -> set[tuple[str, str]]:
    return {(row.stage, row.output) for row in report.failures}


def planted(monkeypatch: pytest.MonkeyPatch, function: str, stage: str, index: int, output: str) -> None:
    """One entry of one answer is off by a thousandth of the largest; around the sample, at two points, it is right."""
    honest = Artifact.answers

    def answers(self: Artifact, samples: Sequence[Mapping[str, Any]]) -> list[Answer]:
        found = honest(self, samples)
        if (self.function.name, self.stage) == (function, stage) and len(samples) > 2:
            wrong: Arrays = {name: array.copy() for name, array in found[index]().items()}
            wrong[output].flat[-1] += 1e-3 * max(np.abs(wrong[output]).max(), 1)
            found[index] = lambda: wrong
        return found

    monkeypatch.setattr(Artifact, "answers", answers)


@pytest.mark.parametrize(
    ("function", "output", "stage", "sample"),
    [("evaluate", "dy_dx", stage, SAMPLES[index % 4]) for index, stage in enumerate(STAGES)]
    + [("vjp", "adj_x", stage, SAMPLES[index % 4]) for index, stage in enumerate(STAGES)]
    + [("evaluate", "y", STAGES[4], sample) for sample in SAMPLES],
)
def test_one_wrong_number_is_found_where_it_is(
    bundle: pathlib.Path, monkeypatch: pytest.MonkeyPatch, function: str, output: str, stage: str, sample: str
) -> None:
    planted(monkeypatch, function, stage, SAMPLES.index(sample), output)
    assert failures(compare(Model(), bundle)) == {(f"{stage}: {sample}", output)}


def test_honest_answers_pass(bundle: pathlib.Path) -> None:
    report = compare(Model(), bundle)
    assert report.ok
    stages = {row.stage for row in report.rows}
    assert {f"{stage}: {sample}" for stage in STAGES for sample in (*SAMPLES, "0 rows")} <= stages


@pytest.mark.parametrize("refuses", [True, False])
def test_what_an_artifact_refuses_counts_where_the_live_model_takes_it(
    bundle: pathlib.Path, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    def answer(artifact: Artifact, run: Any, sample: Mapping[str, Any], number: int) -> Answer:
        return honest(artifact, run if len(sample["x"]) else refusal, sample, number)

    def refusal(sample: Mapping[str, Any], whole: bool) -> Arrays:
        raise ExportError("no rows")

    def refusing(function: Any, inputs: Arrays, whole: bool = False) -> Arrays:
        if len(inputs["x"]):
            return live_model.answer(function, inputs)
        raise live_model.Refused("there are no rows")

    honest = Artifact._answer
    monkeypatch.setattr(Artifact, "_answer", answer)
    if refuses:
        monkeypatch.setattr("pullback_export.gate.references.answer", refusing)
        report = compare(Model(), bundle)
        assert report.ok
        assert any(
            note.startswith("0 rows: the live model rejects it; skipped (there are no rows)") for note in report.notes
        )
    else:
        with pytest.raises(ExportError, match="no rows"):
            compare(Model(), bundle)


def test_a_file_that_does_not_open_is_an_error(bundle: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any) -> Any:
        raise OSError("unreadable")

    monkeypatch.setattr(written_files, "_onnx_session", opened)
    with pytest.raises(OSError, match="unreadable"):
        compare(Model(), bundle)


def test_answers_wait_for_every_artifact_of_a_function() -> None:
    assert len(STAGES) <= check.WAITING_ANSWERS


def centred(x: Any) -> Any:
    return {"y": x - tf.reduce_mean(x, 0, keepdims=True)}


def total(x: Any) -> Any:
    return {"y": tf.reduce_sum(x * x)}


@pytest.mark.parametrize(("function", "problem"), [(centred, "other samples of its batch"), (total, "no batch axis")])
def test_rows_that_are_no_batch_are_refused_without_derivatives_too(
    function: Any, problem: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "it.pullback"
    with pytest.raises(ExportError, match=f"{problem}.*batched=False"):
        export(function, path, inputs=[SPEC])
    bundle = export(function, path, inputs=[SPEC], batched=False)
    assert bundle.verify().ok
    x = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    np.testing.assert_allclose(bundle(x).y, function(x)["y"], rtol=1e-5, atol=1e-5)


def test_a_batch_with_statistics_is_not_taken_apart(tmp_path: pathlib.Path) -> None:
    """Training mode: more rows than the runtime would take at a time, whose statistics are those of all of them."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(64, activation="tanh"), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,), name="x"), *hidden])
    bundle = export(model, tmp_path / "it.pullback", ["vjp(y, x)"], outputs=["y"], training=True)
    x = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    x[:10_000] += 5
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        y = model(point, training=True)
    np.testing.assert_allclose(bundle(x).y, y, rtol=0, atol=1e-4)
    np.testing.assert_allclose(bundle.prepared(20_000)(x).y, y, rtol=0, atol=1e-4)
    wanted = tape.gradient(y, point, output_gradients=tf.cos(y))
    assert wanted is not None
    np.testing.assert_allclose(bundle.vjp(x=x, adj_y=np.cos(y)).adj_x, wanted, rtol=0, atol=1e-4)
