"""The documentation site: every page has a place, every example runs. ``make docs`` builds it and checks its links."""

from __future__ import annotations

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

from docs.check_links import problems

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = sorted(path.name for path in (DOCS / "examples").glob("*.py"))
QUICK = "table.py"
# In the environment of `make docs` alone, which runs them all: the sampler is large.
NEEDS_MORE = {"calibration.py"}


def test_every_page_has_a_place_in_the_contents() -> None:
    """A new page under ``docs`` gets a line in one of the lists at the end of ``docs/index.md``."""
    contents = "\n".join(re.findall(r"```\{toctree\}(.*?)```", (DOCS / "index.md").read_text(), re.S))
    listed = {line for line in contents.splitlines() if line and not line.startswith(":")}
    built = {"gallery/index"}
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix()
        for path in DOCS.rglob("*.md")
        if path.relative_to(DOCS).parts[0] != "gallery"
    }
    assert listed - built == pages - {"index"}


def test_the_gallery_lists_every_example() -> None:
    (found,) = (
        node.value
        for node in ast.parse((DOCS / "conf.py").read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES"
    )
    assert sorted(ast.literal_eval(found)) == EXAMPLES


@pytest.mark.parametrize(
    "name",
    [
        name if name == QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in EXAMPLES
        if name not in NEEDS_MORE
    ],
)
def test_an_example_runs(name: str, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "examples" / name],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout


def test_links_that_lead_nowhere_are_found(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="top"></h1><a href="b.html#here">b</a><a href="#top">up</a>')
    (tmp_path / "b.html").write_text('<p id="here"></p><img src="https://elsewhere/x.png"><a href="https://x">x</a>')
    assert problems(tmp_path)[0] == ["b.html: https://elsewhere/x.png is loaded from outside"]
    (tmp_path / "b.html").write_text('<a href="c.html">c</a><a href="a.html#nowhere">a</a>')
    assert [text.split(": ")[1] for text in problems(tmp_path)[0]] == [
        "b.html#here has no such anchor",
        "there is no c.html",
        "a.html#nowhere has no such anchor",
    ]
