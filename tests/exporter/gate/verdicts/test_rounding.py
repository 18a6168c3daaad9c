"""What rounding does to a model without an exact reference is asked for only as far as it decides.

It never covers a real error. (A float64 model has no reference that is more exact than it is itself.)
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
from pullback_export.derivatives.vectorization import mostly_one_by_one
from pullback_export.gate.check import _compare
from pullback_export.gate.live_answers import Judged
from pullback_export.gate.samples import Sample
from pullback_export.gate.verdicts.bounds import Bounds
from pullback_export.gate.verdicts.rounding_noise import PROBES, Rounding
from pullback_export.sources.opening import open_source

TOLERANCE = Tolerance()
ROWS = 5


def steep(x: Any) -> Any:
    """Beyond 1 it cancels: one unit in the last place of ``x`` is 1e5 in that of the result."""
    return {"y": tf.where(x > 1, (x - tf.round(x)) * 1e5, x)}


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


def judged(counted: Counted, x: Any, parted: bool = True) -> Judged:
    inputs = {"x": np.asarray(x, np.float32)}
    results = counted.function.compute(mostly_one_by_one, tf.constant(inputs["x"]))
    reference = {name: np.asarray(item) for name, item in zip(counted.function.outputs, results, strict=True)}
    counted.sizes.clear()
    rounding = Rounding(counted.function, inputs, reference, parted)
    return Judged(Sample("it", inputs, ROWS, True, True), inputs, reference, rounding)


def off_by(item: Judged, error: Any) -> dict[str, Any]:
    return {**item.reference, "y": (item.reference["y"] + np.asarray(error)).astype(np.float32)}


def check(item: Judged, actual: dict[str, Any]) -> Any:
    return _compare("it", item, actual, Bounds(TOLERANCE), set(), {})


def test_nothing_is_asked_where_the_tolerance_decides() -> None:
    counted = Counted()
    item = judged(counted, [0.1, 0.2, 0.3, 0.4, 2.0001])
    assert check(item, item.reference).ok
    assert counted.sizes == []


@pytest.mark.parametrize("parted", [True, False])
def test_rows_in_question_come_first(parted: bool) -> None:
    """One unit in the last place of one row explains it: one call with one row, and none for the next artifact."""
    counted = Counted()
    item = judged(counted, [0.1, 0.2, 0.3, 0.4, 2.0001], parted)
    unit = float(np.spacing(np.float32(2.0001))) * 1e5
    for _ in range(2):
        report = check(item, off_by(item, [0, 0, 0, 0, 4 * unit]))
        assert report.ok
        assert any("rounding" in warning for warning in report.warnings)
        assert counted.sizes == [1 if parted else ROWS]


def test_every_row_counts_in_the_end() -> None:
    """A row that does not move by itself is judged by the noise of the whole output, as it always was."""
    counted = Counted()
    item = judged(counted, [0.1, 0.2, 0.3, 0.4, 2.0001])
    unit = float(np.spacing(np.float32(2.0001))) * 1e5
    assert check(item, off_by(item, [4 * unit, 0, 0, 0, 0])).ok
    assert counted.sizes[: len(PROBES)] == [len(group) for group in PROBES]  # row 0 alone
    assert counted.sizes[len(PROBES) :] == [ROWS - 1]  # then the rest, until it is explained


@pytest.mark.parametrize("x", [[0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.2, 0.3, 0.4, 2.0001]])
def test_a_real_error_is_none_of_it(x: list[float]) -> None:
    """More than all of the noise: every probe of every row was asked, once, and the row fails."""
    counted = Counted()
    item = judged(counted, x)
    for _ in range(2):
        report = check(item, off_by(item, [0, 0, 1e4, 0, 0]))
        assert not report.ok
        assert "of its size" in report.failures[0].problem
        assert sum(counted.sizes) == ROWS * sum(len(group) for group in PROBES)


def test_a_small_error_of_a_smooth_row_fails() -> None:
    counted = Counted()
    item = judged(counted, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert not check(item, off_by(item, [0, 1e-4, 0, 0, 0])).ok
