"""A few planted faults and right exports of each family in ``make test``; all of them in ``make gate``."""

from __future__ import annotations

import pathlib
import zlib
from typing import Any

import pytest
from pullback_export.optimize import pipeline

from tests.error_rates.faults import RewriteFault, all_faults
from tests.error_rates.outcome import Outcome, try_fault
from tests.error_rates.page import WRONG, summary
from tests.error_rates.record import Record
from tests.error_rates.run import reaching
from tests.error_rates.subjects import NETWORKS, SIZED

# Of each family two faults; ``make gate`` plants all.
FAULTS = all_faults()
FAMILIES = sorted({fault.family for fault in FAULTS})
SLOW = ("numerics",)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in FAMILIES]
)
def test_a_planted_fault_is_caught(family: str, number: int) -> None:
    found = [fault for fault in FAULTS if fault.family == family]
    fault = found[(zlib.crc32(family.encode()) + number * len(found) // 2) % len(found)]
    outcome = try_fault(fault, reaching(fault)[:2])
    assert outcome.verdict not in WRONG, outcome


def test_every_fault_finds_what_it_breaks() -> None:
    for fault in FAULTS:
        with fault.planted() as planted:
            assert planted.changed == 0


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.family == "sizes"], ids=lambda fault: fault.name)
def test_sizes_that_are_off_by_one_are_caught(fault: Any) -> None:
    """All but two change a number of these networks: what is cut off at run time does not ask how long it is."""
    outcome = try_fault(fault, SIZED)
    expected = "unseen" if fault.name in ("__mod__: one too small", "minimum: one too small") else "caught"
    assert outcome.verdict == expected, outcome


# What it gives are strings, of which no number can be planted wrong: its rows are in test_gathered_strings.py.
OF_STRINGS = "one_by_one"


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [row for row in (*pipeline.LOCAL, *pipeline.FINAL) if row.name != OF_STRINGS], ids=lambda row: row.name
)
def test_some_network_reaches_every_rewrite(row: Any, tmp_path: pathlib.Path) -> None:
    table = "LOCAL" if row in pipeline.LOCAL else "FINAL"
    outcome = try_fault(RewriteFault(table, row.name, "wrong factor"), NETWORKS)
    assert outcome.verdict == "caught", outcome


def test_rates_count_what_was_compared() -> None:
    outcomes = [
        Outcome(name, "", "", name) for name in ("caught", "missed", "unseen", "accepted", "refused", "stopped")
    ]
    assert summary(outcomes).splitlines()[0].startswith("planted faults caught: 1 of 2 ")
    assert summary(outcomes).splitlines()[1] == "right exports refused: 1 of 2"


def test_a_record_goes_on_where_a_run_was_stopped(tmp_path: pathlib.Path) -> None:
    outcome = Outcome("matmul, float32, free sizes", "", "right export", "refused", "ParityError: off")
    Record(tmp_path / "record").add(("row", 7), outcome)
    assert Record(tmp_path / "record").known == {("row", 7): outcome}
