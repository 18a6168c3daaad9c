"""Points beside a sample are evaluated only as far as they decide, and never cover a real error.

Here without a truth: what rounding does to the live model is its noise, and where it jumps it is not determined. (A
float64 model has no reference that is more exact than it is itself.)
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback.manifest import Tolerance
from pullback_export.derivatives.plan import Derivatives, Function
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.derivatives.vectorization import mostly_one_by_one
from pullback_export.gate import live_model
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.live_answers import AcceptedSample
from pullback_export.gate.live_model import answer
from pullback_export.gate.samples import Sample
from pullback_export.gate.sampling.given import Given
from pullback_export.gate.verdicts.bounds import Bounds
from pullback_export.gate.verdicts.comparison import compare_sample
from pullback_export.gate.verdicts.points_beside import STEPS, PointsBeside, moved_by_units
from pullback_export.gate.verdicts.surroundings import Surroundings, persistent
from pullback_export.sources.opening import open_source

TOLERANCE = Tolerance()
ROWS = 5


def steep(x: Any) -> Any:
    """Beyond 1 it cancels: one unit in the last place of ``x`` is 1e4 in that of the result. At 0.25 it jumps."""
    return {"y": tf.where(x > 1, (x - tf.round(x)) * 1e4, x + tf.where(x > 0.25, 1.0, 0.0))}


POINTS = sum(len(group) for group in STEPS)


class Counted:
    """A function that keeps the sizes of the batches it was called with."""

    def __init__(self) -> None:
        source = open_source(steep, [tf.TensorSpec([None], tf.float32, name="x")], None, None, False)
        (function,) = Derivatives(source, [parse_request("gradient(y, x)")], "error").functions()
        self.sizes: list[int] = []

        def compute(vectorize: Any, *tensors: Any) -> list[Any]:
            self.sizes.append(int(tensors[0].shape[0]))
            return list(function.compute(mostly_one_by_one, *tensors))

        self.function: Function = dataclasses.replace(function, compute=compute)


def sample_of(counted: Counted, x: Any, independent: bool = True, drawn: bool = False) -> AcceptedSample:
    inputs = {"x": np.asarray(x, np.float32)}
    results = counted.function.compute(mostly_one_by_one, tf.constant(inputs["x"]))
    reference = {name: np.asarray(item) for name, item in zip(counted.function.outputs, results, strict=True)}
    counted.sizes.clear()
    given = None if drawn else Given("samples", inputs)
    surroundings = Surroundings(counted.function, None, inputs, independent, drawn)
    return AcceptedSample(Sample("it", inputs, ROWS, True, True, given), inputs, reference, surroundings)


def off_by(item: AcceptedSample, error: Any) -> dict[str, Any]:
    return {**item.reference, "y": (item.reference["y"] + np.asarray(error)).astype(np.float32)}


def check(item: AcceptedSample, actual: dict[str, Any]) -> Any:
    return compare_sample("it", item, actual, Bounds(TOLERANCE), set(), {}, refusing)[0]


def refusing(points: Any) -> Any:
    """An artifact that says nothing around the sample."""
    return [lambda: {} for _ in points]


def test_nothing_is_asked_where_the_tolerance_decides() -> None:
    counted = Counted()
    item = sample_of(counted, [0.1, 0.2, 0.3, 0.4, 2.0001])
    assert check(item, item.reference).ok
    assert counted.sizes == []


@pytest.mark.parametrize("independent", [True, False])
def test_rows_in_question_come_first(independent: bool) -> None:
    """One unit in the last place of one row explains it: one call, and none for the next artifact.

    What is one row goes through the model at all points at once.
    """
    counted = Counted()
    item = sample_of(counted, [0.1, 0.2, 0.3, 0.4, 2.0001], independent)
    unit = float(np.spacing(np.float32(2.0001))) * 1e4
    for _ in range(2):
        report = check(item, off_by(item, [0, 0, 0, 0, 4 * unit]))
        assert report.ok
        assert any("rounding" in warning for warning in report.warnings)
        assert counted.sizes == [POINTS if independent else ROWS]


def test_every_row_counts_in_the_end() -> None:
    """A row that does not move by itself is compared with the noise of the whole output, as it always was."""
    counted = Counted()
    item = sample_of(counted, [0.1, 0.2, 0.3, 0.4, 2.0001])
    unit = float(np.spacing(np.float32(2.0001))) * 1e4
    assert check(item, off_by(item, [3 * unit, 0, 0, 0, 0])).ok
    assert counted.sizes == [POINTS, ROWS - 1]  # row 0 alone, then the rest, until it is explained


@pytest.mark.parametrize("x", [[0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.2, 0.3, 0.4, 2.0001]])
def test_a_real_error_is_none_of_it(x: list[float]) -> None:
    """More than all of the noise: every probe of every row was asked, once, then a pair around it, and it fails."""
    counted = Counted()
    item = sample_of(counted, x)
    for _ in range(2):
        report = check(item, off_by(item, [0, 0, 1e4, 0, 0]))
        assert not report.ok
        assert "of its size" in report.failures[0].problem
        assert sum(counted.sizes) == ROWS * POINTS + 2


def test_a_small_error_of_a_smooth_row_fails() -> None:
    counted = Counted()
    item = sample_of(counted, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert not check(item, off_by(item, [0, 1e-4, 0, 0, 0])).ok


def test_a_row_is_asked_once_whichever_rows_it_is_asked_with() -> None:
    counted = Counted()
    item = sample_of(counted, [0.1, 0.2, 0.3, 0.4, 2.0001])
    points = PointsBeside(counted.function, item.inputs, True, False)
    (four,) = points.answers(0, [4], None)
    (both,) = points.answers(0, [1, 4], None)
    assert counted.sizes == [POINTS, POINTS]
    assert both[0]["y"].tolist() == [*points.answers(0, [1], None)[0][0]["y"], *four[0]["y"]]
    assert len(points.answers(1, [4, 1], None)) == len(STEPS[1])
    assert counted.sizes == [POINTS, POINTS]


def test_a_row_that_is_refused_says_nothing_of_its_company() -> None:
    counted = Counted()
    compute = counted.function.compute

    def picky(vectorize: Any, *tensors: Any) -> list[Any]:
        tf.debugging.assert_less(tensors[0], 2.5)
        return list(compute(vectorize, *tensors))

    function = dataclasses.replace(counted.function, compute=picky)
    points = PointsBeside(function, {"x": np.array([0.1, 3.0], np.float32)}, True, False)
    assert points.answers(0, [0, 1], None) == []
    assert len(points.answers(0, [0], None)) == 1
    assert points.answers(0, [1], None) == []


def test_of_large_rows_only_the_points_of_a_group_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass costs more than a row, unless the row is large."""
    monkeypatch.setattr(live_model, "BYTES_AT_ONCE", len(STEPS[1]) * 4)
    counted = Counted()
    points = PointsBeside(counted.function, {"x": np.array([2.0001], np.float32)}, True, False)
    for number, group in enumerate(STEPS):
        assert len(points.answers(number, [0], None)) == len(group)
    assert counted.sizes == [len(group) for group in STEPS]


AT_THE_JUMP = [0.1, 0.2, 0.25, 0.4, 0.5]


@pytest.mark.parametrize("drawn", [True, False])
def test_a_jump_is_not_determined(drawn: bool) -> None:
    """A drawn row is skipped with a note, of the caller's the artifact may be on the other side."""
    item = sample_of(Counted(), AT_THE_JUMP, drawn=drawn)
    report = check(item, off_by(item, [0, 0, 1, 0, 0]))
    assert report.ok
    if drawn:
        assert report.notes[0].startswith("it: row(s) 2 of y skipped")
    else:
        assert report.warnings == (
            "it: y: 1 row(s) are not determined by inputs of this precision and were compared with the live model",
        )


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("error", [[0, 0, 0, 1e-3, 0], [0, 0, 1, 1e-3, 0], [1e-3, 0, 0, 0, 0]])
def test_a_jump_excuses_no_other_row(drawn: bool, error: list[float]) -> None:
    item = sample_of(Counted(), AT_THE_JUMP, drawn=drawn)
    report = check(item, off_by(item, error))
    assert not report.ok


def test_the_callers_jump_is_only_so_high() -> None:
    item = sample_of(Counted(), AT_THE_JUMP)
    assert not check(item, off_by(item, [0, 0, 50, 0, 0])).ok


def side(x: Any) -> Any:
    return {"y": tf.argmax(tf.stack([x, 0.5 - x], -1), -1)}


@pytest.mark.parametrize(("drawn", "wrong", "passes"), [(True, 1, True), (False, 1, True), (False, 2, False)])
def test_a_whole_number_at_a_tie_is_one_that_is_found_beside_it(drawn: bool, wrong: int, passes: bool) -> None:
    source = open_source(side, [tf.TensorSpec([None], tf.float32, name="x")], None, None, False)
    (function,) = Derivatives(source, [], "error").functions()
    inputs = {"x": np.array([0.25, 0.75], np.float32)}
    reference = {"y": np.array([0, 0])}
    given = None if drawn else Given("samples", inputs)
    surroundings = Surroundings(function, None, inputs, True, drawn)
    item = AcceptedSample(Sample("it", inputs, 2, True, True, given), inputs, reference, surroundings)
    assert check(item, {"y": np.array([wrong, 0])}).ok is passes
    assert not check(item, {"y": np.array([0, 1])}).ok


@pytest.mark.parametrize(
    ("array", "zeros", "moved"),
    [
        ([0.0, 2.0], True, [True, True]),
        ([0.0, 2.0], False, [False, True]),
        ([0.0, 0.0], True, [True, True]),
        ([0.0, 1.0], True, [False, False]),
    ],
)
def test_zeros_of_drawn_samples_move(array: list[float], zeros: bool, moved: list[bool]) -> None:
    before = np.array(array, np.float32)
    after = moved_by_units(before, 1.0, np.random.default_rng(0), zeros)
    assert list(after != before) == moved
    assert np.abs(after - before).max() <= 4e-7


def cancelling(x: Any, a: Any, b: Any) -> Any:
    """Where ``a`` is 0.3 and ``b`` is 0.7, live float32 cancels exactly; TensorFlow's optimiser folds 0.3 and 0.7."""
    return {"y": x * 0.3 * 0.7 - x * a * b + 3e-5 * x}


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (20.0, False)])
def test_the_graph_of_the_truth_tells_its_rounding_where_live_cancels_exactly(factor: float, passes: bool) -> None:
    specs = [tf.TensorSpec([None], tf.float32, name=name) for name in "xab"]
    source = open_source(cancelling, specs, None, None, True)
    (function,) = Derivatives(source, [], "error").functions()
    exact = ExactFunction(trace(function))
    x = np.linspace(0.5, 8, 16, dtype=np.float32)
    inputs = {"x": x, "a": np.full_like(x, 0.3), "b": np.full_like(x, 0.7)}
    live, truth = answer(function, inputs), exact(inputs)
    item = AcceptedSample(
        Sample("it", inputs, 16, False, True), inputs, live, Surroundings(function, exact, inputs, True, True), truth
    )
    error = exact.unconverted(inputs)["y"] - truth["y"]
    assert np.abs(error).max() > 10 * item.expected("y").live_error + 1e-4 * item.expected("y").scale
    wrong = {"y": (truth["y"] + factor * error).astype(np.float32)}
    assert check(item, wrong).ok is passes


@pytest.mark.parametrize(
    ("draws", "noise"),
    [
        ([1e-6, 2e-6, 9e-5], 9e-5),  # little of it counts as it is
        ([1e-6, 5e-3], 0.0),  # a jump
        ([1e-6, 2e-6, 5e-3], 2e-6),
        ([1e-6, 5e-3, 6e-3], 6e-3),  # rounding, of which the first was a lucky draw
        ([5e-4, 6e-4, 2e-3], 2e-3),
        ([1e-3, 2e-3, 5e-2], 2e-3),  # never rounding
    ],
)
def test_an_error_that_comes_and_goes_is_no_rounding(draws: list[float], noise: float) -> None:
    found = persistent(np.array([[0.0, draw] for draw in draws]))
    assert found.tolist() == [0, noise if noise else min(draws)]
