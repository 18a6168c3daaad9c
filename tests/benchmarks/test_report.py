"""The tables say what was measured: paired ratios, quartiles, and why an engine is missing."""

from __future__ import annotations

import dataclasses
import pathlib

from tests.benchmarks import report, work
from tests.benchmarks.rows import Result, Row, spread

ROOT = pathlib.Path(__file__).parents[2]
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
    small = dataclasses.replace(ROW, batch=1)
    readme.write_text(f"before\n{report.START}\nstale numbers\n{report.END}\nafter\n")
    assert report.into_readme(readme, [ROW, small], HEADER)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale numbers" not in text
    assert "| bowl MLP 1-64-32-32-1 | 1 |" in text and "| 64 |" not in text
    assert "(docs/benchmarks.md)" in text


def test_the_readme_has_six_rows_of_the_page() -> None:
    """Each number of the README stands in the same row of ``docs/benchmarks.md``."""
    page = [_cells(line) for line in (ROOT / "docs/benchmarks.md").read_text().splitlines() if line.startswith("|")]
    text = (ROOT / "README.md").read_text().split(report.START)[1].split(report.END)[0]
    title, _, *rows = [_cells(line) for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 6
    source = next(line for line in page if line[:2] == title[:2])
    columns = [source.index(name) for name in title]
    known = [[line[column] for column in columns] for line in page if len(line) == len(source)]
    assert all(row in known for row in rows)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_row_has_a_kind_and_quick_ones_are_small() -> None:
    assert all(item.kind in work.KINDS for item in work.ROWS)
    assert all(set(item.quick) <= set(item.batches) for item in work.ROWS)


def test_picture_is_drawn_with_and_without_growth(tmp_path: pathlib.Path) -> None:
    points = [{"batch": batch, "seconds": 1e-6 * batch, "megabytes": 70.0, "arrays": 1.0} for batch in (1, 1000)]
    for growth in ({}, {"bowl": points}):
        report.picture(tmp_path / "picture.png", [ROW], growth)
        assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
