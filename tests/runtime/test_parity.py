"""``compare``: what passes, what fails, and what the report says."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from pullback import ParityError, Report, Tolerance, compare

TOLERANCE = Tolerance(float32=1e-5, float64=1e-11)
NAN, INF = np.nan, np.inf
MAX, MAX64 = float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)

# Expected, actual, dtype, and a piece of the problem ("" where it passes).
ROWS: list[tuple[str, Any, Any, str, str]] = [
    ("equal", [1.0, 2.0], [1.0, 2.0], "float32", ""),
    ("within", [1.0, 100.0], [1.0005, 100.0], "float32", ""),
    ("beyond", [1.0, 100.0], [1.002, 100.0], "float32", "off by 2e-05 of its size"),
    ("within float64", [1.0], [1.0 + 1e-12], "float64", ""),
    ("beyond float64", [1.0], [1.0 + 1e-10], "float64", "off by 1e-10"),
    ("NaN in the same place", [1.0, NAN], [1.0, NAN], "float32", ""),
    ("NaN where none is expected", [1.0, 2.0], [1.0, NAN], "float32", "nan where 2 is expected, at (1,)"),
    ("a number where NaN is expected", [1.0, NAN], [1.0, 0.0], "float32", "0 where nan is expected"),
    ("infinity in the same place", [1.0, INF], [1.0, INF], "float32", ""),
    ("infinity of the other sign", [1.0, INF], [1.0, -INF], "float32", "-inf where inf is expected"),
    ("infinity where none is expected", [1.0, 2.0], [1.0, INF], "float32", "inf where 2 is expected"),
    ("a number where infinity is expected", [1.0, -INF], [1.0, MAX], "float32", "where -inf is expected"),
    ("NaN where infinity is expected", [INF], [NAN], "float32", "nan where inf is expected"),
    ("all NaN", [NAN, NAN], [NAN, NAN], "float32", ""),
    ("huge values", [MAX, -MAX], [MAX, -MAX], "float32", ""),
    ("huge values of opposite sign", [MAX64], [-MAX64], "float64", "off by"),
    ("zero", [0.0, 0.0], [0.0, -0.0], "float32", ""),
    ("nearly zero where zero is expected", [0.0], [1e-30], "float32", "off by inf"),
    ("subnormal", [1e-45], [1e-45], "float32", ""),
    ("empty", [], [], "float32", ""),
    ("integers", [1, 2], [1, 2], "int32", ""),
    ("integers that differ", [1, 2], [1, 3], "int32", "off by"),
    ("large integers that differ by one", [2**60], [2**60 + 1], "int64", "off by"),
    ("booleans", [True, False], [True, False], "bool", ""),
    ("booleans that differ", [True, False], [True, True], "bool", "off by"),
]


@pytest.mark.parametrize(("expected", "actual", "dtype", "problem"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_compare(expected: Any, actual: Any, dtype: str, problem: str) -> None:
    report = compare({"y": np.array(expected, dtype)}, {"y": np.array(actual, dtype)}, TOLERANCE)
    assert problem in report.rows[0].problem
    assert report.ok is not bool(problem)
    assert bool(report.failures) is bool(problem)


def test_what_does_not_match_at_all() -> None:
    zeros = np.zeros((2, 3), np.float32)
    report = compare(
        {"shape": zeros, "dtype": zeros, "gone": zeros},
        {"shape": zeros.T, "dtype": zeros.astype(float), "new": zeros},
        TOLERANCE,
    )
    assert [row.problem for row in report.rows] == [
        "shape (3, 2) instead of (2, 3)",
        "dtype float64 instead of float32",
        "missing from the result",
        "not expected",
    ]
    json.dumps(report.to_dict(), allow_nan=False)
    assert str(report)


def test_numbers_of_a_row() -> None:
    want = np.array([[1.0, -4.0], [2.0, 0.0]])
    got = want + np.array([[0.0, 0.0], [0.3, 0.4]])
    (row,) = compare({"y": want}, {"y": got}, TOLERANCE, stage="onnx").rows
    assert (row.stage, row.scale, row.worst, row.shape) == ("onnx", 4.0, (1, 1), (2, 2))
    assert row.max_error == pytest.approx(0.4)
    assert row.rms_error == pytest.approx(0.25)
    assert row.relative_error == pytest.approx(0.1)


def test_zero_derivatives_are_a_warning() -> None:
    zeros = {"y": np.zeros(3), "dy_dx": np.zeros(3)}
    report = compare(zeros, zeros, TOLERANCE, derivatives=("dy_dx",), stage="live")
    assert report.ok
    assert report.warnings == ("live: dy_dx: the derivative is zero in every sample",)
    assert "warning: live: dy_dx" in str(report)


def test_a_least_scale() -> None:
    want, got = {"y": np.zeros(3, np.float32)}, {"y": np.full(3, 1e-6, np.float32)}
    assert not compare(want, got, TOLERANCE).ok
    assert compare(want, got, TOLERANCE, scales={"y": 1.0}).ok


def test_merge_require_and_pickle() -> None:
    good = compare({"y": [1.0]}, {"y": [1.0]}, TOLERANCE, stage="a")
    bad = compare({"y": [1.0]}, {"y": [1.1]}, TOLERANCE, stage="b") + compare({"z": [1.0]}, {"z": [2.0]}, TOLERANCE)
    assert good.require("net") is good
    with pytest.raises(ParityError, match=r"net: z: off by 1 .*\(2 of 3 comparisons failed; see .report\)") as caught:
        (good + bad).require("net")
    assert caught.value.report == good + bad == pickle.loads(pickle.dumps(good + bad))
    assert (Report() + good).rows == good.rows
