"""The verdict: how far an artifact may be from the truth, and what the live model's own error excuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pullback_export.gate.verdicts.verdict import LARGEST_LIVE_ERROR, LIVE_FACTOR, Expected, assess

NAN, INF = np.nan, np.inf
TOLERANCE = 1e-5
TRUTH = np.array([1.0, -2.0, 4.0])

# What is true, live and in the artifact, and whether it passes.
ROWS: list[tuple[str, Any, Any, Any, bool]] = [
    ("all right", TRUTH, TRUTH, TRUTH, True),
    ("within the tolerance", TRUTH, TRUTH, TRUTH + 3e-5, True),
    ("beyond the tolerance", TRUTH, TRUTH, TRUTH + 6e-5, False),
    ("live is off, the bundle is not", TRUTH, TRUTH + 3e-3, TRUTH, True),
    ("both are off", TRUTH, TRUTH + 3e-3, TRUTH - 6e-3, True),
    ("the bundle is off by far more", TRUTH, TRUTH + 3e-3, TRUTH + 2e-2, False),
    ("a broken live model excuses nothing", TRUTH, TRUTH + 1e34, TRUTH + 1e-3, False),
    ("a broken live model does not harm", TRUTH, TRUTH + 1e34, TRUTH, True),
    ("as broken as the live model", TRUTH, TRUTH + 1e34, TRUTH + 1e34, False),
    ("live is NaN, the bundle is right", TRUTH, [1.0, NAN, 4.0], TRUTH, True),
    ("live is NaN, the bundle is wrong", TRUTH, [1.0, NAN, 4.0], [1.0, -2.1, 4.0], False),
    ("as NaN as the live model", TRUTH, [1.0, NAN, 4.0], [1.0, NAN, 4.0], True),
    ("live is finite, the bundle NaN", TRUTH, TRUTH, [1.0, NAN, 4.0], False),
    ("live is finite, the bundle infinite", TRUTH, TRUTH, [1.0, -INF, 4.0], False),
    ("all of them NaN", [1.0, NAN, 4.0], [1.0, NAN, 4.0], [1.0, NAN, 4.0], True),
    ("a number where all others are NaN", [1.0, NAN, 4.0], [1.0, NAN, 4.0], [1.0, 2.0, 4.0], False),
    ("beyond float32", [1.0, 1e40, 4.0], [1.0, INF, 4.0], [1.0, INF, 4.0], True),
    ("beyond float32 of the other sign", [1.0, 1e40, 4.0], [1.0, INF, 4.0], [1.0, -INF, 4.0], False),
    ("float64 fails where float32 does not", [1.0, NAN, 4.0], TRUTH, TRUTH, True),
    ("subnormal", [1e-44, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], True),
    ("zero", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1e-20, 0.0], False),
]


@pytest.mark.parametrize(("truth", "live", "actual", "passes"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_floats(truth: Any, live: Any, actual: Any, passes: bool) -> None:
    expected = Expected(np.asarray(live, np.float32), np.asarray(truth))
    row = assess("it", "y", expected, np.asarray(actual, np.float32), TOLERANCE).row
    assert row.ok is passes
    assert (row.reference, row.dtype) == ("float64 truth", "float32")


@pytest.mark.parametrize(
    ("truth", "live", "actual", "passes"),
    [
        ([1, 2], [1, 2], [1, 2], True),
        ([1, 3], [1, 2], [1, 3], True),
        ([1, 3], [1, 2], [1, 2], True),
        ([1, 2], [1, 2], [1, 3], False),
        ([1, 3], [1, 2], [1, 4], False),
    ],
)
def test_whole_numbers_are_those_of_one_of_the_two(truth: Any, live: Any, actual: Any, passes: bool) -> None:
    row = assess("it", "y", Expected(np.asarray(live), np.asarray(truth)), np.asarray(actual), 0.0).row
    assert row.ok is passes


def test_numbers_of_a_row() -> None:
    live = (TRUTH + np.array([0, 0, 4e-3])).astype(np.float32)
    row = assess("it", "y", Expected(live, TRUTH), (TRUTH + np.array([0, 8e-3, 0])).astype(np.float32), TOLERANCE).row
    assert row.ok
    assert row.live_error == pytest.approx(4e-3, rel=1e-3)
    assert row.relative_live_error == pytest.approx(1e-3, rel=1e-3)
    assert row.max_error == pytest.approx(8e-3, rel=1e-3)
    assert row.bound == pytest.approx(TOLERANCE + LIVE_FACTOR * 1e-3, rel=1e-3)


# A live model that is off by more than rounding, and what is skipped of a sample that is drawn, extreme, or neither.
CANCELLED = np.array([[1.0, -2.0], [1.0, 4.0]])
LIVE_CANCELLED = CANCELLED + np.array([[0.0, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("drawn", "extreme", "wrong_in", "skipped"),
    [
        (True, True, 0, (0,)),
        (True, False, 0, ()),  # an ordinary sample: a live model that is wrong there excuses nothing
        (False, False, 0, ()),
        (True, True, 1, ()),  # the live model is right in this row
    ],
)
def test_extreme_rows_that_the_live_model_gets_wrong_are_skipped(
    drawn: bool, extreme: bool, wrong_in: int, skipped: tuple[int, ...]
) -> None:
    expected = Expected(LIVE_CANCELLED.astype(np.float32), CANCELLED, drawn=drawn, extreme=extreme)
    actual = CANCELLED.copy()
    actual[wrong_in] += 0.9
    found = assess("it", "y", expected, actual.astype(np.float32), TOLERANCE)
    assert found.skipped == skipped
    assert found.row.ok is bool(skipped)


@pytest.mark.parametrize("error", [0.5 * LARGEST_LIVE_ERROR, 2 * LARGEST_LIVE_ERROR])
def test_there_is_a_largest_excuse(error: float) -> None:
    live = (TRUTH * (1 + error)).astype(np.float32)
    excuse = Expected(live, TRUTH).excuse
    assert excuse == pytest.approx(LIVE_FACTOR * error if error < LARGEST_LIVE_ERROR else 0.0, rel=1e-3)


def test_rows_where_the_truth_jumps_have_to_be_as_the_live_ones() -> None:
    """A kink at the second row: the truth lies on its other side."""
    truth, live = np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]], np.float32)
    for actual, passes in (
        (live, True),
        (np.array([[1.0], [3e2]], np.float32), False),
        (live + np.array([[0.1], [0]]), False),
    ):
        expected = Expected(live, truth, moves=np.array([[0.0], [1.0]]))
        assert assess("it", "y", expected, actual.astype(np.float32), TOLERANCE).row.ok is passes


@pytest.mark.parametrize("moves", [0.02, 0.005])
def test_what_moves_by_more_than_rounding_is_not_determined_however_much_is_allowed(moves: float) -> None:
    """Without a truth the noise beside a drawn sample may allow 4 % here, and what moves by 2 % is no noise."""
    live = np.ones((1, 4))
    expected = Expected(
        live, None, independent=False, drawn=True, noise=LARGEST_LIVE_ERROR, moves=moves * np.ones((1, 4))
    )
    assert bool(assess("it", "y", expected, live + 0.5, TOLERANCE).skipped) is (moves > LARGEST_LIVE_ERROR)


@pytest.mark.parametrize("actual", [np.zeros((2, 1), np.float32), np.zeros(3), np.zeros(3, np.int32)])
def test_shape_and_dtype_are_the_live_ones(actual: Any) -> None:
    assert not assess("it", "y", Expected(np.zeros(3, np.float32), np.zeros(3)), actual, TOLERANCE).row.ok


def test_golden_numbers_are_the_truth_rounded() -> None:
    live = np.array([1.001, 5.0, NAN], np.float32)
    rounded = Expected(live, np.array([1.0, 1.0, 2.0])).rounded
    np.testing.assert_array_equal(rounded, np.array([1.0, 5.0, NAN], np.float32))


@pytest.mark.parametrize(("sure", "noise", "passes"), [(1e-2, 0.0, True), (2e-4, 0.0, False), (2e-4, 1e-3, True)])
def test_what_live_is_off_by_counts_as_far_as_that_is_sure(sure: float, noise: float, passes: bool) -> None:
    """Beyond that it counts where the points beside the sample, of which the noise is, say so."""
    expected = Expected(np.float32(TRUTH + np.array([4e-3, 0, 4e-4])), TRUTH, sure=sure, noise=noise)
    for error, right in ((1.2e-2, passes), (1.5e-3, True)):
        actual = np.float32(TRUTH + np.array([0, error, 0]))
        assert assess("it", "y", expected, actual, TOLERANCE).row.ok is right
