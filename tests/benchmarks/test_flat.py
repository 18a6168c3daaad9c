"""The cost of flat views, as a ratio of one run: what doubles it is noticed, whatever else the machine does."""

from __future__ import annotations

import pytest

from tests.benchmarks import flat


@pytest.mark.parametrize("row", flat.ROWS[:4], ids=lambda row: f"{row[0]} {row[3]}")
def test_a_view_costs_a_part_of_its_call(row: tuple[str, str, str, str, tuple[str, ...]]) -> None:
    """On an idle machine about 1.3 of the call of a tiny network, which takes 11 microseconds."""
    # Other programs only make it dearer: the cheapest of some measurements counts.
    assert min(flat.measure(*row, rounds=40, calls=50).ratio for _ in range(3)) < 2
