"""The tables say what was measured: paired ratios, quartiles, and why an engine is missing."""

from __future__ import annotations

import pathlib

from tests.benchmarks import report, work
from tests.benchmarks.rounds import Result, Row, spread

ROW = Row(
    "bowl",
    64,
    1,
    (
        Result("forward", (1e-5, 2e-5, 1e-5)),
        Result("pullback", (2e-5, 4e-5, 3e-5)),
        Result("jax", (8e-5, 12e-5, 9e-5)),
        Result("torch", (), "torch is not installed"),
    ),
)
HEADER = {"machine": "a machine, 2 cores", "date": "2026-01-01"}


def test_ratios_are_paired() -> None:
    assert ROW.ratios("pullback") == [2.0, 2.0, 3.0]
    assert spread(ROW.ratios("jax", "pullback"))[0] == 3.0
    assert ROW.ratios("torch") == []


def test_table_holds_only_engines_that_ran() -> None:
    title, _, line = report.table([ROW])
    assert "JAX" in title
    assert "torch" not in title
    assert line == "| bowl MLP 1-64-32-32-1 | 64 | 10 us | **2.00** (2.00 to 2.50) | 3.00 |"


def test_missed_aim_and_missing_engine_are_named() -> None:
    slow = Row("bowl", 64, 1, (Result("forward", (1e-5,)), Result("pullback", (3e-5,)), *ROW.results[3:]))
    text = report.page([slow], HEADER, [], {}, {})
    assert "**3.00** (3.00 to 3.00) (aim 2.5)" in text
    assert "torch, eager: torch is not installed (bowl)" in text


def test_readme_is_written_between_its_markers(tmp_path: pathlib.Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.START}\nstale numbers\n{report.END}\nafter\n")
    assert report.into_readme(readme, [ROW], HEADER)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale numbers" not in text
    assert "bowl MLP" in text
    assert f"(docs/{report.PICTURE})" in text


def test_every_row_has_a_kind_and_quick_ones_are_small() -> None:
    assert all(item.kind in work.KINDS for item in work.ROWS)
    assert all(set(item.quick) <= set(item.batches) for item in work.ROWS)


def test_picture_is_drawn_with_and_without_growth(tmp_path: pathlib.Path) -> None:
    points = [{"batch": batch, "seconds": 1e-6 * batch, "megabytes": 70.0, "arrays": 1.0} for batch in (1, 1000)]
    for growth in ({}, {"bowl": points}):
        report.picture(tmp_path / "picture.png", [ROW], growth)
        assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
