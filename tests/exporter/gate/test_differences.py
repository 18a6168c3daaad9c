"""Central differences: no point twice, past kinks to smaller steps, and a wrong derivative is still contradicted.

Rows of large samples go through the model in pieces.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback.parity import Report
from pullback_export.derivatives.kinds import Jacobian
from pullback_export.derivatives.plan import Derivatives, Function
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.gate import live_model
from pullback_export.gate.differences import finite_differences
from pullback_export.gate.differences.attempts import FLOAT64
from pullback_export.gate.exact_source import ExactSource
from pullback_export.gate.live_model import live
from pullback_export.gate.samples import Sample
from pullback_export.sources.opening import open_source
from pullback_export.sources.source import Source

X = np.array([[0.3, -0.2, 0.9], [1.1, 0.4, -0.7], [-0.5, 0.8, 0.2]])


def smooth(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.sin(x) * x, 1)}


def kinked(x: Any) -> Any:
    """A kink 4e-7 beyond every tenth, as are those of ``X``: the larger steps cross it, the smaller ones do not."""
    beyond_tenth = 10 * x - tf.stop_gradient(tf.round(10 * x))
    return {"y": tf.reduce_sum(tf.nn.relu(beyond_tenth - 4e-6) / 10 + 2 * x, 1)}


def counted(function: Any) -> tuple[Source, list[Any]]:
    source = open_source(function, [tf.TensorSpec([None, 3], tf.float64, name="x")], None, None, False)
    points: list[Any] = []

    def call(*tensors: Any) -> tuple[Any, ...]:
        if tf.executing_eagerly():
            points.append(tensors[0].numpy())
        return source.call(*tensors)

    return dataclasses.replace(source, call=call), points


# Evaluations that tell whether the derivative itself jumps: here, and to either side.
JUMPS = 3


def check(source: Source, points: list[Any], text: str, factor: Any = 1.0, at: Any = X) -> Report:
    request = parse_request(text)
    (function,) = Derivatives(source, [request], "error").functions()
    reference = live(function, {"x": at})
    assert reference is not None
    reference[request.name] = reference[request.name] * factor
    points.clear()
    sample = Sample("it", {"x": at}, 3, True, True)
    return finite_differences.check(source, None, function, sample, {"x": at}, reference)


@pytest.mark.parametrize("text", ["gradient(y, x)", "hessian(y, x)", "laplacian(y, x)"])
def test_no_point_twice(text: str) -> None:
    source, points = counted(smooth)
    assert check(source, points, text).ok
    assert len({point.tobytes() for point in points}) == len(points)
    assert len(points) <= 1 + 2 * (6 if "laplacian" in text else 2)  # two steps at most


@pytest.mark.parametrize("text", ["gradient(y, x)", "hessian(y, x)", "laplacian(y, x)"])
def test_a_wrong_derivative_is_contradicted(text: str) -> None:
    """Every step is tried first, and then whether the derivative itself jumps here."""
    source, points = counted(smooth)
    report = check(source, points, text, 1.001)
    assert not report.ok
    assert "central differences" in report.failures[0].problem
    assert len(points) == 1 + (6 if "laplacian" in text else 2) * len(FLOAT64.steps) + JUMPS


def test_smaller_steps_past_kinks() -> None:
    """From the first step, which meets kinks, to the smallest that rounding hardly touches."""
    source, points = counted(kinked)
    report = check(source, points, "gradient(y, x)")
    assert report.ok
    assert report.notes == ()
    assert len(points) == 1 + 2 * 3  # 1e-5; 1e-6, whose rounding is small enough, but not its kinks; 1e-7


def test_a_wrong_derivative_between_kinks_is_contradicted() -> None:
    source, points = counted(kinked)
    assert not check(source, points, "gradient(y, x)", 1.01).ok
    assert len(points) == 1 + 2 * len(FLOAT64.steps) + JUMPS


def test_a_jump_of_the_derivative_at_a_tie_is_no_contradiction() -> None:
    """``max(x, 0) + min(x, 0)`` is ``x``, and TensorFlow says that its slope at zero is 2."""
    source, points = counted(lambda x: {"y": tf.reduce_sum(tf.maximum(x, 0) + tf.minimum(x, 0), 1)})
    inputs = X.copy()
    inputs[:, 1] = 0
    report = check(source, points, "gradient(y, x)", at=inputs)
    assert report.ok
    assert not check(source, points, "gradient(y, x)", 1.01).ok


@pytest.fixture
def two_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_model, "BYTES_AT_ONCE", 2 * X[0].nbytes)


def pieces(points: list[Any]) -> tuple[list[Any], list[int]]:
    """The points of one row alone that came first, and how many rows went through the source together after them."""
    sizes = [len(point) for point in points]
    alone = sizes.index(2) if 2 in sizes else len(sizes)
    return points[:alone], sizes[alone:]


@pytest.mark.parametrize("text", ["gradient(y, x)", "hessian(y, x)", "jacobian(y, x)"])
def test_large_rows_in_pieces(two_rows_at_once: None, text: str) -> None:
    """First one row, its centre and in both directions until a step suits it; then all rows, two at a time."""
    source, points = counted(smooth)
    assert check(source, points, text).ok
    first, sizes = pieces(points)
    assert len(first) in (3, 5, 7)
    assert all((point[0] == X[0]).all() or np.abs(point[0] - X[0]).max() < 1e-4 for point in first)
    assert sizes == [2, 1] * 3


def test_one_row_tells_of_kinks(two_rows_at_once: None) -> None:
    """The steps that cross its kinks are none for the other rows then."""
    source, points = counted(kinked)
    report = check(source, points, "gradient(y, x)")
    assert report.ok
    assert report.notes == ()
    first, sizes = pieces(points)
    assert len(first) == 1 + 2 * 3  # 1e-5 and 1e-6, which cross them; 1e-7
    assert sizes == [2, 1] * 3
    assert np.abs(points[len(first)] - X[:2]).max() < 2e-7


def on_kinks(x: Any) -> Any:
    """Every tenth is a kink, whatever the step."""
    return {"y": tf.reduce_sum(tf.abs(x - tf.stop_gradient(tf.round(10 * x) / 10)) + 2 * x, 1)}


@pytest.mark.parametrize("at_once", [2, 3])
def test_the_first_of_large_rows_is_enough_where_it_is_smooth_nowhere(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Whether all rows would go through at once, or not; the note says how many were not tried."""
    monkeypatch.setattr(live_model, "BYTES_AT_ONCE", at_once * X[0].nbytes)
    source, points = counted(on_kinks)
    report = check(source, points, "gradient(y, x)")
    assert report.ok
    of_the_last = 1 + 2 * 2
    assert [len(point) for point in points] == [1] * (1 + 2 * len(FLOAT64.steps) + of_the_last + 2 * JUMPS - 1)
    assert report.notes == (
        "gradient(y, x): 1 of 1 central differences lie at a kink and were skipped",
        "gradient(y, x): central differences of one row alone, which is large: 2 more were not tried",
    )


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_first_row_on_kinks_says_nothing_of_the_others(two_rows_at_once: None, factor: float) -> None:
    """The last row is smooth, so that all are tried."""
    source, points = counted(on_kinks)
    beside = X + np.array([[0], [0.03], [0.04]])
    report = check(source, points, "gradient(y, x)", factor, at=beside)
    assert report.ok is (factor == 1.0)
    assert not any("not tried" in note for note in report.notes)


@pytest.mark.parametrize("function", [smooth, kinked])
def test_a_wrong_derivative_of_large_rows_is_contradicted(two_rows_at_once: None, function: Any) -> None:
    """Every step of every row is tried, whatever one row said."""
    source, points = counted(function)
    report = check(source, points, "gradient(y, x)", 1.01)
    assert not report.ok
    assert "central differences" in report.failures[0].problem
    assert pieces(points)[1] == [2, 1] * (1 + 2 * len(FLOAT64.steps) + JUMPS)


def test_a_wrong_last_row_is_contradicted(two_rows_at_once: None) -> None:
    source, points = counted(smooth)
    assert not check(source, points, "gradient(y, x)", np.array([[1], [1], [1.001]])).ok


MANY = np.random.default_rng(4).normal(size=(3, 1000))


@pytest.mark.parametrize("kink", [False, True])
def test_rounding_in_many_components_is_no_kink(kink: bool) -> None:
    """A thousand values near one that hardly change: each is rounded, and together that is more than a kink may be.

    A kink of the first row is one all the same.
    """

    def many(x: Any) -> Any:
        bend = tf.nn.relu(x[:, :1] - X[0, 0]) if kink else 0.0
        return {"y": 1 + 1e-6 * (x @ MANY + bend)}

    source, points = counted(many)
    (_, function) = Derivatives(source, [parse_request("vjp(y, x)")], "error").functions()
    inputs = {"x": X, "adj_y": np.random.default_rng(6).normal(size=(3, 1000))}
    reference = live(function, inputs)
    assert reference is not None
    points.clear()
    report = finite_differences.check(source, None, function, Sample("it", {"x": X}, 3, True, True), inputs, reference)
    assert report.ok
    assert len(points) == 3  # one step is enough
    assert any(" 1 of 3 central differences lie at a kink" in note for note in report.notes) is kink


def exact_smooth() -> tuple[Source, ExactSource, Function]:
    source = open_source(smooth, [tf.TensorSpec([None, 3], tf.float32, name="x")], None, None, False)
    functions = Derivatives(source, [parse_request("hessian(y, x)")], "error").functions()
    return source, ExactSource.of(source, [trace(function) for function in functions]), functions[0]


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-4])
def test_the_truth_is_differentiated_in_float64(factor: float) -> None:
    """A float32 model: an error of 1e-4, which is beyond what differences in float32 could see, is contradicted."""
    source, exact, function = exact_smooth()
    x = X.astype(np.float32)
    truth = exact.functions["evaluate"]({"x": x})
    truth["d2y_dx2"] = truth["d2y_dx2"] * factor
    sample = Sample("it", {"x": x}, 3, True, True)
    report = finite_differences.check(source, exact, function, sample, sample.inputs, truth)
    assert report.rows[0].stage == "central differences in float64: it"
    assert report.ok is (factor == 1.0)


def test_the_derivative_below_is_traced_once() -> None:
    _, exact, _ = exact_smooth()
    below = Jacobian("y", "x", name="below")
    results = [exact.derivative(below)({"x": X + shift})["below"] for shift in (0, 0.1)]
    assert len(exact._traced) == 1
    for shift, result in zip((0, 0.1), results, strict=True):
        np.testing.assert_allclose(result, np.sin(X + shift) + (X + shift) * np.cos(X + shift), rtol=1e-14)
