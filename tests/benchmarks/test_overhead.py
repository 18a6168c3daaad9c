"""What an integration costs over a call by hand, as a ratio of one run: what runs the model twice is noticed."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from tests.benchmarks import bfgs, overhead, overhead_calls, regions
from tests.benchmarks.measured import Measured


@pytest.mark.slow
def test_integrations_cost_little_over_the_call(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # OpenMDAO writes a folder where it runs
    bundles = overhead.exported(tmp_path)
    found = {row.name: row.ratio for row in overhead.measure(bundles, 15)}
    # On a busy machine 1.0 and 1.5: the value and the gradient are two graphs in CasADi.
    assert found["SciPy, `bundle.flat`"] < 1.5
    assert found["CasADi, its own ONNX Runtime"] < 3
    every = {name for name, module, _ in overhead_calls.ROWS if module not in ELSEWHERE}
    assert every <= set(found)


# What clashes with TensorFlow, or has an environment of its own.
ELSEWHERE = {"torch", "jax", "pytensor", "umbridge", "tesseract_core"}


def test_the_section_has_the_rows_of_all_environments(tmp_path: pathlib.Path) -> None:
    rows = [Measured(name, 1e-4, 2e-4, 2.0, 1.5, 2.5) for name, _, _ in overhead_calls.ROWS]
    for number, part in enumerate((rows[::-2], rows[-2::-2])):
        found = {
            "rows": [dataclasses.asdict(row) for row in part],
            "date": "2026-11-29",
            "cores": 2,
            "load": 1.5,
            "live": {},
        }
        if number:
            ways = {name: dataclasses.asdict(dataclasses.replace(rows[0], name=name)) for name in bfgs.WAYS}
            found["live"] = {"64": {"wall": ways, "processor": ways}}
        (tmp_path / f"{number}.json").write_text(json.dumps(found))
    text = overhead.page(tmp_path)
    lines = [
        line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if " | 100 us | 200 us | 2.00 |" in line
    ]
    assert lines == [name for name, _, _ in overhead_calls.ROWS]
    assert "| 64 | tf.function | 0.2 ms | 2.0 | 1.5 to 2.5 | 0.2 ms |" in text


def test_sections_of_other_commands_outlive_a_page_that_is_made_anew(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Page\n\nold\n")
    regions.replace(path, "one", "make one", "first")
    regions.replace(path, "two", "make two", "second\n")
    regions.replace(path, "one", "make one", "third")
    assert path.read_text().count("made by make one") == 1 and "first" not in path.read_text()
    new = regions.keep("# Page\n\nnew\n", path.read_text())
    assert new.startswith("# Page\n\nnew\n\n<!-- one: made by make one -->\nthird\n<!-- end of one -->\n\n<!-- two")
    assert "old" not in new and regions.keep(new, new) == new


def test_the_page_has_its_sections() -> None:
    """``make bench BENCH=--publish`` keeps them."""
    assert {"recurrent", "first_call", "overhead", "eval_rate"} <= set(regions.found(overhead.PAGE.read_text("utf-8")))
