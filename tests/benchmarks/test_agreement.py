"""An engine with a wrong answer has no time, and says by how much it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import engines, rounds
from tests.benchmarks.agreement import complaint, difference

EXACT = np.random.default_rng(0).normal(size=(64, 3))
LARGEST = np.abs(EXACT).max()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (EXACT, 0.0),
        (EXACT.reshape(64, 1, 3), 0.0),
        (EXACT + 1e-2 * LARGEST, 1e-2),
        (EXACT[:, :2], np.inf),
        (EXACT[:32], np.inf),
    ],
)
def test_difference_is_relative_to_the_largest_number(found: np.ndarray, expected: float) -> None:
    assert difference(found, EXACT) == pytest.approx(expected)


@pytest.mark.parametrize("number", [np.nan, np.inf, 5.0])
def test_one_wrong_number_is_seen(number: float) -> None:
    wrong = EXACT.copy()
    wrong[7, 1] = number
    assert not difference(wrong, EXACT) <= 1e-3


def test_one_row_of_thousands_may_be_on_the_other_side_of_a_kink() -> None:
    exact = np.ones((4000, 2))
    wrong = exact.copy()
    wrong[:4] = 0
    assert difference(wrong, exact) == 0
    wrong[4] = 0
    assert difference(wrong, exact) == 1


def test_wrong_engine_is_named() -> None:
    right = {"value": EXACT[:, :1], "derivative": EXACT}
    wrong = {"value": EXACT[:, :1], "derivative": 1.01 * EXACT}
    assert complaint(right, right) == ""
    found = rounds.compared({"pullback": right, "forward": {"value": right["value"]}, "jax": wrong})
    assert found == {"jax": "derivative wrong by 1.0e-02 of its largest number"}


def test_nothing_counts_where_pullback_has_no_answer() -> None:
    assert set(rounds.compared({"jax": {"derivative": EXACT}})) == {"jax"}


def test_every_engine_has_a_reference() -> None:
    assert engines.engine(rounds.REFERENCE).name == "pullback"
