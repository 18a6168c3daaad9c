"""The tables say what was measured: paired ratios, quartiles, and why an engine is missing."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from tests.benchmarks import causes, picture, report, results, work
from tests.benchmarks.bounds import OF_GEMM
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


def test_ratios_are_paired() -> None:
    assert ROW.ratios("pullback") == pytest.approx([2.0, 2.0, 3.0])
    assert spread(ROW.ratios("jax", "pullback"))[0] == 3.0
    assert ROW.ratios("torch") == []


def test_table_holds_only_engines_that_ran() -> None:
    title, _, line = report.table([ROW], full=False)
    assert "JAX" in title
    assert "torch" not in title
    assert line == "| bowl MLP 1-64-32-32-1 | 64 | 10 us | own | **2.00** (2.00 to 2.50) | 3.00 |"


def test_the_floor_is_the_fastest_way_to_the_value() -> None:
    row = dataclasses.replace(
        ROW, results=(*ROW.results, Result("tf2onnx", (5e-6,) * 3), Result("by_hand", (3e-5,) * 3))
    )
    assert (ROW.floor(), row.floor()) == ("forward", "tf2onnx")
    (line,) = report.table([row])[2:]
    assert line.startswith("| bowl MLP 1-64-32-32-1 | 64 | 5 us | tf2onnx | **6.00** (5.00 to 7.00) (aim 2.5) | 2.00 |")


def test_the_limit_is_products_and_bytes() -> None:
    """Half of a product and a copy of 1 us: 5 and 1 us, of which Pullback takes 2 and 4 times as long."""
    bounds = (Result("gemm", (8e-6, 18e-6, 10e-6)), Result("copy", (1e-6, 1e-6, 1e-6)))
    row = dataclasses.replace(ROW, results=(*ROW.results, *bounds), flops=OF_GEMM / 2)
    assert row.of_limit() == pytest.approx([20 / 5, 40 / 10, 30 / 6])
    assert ROW.of_limit() == []
    assert "| 4.00 | 3.00 |" in report.table([row])[2]


def test_an_engine_of_another_day_is_paired_with_that_day() -> None:
    """Pullback took 20 us then and takes 10 now: JAX was twice as slow as it, and stands in italics."""
    then = Row("bowl", 64, 1, (Result("pullback", (2e-5,), "", (2e-5,), "1"), Result("jax", (4e-5,), "", (2e-5,), "1")))
    again = (Result("forward", (5e-6,), "", (1e-5,), "2"), Result("pullback", (1e-5,), "", (1e-5,), "2"))
    row = then.merged(Row("bowl", 64, 1, (*again, Result("jax", (), "jax is not installed", (), "2")), load=3.0))
    assert row.ratios("jax", "pullback") == [2.0]
    assert row.ratios("pullback") == [2.0]
    assert (row.date, row.load) == ("2", 3.0)
    assert report.table([row])[2].endswith("| *2.00* | 2 | 3.0 |")


def test_missed_aim_and_missing_engine_are_named() -> None:
    slow = Row("bowl", 64, 1, (Result("forward", (1e-5,)), Result("pullback", (3e-5,)), *ROW.results[3:]))
    text = report.page(results.Results([slow]))
    assert "**3.00** (3.00 to 3.00) (aim 2.5)" in text
    assert "torch, eager: torch is not installed (bowl)" in text


def test_readme_is_written_between_its_markers(tmp_path: pathlib.Path) -> None:
    readme = tmp_path / "README.md"
    small = dataclasses.replace(ROW, batch=1)
    readme.write_text(f"before\n{report.START}\nstale numbers\n{report.END}\nafter\n")
    assert report.into_readme(readme, [ROW, small])
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
    first = max(
        _common(line, title) for line in page
    )  # columns before those of the engines, some of them without a name
    known = []
    for source in (line for line in page if _common(line, title) == first and set(title) <= set(line)):  # one a machine
        columns = [*range(first), *(source.index(name) for name in title[first:])]
        known += [[line[column] for column in columns] for line in page if len(line) == len(source)]
    assert all(row in known for row in rows)


def test_the_page_is_made_from_what_is_kept() -> None:
    """Each table of ``docs/benchmarks.md`` is that of ``docs/benchmarks.json``."""
    text = (ROOT / "docs/benchmarks.md").read_text()
    kept = results.load(results.PUBLISHED)
    for place in {causes.place(row) for row in kept.rows}:
        assert "\n".join(report.table([row for row in kept.rows if causes.place(row) == place])) in text


def _common(line: list[str], title: list[str]) -> int:
    """So many cells are the same from the first one on."""
    return next((k for k, (a, b) in enumerate(zip(line, title)) if a != b), min(len(line), len(title)))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_row_has_a_kind_and_quick_ones_are_small() -> None:
    assert all(item.kind in work.KINDS for item in work.ROWS)
    assert all(set(item.quick) <= set(item.batches) for item in work.ROWS)


def test_picture_is_drawn_with_and_without_growth(tmp_path: pathlib.Path) -> None:
    points = [{"batch": batch, "seconds": 1e-6 * batch, "megabytes": 70.0, "arrays": 1.0} for batch in (1, 1000)]
    for growth in ({}, {"bowl": points}):
        picture.draw(tmp_path / "picture.png", [ROW], growth)
        assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
