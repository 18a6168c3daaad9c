"""Each processor has a table of its own, and a run changes nothing but its own rows."""

from __future__ import annotations

import pathlib

import pytest

from tests.benchmarks import convolutional_page as page
from tests.benchmarks import regions
from tests.benchmarks.convolutional import NETWORKS

ORDER = ["ResNet50, 224 x 224", "UNet, 160 x 160"]


def line(network: str, gradient: float) -> page.Line:
    return page.Line(network, 12.34, 2.5, gradient, 3.0, 1.0, 2.0, 4, 5)


def test_a_run_replaces_its_rows_in_the_table_of_its_processor(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Page\n")
    for name, network, gradient in (("A", ORDER[1], 2.1), ("B", ORDER[1], 2.2), ("A", ORDER[0], 2.3)):
        monkeypatch.setattr(page, "processor", lambda name=name: name)
        page.publish([line(network, gradient)], ORDER, path)
    monkeypatch.setattr(page, "processor", lambda: "A")
    page.publish([line(ORDER[1], 2.4)], ORDER, path)
    found = page.tables(regions.found(path.read_text())[page.NAME])
    ratios = {name: [row.split(" | ")[3] for row in rows] for name, rows in found.items()}
    assert ratios == {"A": ["**2.30**", "**2.40**"], "B": ["**2.20**"]}


def test_no_aim_is_a_dash() -> None:
    without = page.Line("UNet", 1.0, None, 2.0, 3.0, 1.0, 2.0, 4, 5).cells("2026-01-01")
    assert without == "| UNet | 1.0 ms | - | **2.00** | 3.00 | 1.00 | 2.00 | 4, 5 | 2026-01-01 |"
    assert len(without.split(" | ")) == len(page.COLUMNS)


def test_the_processor_is_named_with_its_vectors(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: One @ 2 GHz\nflags\t\t: avx2 avx512f\n\nmodel name\t: Other\n")
    assert page.processor(path) == "One @ 2 GHz, AVX-512"
    path.write_text("model name\t: One @ 2 GHz\nflags\t\t: avx2 avx512fp16\n")
    assert page.processor(path) == "One @ 2 GHz"


def test_rows_of_the_page_are_networks_of_the_program() -> None:
    """A row that is measured again finds its place."""
    section = regions.found(page.PAGE.read_text(encoding="utf-8"))[page.NAME]
    known = {str(network) for network in NETWORKS}
    rows = [row for found in page.tables(section).values() for row in found]
    assert {row.split(" | ")[0].removeprefix("| ") for row in rows} <= known
    assert len(rows) >= 6 and all(len(row.split(" | ")) == len(page.COLUMNS) for row in rows)
