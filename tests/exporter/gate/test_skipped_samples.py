"""What the live model refuses: a drawn sample is skipped with a note, a row of the caller's is named by an error."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback import ParityError
from pullback.parity import Report
from pullback_export import ExportError, compare, export
from pullback_export.derivatives.plan import Derivatives
from pullback_export.gate import live_model
from pullback_export.gate.references import references
from pullback_export.gate.samples import Sample, draw_samples, open_samples
from pullback_export.gate.written_files import Answer, Arrays, Artifact
from pullback_export.sources.opening import open_source

SPEC = tf.TensorSpec([None, 3], tf.float32, name="x")
RNG = np.random.default_rng(0)
VALID = RNG.uniform(0.5, 2, (8, 3)).astype(np.float32)


def at_once(*conditions: Any) -> Any:
    """Assertions are operators in a graph and nothing when they run at once."""
    return tf.control_dependencies([item for item in conditions if item is not None])


def logarithm(x: Any) -> Any:
    with at_once(tf.debugging.assert_greater(x, 0.0, message="loads are positive")):
        return {"y": tf.reduce_sum(tf.math.log(x), -1)}


def patches(x: Any) -> Any:
    cut = tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID")
    return {"y": tf.reduce_sum(cut**2, [1, 2, 3])}


def inner_jacobian(x: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.tanh(x @ tf.ones((3, 2)))
    return {"y": tape.batch_jacobian(y, x)}


def whole_batches(x: Any) -> Any:
    with at_once(tf.debugging.assert_equal(tf.shape(x)[0] % 2, 0, message="rows come in pairs")):
        return {"y": tf.reduce_sum(x**2, 1)}


def some_rows(x: Any) -> Any:
    with at_once(tf.debugging.assert_greater(tf.shape(x)[0], 0, message="no rows")):
        return {"y": tf.reduce_sum(x**2, 1)}


def any_error(x: Any) -> Any:
    if tf.executing_eagerly() and x.shape[0] == 0:
        raise ZeroDivisionError("nothing to divide")
    return {"y": tf.reduce_sum(x**2, 1)}


REJECTED: list[tuple[Any, str, tf.TensorSpec, dict[str, Any] | None, tuple[str, ...]]] = [
    (patches, "gradient(y, x)", tf.TensorSpec([None, 4, 4, 3], tf.float32, "x"), None, ("0 rows",)),
    (inner_jacobian, "jacobian(y, x)", SPEC, None, ("0 rows",)),
    (some_rows, "hessian(y, x)", SPEC, None, ("0 rows",)),
    (some_rows, "hvp(y, x)", SPEC, {"x": VALID}, ("0 rows",)),
    (any_error, "gradient(y, x)", SPEC, None, ("0 rows",)),
    (any_error, "vjp(y, x)", SPEC, {"x": VALID}, ("0 rows",)),
    (whole_batches, "gradient(y, x)", SPEC, {"x": VALID}, ("7 rows like the samples", "1 row like the samples")),
    (logarithm, "gradient(y, x)", SPEC, {"x": VALID}, ("2 rows of zeros",)),
    (logarithm, "jvp(y, x)", SPEC, None, ("2 rows of zeros",)),
]


@pytest.mark.parametrize(("function", "request_", "spec", "samples", "labels"), REJECTED)
def test_drawn_samples_are_skipped(
    function: Any, request_: str, spec: tf.TensorSpec, samples: Any, labels: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    bundle = export(function, tmp_path / "it.pullback", [request_], inputs=[spec], samples=samples)
    assert bundle.manifest is not None
    notes: Any = bundle.manifest.parity["notes"]
    for label in labels:
        assert any(note.startswith(f"{label}: the live model rejects it") for note in notes), label
    assert bundle.verify().ok


def bad(row: int, count: int = 8) -> np.ndarray[Any, Any]:
    found = RNG.uniform(0.5, 2, (count, 3)).astype(np.float32)
    found[row, 1] = -1
    return found


REFUSED: list[tuple[Any, bool | None, str]] = [
    ({"x": bad(0)}, None, "samples: row 0 of 8: the live model rejects it: .*loads are positive"),
    ({"x": bad(5)}, None, "samples: row 5 of 8: "),
    ({"x": bad(7)}, None, "samples: row 7 of 8: "),
    ({"x": bad(0, 1)}, None, "samples: row 0 of 1: "),
    ({"x": bad(501, 1001)[np.r_[:501, 501, 501, 501, 501, 502:1001]]}, None, "samples: row 50[1-4] of 1004: "),
    ([{"x": VALID}, {"x": bad(3)}], None, r"samples\[1\]: row 3 of 8: "),
    ({"x": bad(2)}, False, "samples: the live model rejects it: "),
    ([{"x": VALID}, {"x": bad(2)}], False, r"samples\[1\]: the live model rejects it: "),
]


@pytest.mark.parametrize(("samples", "batched", "problem"), REFUSED)
@pytest.mark.parametrize("request_", ["gradient(y[0], x)", "vjp(y, x)"])
def test_a_row_of_the_callers_is_named(
    samples: Any, batched: bool | None, problem: str, request_: str, tmp_path: pathlib.Path
) -> None:
    if batched is None:
        request_ = request_.replace("y[0]", "y")
    with pytest.raises(ExportError, match=problem) as caught:
        export(logarithm, tmp_path / "it.pullback", [request_], inputs=[SPEC], samples=samples, batched=batched)
    assert "\n" not in str(caught.value)
    assert "loads are positive" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_rows_that_are_refused_together_are_named_together(tmp_path: pathlib.Path) -> None:
    def few(x: Any) -> Any:
        with at_once(tf.debugging.assert_less(tf.reduce_sum(x[:, 0]), 2.5, message="too many")):
            return {"y": tf.reduce_sum(x**2, 1)}

    with pytest.raises(ExportError, match=r"samples: rows 0 to 3 together of 4: .*too many"):
        export(few, tmp_path / "it.pullback", inputs=[SPEC], samples={"x": np.ones((4, 3))})


class Kinked(tf.Module):
    """The slope of ``relu`` at zero, and of a sort at a tie, is decided by the last bit."""

    @tf.function(input_signature=[SPEC])
    def __call__(self, x: Any) -> Any:
        return {"y": tf.reduce_sum(tf.nn.relu(x) * [1.0, 2.0, 3.0] + x**2, 1)}


def planted(monkeypatch: pytest.MonkeyPatch, sample: str, size: float, labels: Sequence[str]) -> None:
    """One entry of the gradient is off by ``size`` in the answer to one sample."""
    honest = Artifact.answers

    def answers(self: Artifact, samples: Sequence[Mapping[str, Any]]) -> list[Answer]:
        found = honest(self, samples)
        if len(samples) < len(labels):  # points around a sample, where it is right
            return found
        index = labels.index(sample)
        wrong: Arrays = {name: array.copy() for name, array in found[index]().items()}
        wrong["dy_dx"].flat[-1] += size
        found[index] = lambda: wrong
        return found

    monkeypatch.setattr(Artifact, "answers", answers)


DRAWN = ("7 random rows", "1 random row", "2 rows of zeros", "2 rows of large values", "0 rows")
GIVEN = ("the given samples", "7 rows like the samples", "1 row like the samples", "2 rows of zeros")


LARGE = ("4 random rows", "1 random row", "1 row of zeros", "1 row of large values", "0 rows")


@pytest.mark.parametrize(("at_once", "labels"), [(7, DRAWN), (6, LARGE)])
def test_large_rows_are_few(at_once: int, labels: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of which fewer than seven go through the model at once; not as many as another axis has, which is three."""
    monkeypatch.setattr(live_model, "BYTES_AT_ONCE", at_once * VALID[:1].nbytes)
    source = open_source(lambda x: {"y": x}, [tf.TensorSpec([None, 3], tf.float32, name="x")], None, None, False)
    drawn, _ = draw_samples(open_samples(source, None))
    assert tuple(sample.label for sample in drawn) == labels
    assert [len(sample.inputs["x"]) for sample in drawn] == [int(label.split()[0]) for label in labels]
    first, one = (sample.inputs["x"][:1] for sample in drawn[:2])
    assert np.array_equal(first, one) == (labels is LARGE)  # what a large row is known to be is not asked twice


def test_equal_rows_are_asked_once() -> None:
    """Equal in all inputs but those that have no rows: zeros of either sign and texts are told apart."""
    x = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    words = np.array(["a", "a", "b", "a"], object)
    inputs = {"x": x, "words": words, "shared": np.ones(2)}
    assert live_model.distinct(inputs, {"shared"}) == ([0, 1, 2], [0, 1, 2, 0])
    asked: list[int] = []

    def model(x: Any) -> Any:
        asked.append(len(x))
        return {"y": x}

    source = open_source(model, [tf.TensorSpec([None, 3], tf.float32, name="x")], None, None, False)
    function = Derivatives(source, [], "zero").functions()[0]
    drawn = [Sample("1", {"x": VALID[:1]}, 1, True, True), Sample("3", {"x": VALID[:3]}, 3, True, True)]
    given = [sample.inputs for sample in drawn]
    asked.clear()
    one, three = references(function, source, drawn, given, False)
    assert asked == [3]
    np.testing.assert_array_equal(one["y"], VALID[:1])  # type: ignore[call-overload, index]
    np.testing.assert_array_equal(three["y"], VALID[:3])  # type: ignore[call-overload, index]


@pytest.mark.parametrize(
    ("sample", "samples", "fails"),
    [
        ("7 random rows", None, True),
        ("1 random row", None, True),
        ("2 rows of zeros", None, False),
        ("2 rows of large values", None, True),
        ("the given samples", {"x": np.zeros((3, 3))}, True),
        ("the given samples", {"x": VALID}, True),
        ("7 rows like the samples", {"x": VALID}, True),
        ("2 rows of zeros", {"x": VALID}, False),
    ],
)
def test_only_what_is_determined_is_a_verdict_of_a_drawn_sample(
    sample: str, samples: Any, fails: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it.pullback"
    export(Kinked(), path, ["gradient(y, x)"], formats=("onnx",))
    planted(monkeypatch, sample, 150.0 if "large" in sample else 3.0, GIVEN if samples else DRAWN)
    report: Report = compare(Kinked(), path, samples)
    assert report.ok is not fails
    if fails:
        assert {row.stage.partition(": ")[2] for row in report.failures} == {sample}
        with pytest.raises(ParityError):
            report.require("it")
    else:
        assert any(note.startswith(f"{sample}: row(s) 1 of dy_dx skipped") for note in report.notes)


def test_what_is_skipped_is_not_golden(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, "2 rows of zeros", 3.0, DRAWN)
    bundle = export(Kinked(), tmp_path / "it.pullback", ["gradient(y, x)"], formats=("onnx",))
    cases = bundle.samples()["evaluate"]
    assert len(cases) == 1
    assert all(case.inputs["x"].any() for case in cases)


def test_a_model_that_takes_nothing_with_its_derivative_is_refused(tmp_path: pathlib.Path) -> None:
    @tf.custom_gradient
    def square(x: Any) -> Any:
        def slope(dy: Any) -> Any:
            with at_once(tf.debugging.assert_equal(tf.reduce_sum(dy), -1.0, message="no slope")):
                return 2 * x * dy

        return x**2, slope

    with pytest.raises(ExportError, match=r"the live model fails on a sample: .*no slope"):
        export(lambda x: {"y": tf.reduce_sum(square(x), 1)}, tmp_path / "it", ["gradient(y, x)"], inputs=[SPEC])


def softmax_weighted(x: Any) -> Any:
    weights = tf.exp(x)
    return {"y": tf.reduce_sum(weights * x, -1) / tf.reduce_sum(weights, -1)}


@pytest.mark.parametrize("spec", [SPEC, tf.TensorSpec([6], tf.float32, name="x")], ids=["rows", "whole"])
def test_very_large_values_at_which_the_live_model_cancels_do_not_refuse(
    spec: tf.TensorSpec, tmp_path: pathlib.Path
) -> None:
    bundle = export(softmax_weighted, tmp_path / "it.pullback", ["hessian(y, x)"], inputs=[spec], formats=("onnx",))
    notes: Any = bundle.manifest.parity["notes"]
    assert any("large values: " in note and "d2y_dx2 skipped: " in note for note in notes), notes


def early_return(x: Any) -> Any:
    """What ``tf.linalg.expm`` does for no rows: a constant, on which nothing depends."""
    return {"y": tf.zeros([0]) if x.shape[0] == 0 else tf.reduce_sum(tf.sin(x) ** 2, 1)}


def exponential(x: Any) -> Any:
    return {"y": tf.linalg.trace(tf.linalg.expm(x[:, :, tf.newaxis] * x[:, tf.newaxis]))}


KINDS = ["gradient(y, x)", "vjp(y, x)", "jvp(y, x)", "hvp(y, x)", "hessian(y, x)", "laplacian(y, x)"]
CONSTANTS = [
    pytest.param(early_return, KINDS, id="early_return"),
    pytest.param(exponential, ["gradient(y, x)", "jvp(y, x)"], id="exponential"),
    # The loop of all of its derivatives takes half a minute.
    pytest.param(exponential, KINDS, id="exponential, every kind", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "requests"), CONSTANTS)
def test_the_live_model_may_say_a_constant_where_its_graph_depends_on_the_input(
    model: Any, requests: list[str], tmp_path: pathlib.Path
) -> None:
    bundle = export(model, tmp_path / "m.pullback", requests, inputs=[SPEC])
    assert bundle(x=VALID[:0]).dy_dx.shape == (0, 3)
    with pytest.raises(ExportError, match="does not depend on x"):
        export(lambda x: {"y": tf.ones_like(x[:, 0])}, tmp_path / "c.pullback", ["gradient(y, x)"], inputs=[SPEC])
