"""The documentation site: every page has a place, every example runs. ``make docs`` builds it and checks its links."""

from __future__ import annotations

import ast
import inspect
import pathlib
import re

import pullback
import pullback_export

from docs.check_links import problems
from tests.warm_start import run

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = sorted(path.name for path in (DOCS / "examples").glob("*.py"))
# `make docs` runs them all, and with it `make test-all`; it ends at the first that fails.
QUICK = "table.py"


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


def test_an_example_runs(tmp_path: pathlib.Path) -> None:
    done = run(DOCS / "examples" / QUICK, folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout


def test_first_lines_of_properties_are_not_read_as_types() -> None:
    """Sphinx' napoleon shows what stands before a colon in the first line of a property's docstring as its type."""
    classes = [getattr(module, name) for module in (pullback, pullback_export) for name in module.__all__]
    lines = {
        f"{cls.__name__}.{name}": (item.__doc__ or "").split("\n")[0]
        for cls in classes
        if isinstance(cls, type)
        for name, item in inspect.getmembers(cls, lambda item: isinstance(item, property))
        if not name.startswith("_")
    }
    assert len(lines) > 20
    wrong = [name for name, line in lines.items() if ":" in re.sub("``.*?``|`.*?`", "", line)]
    assert not wrong


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
