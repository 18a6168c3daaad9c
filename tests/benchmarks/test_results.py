"""What was measured is kept: a run takes the place of what it measured, and of nothing else."""

from __future__ import annotations

import pathlib

import pytest

from tests.benchmarks import causes
from tests.benchmarks.results import Results, load
from tests.benchmarks.rows import Result, Row

OPERATORS = [{"op": "Mul", "count": 3, "us": 300.0, "share": 1.0, "node": ""}]


def row(work: str, batch: int, machine: str = "here", **seconds: float) -> Row:
    paired = (seconds["pullback"],)
    results = tuple(Result(name, (time,), "", paired, "day") for name, time in seconds.items())
    return Row(work, batch, 1, results, machine=machine)


def test_rows_are_merged_in_the_order_of_the_tables(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results.json"
    published = Results(starts=[{"engine": "jax"}], machines={"here": {"date": "day"}})
    for item in (row("lstm", 1, pullback=4.0, jax=2.0), row("bowl", 64, pullback=1.0)):
        published.add(item)
    published.profiles |= {"here: lstm 1 1": OPERATORS, "here: bowl 64 1": OPERATORS}
    published.save(path)
    again = load(path)
    assert again == published

    again.merge(
        Results([row("lstm", 1, pullback=3.0), row("bowl", 1, pullback=5.0)], machines={"here": {"date": "later"}})
    )
    assert [(item.work, item.batch) for item in again.rows] == [("bowl", 1), ("bowl", 64), ("lstm", 1)]
    lstm = again.rows[2]
    assert lstm.seconds("pullback") == 3.0
    assert lstm.ratios("jax", "pullback") == [0.5]
    assert set(again.profiles) == {"here: bowl 64 1"}
    assert (again.starts, again.machines) == ([{"engine": "jax"}], {"here": {"date": "later"}})


def test_each_machine_has_rows_of_its_own() -> None:
    published = Results([row("bowl", 1, pullback=1.0)], machines={"here": {"date": "1"}, "there": {"date": "2"}})
    published.profiles[causes.key(published.rows[0])] = OPERATORS
    published.merge(Results([row("bowl", 1, "there", pullback=2.0)], machines={"there": {"date": "3"}}))
    assert [(item.machine, item.seconds("pullback")) for item in published.rows] == [("here", 1.0), ("there", 2.0)]
    assert [item.machine for item in published.of_latest()] == ["there"]
    assert published.profiles, "a row of another machine took the profile away"
    published.merge(Results([row("bowl", 1, pullback=3.0)], machines={"here": {"date": "4"}}))
    assert [item.seconds("pullback") for item in published.of_latest()] == [3.0]
    assert list(published.machines.items()) == [("there", {"date": "3"}), ("here", {"date": "4"})]


def test_a_row_or_engine_that_is_no_more_is_dropped(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results.json"
    Results([row("bowl", 1, pullback=1.0)]).save(path)
    path.write_text(path.read_text().replace('"pullback"', '"gone"'))
    assert load(path).rows[0].results == ()
    path.write_text(path.read_text().replace('"bowl"', '"gone"'))
    assert load(path).rows == []


def test_nothing_is_kept_where_nothing_was_measured(tmp_path: pathlib.Path) -> None:
    assert load(tmp_path / "results.json") == Results()


def test_results_of_another_version_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('{"header": "of an idle machine", "rows": []}')
    with pytest.raises(ValueError, match=r"of another version of the benchmarks .*header.*; remove it"):
        load(path)
