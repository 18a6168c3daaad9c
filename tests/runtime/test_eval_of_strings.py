"""``pullback eval`` on files with strings: npz, csv and Parquet, their bad rows, and arrays that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pullback.cli import main

from tests.runtime.conftest import FIXTURES
from tests.runtime.test_strings import ASKED, WEIGHTS, X

BUNDLE = str(FIXTURES / "words.pullback")
Y = WEIGHTS * (X**2).sum(1)


def npz(path: Path, word: Any = np.array(ASKED)) -> Path:
    np.savez(path / "in.npz", word=word, x=X)
    return path / "in.npz"


def csv(path: Path, rows: str | None = None, encoding: str = "utf-8") -> Path:
    """Every string in quotes, which may hold a comma."""
    lines = [f'"{word}",{a},{b}' for word, (a, b) in zip(ASKED, X.tolist(), strict=True)] if rows is None else [rows]
    (path / "in.csv").write_text("\n".join(["word,x[0],x[1]", *lines]) + "\n", encoding=encoding)
    return path / "in.csv"


def parquet(path: Path, word: Any = ASKED, encoded: bool = False) -> Path:
    arrow, files = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    column = arrow.array(word)
    columns = {"word": column.dictionary_encode() if encoded else column, "x[0]": X[:, 0], "x[1]": X[:, 1]}
    files.write_table(arrow.table(columns), path / "in.parquet")
    return path / "in.parquet"


GOOD: dict[str, Callable[[Path], Path]] = {
    "npz": npz,
    "npz of bytes": lambda path: npz(path, np.array([item.encode() for item in ASKED])),
    "csv": csv,
    "csv with a mark": lambda path: csv(path, encoding="utf-8-sig"),
    "parquet": parquet,
    "parquet of a dictionary": lambda path: parquet(path, encoded=True),
}


@pytest.mark.parametrize("rows", ["2", "1000"])
@pytest.mark.parametrize("kind", GOOD)
def test_files(kind: str, rows: str, tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    assert main(["eval", BUNDLE, str(GOOD[kind](tmp_path)), "-o", str(target), "--rows", rows, "--check-finite"]) == 0
    np.testing.assert_allclose(np.load(target)["y"], Y, rtol=1e-6)


def test_a_cell_is_what_stands_between_the_commas(tmp_path: Path) -> None:
    source = csv(tmp_path, 'up,1,2\n up,1,2\n"up",1,2\n"a,b",1,2\n,1,2\n"say ""up""",1,2')
    assert main(["eval", BUNDLE, str(source), "-o", str(tmp_path / "out.npz")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["y"], 5 * np.array([0.5, 7, 0.5, 7, 2, 7]))


# What the file holds, the row that is bad, and a piece of what is said of it.
BAD: dict[str, tuple[Callable[[Path], Path], int, str]] = {
    "a word for a number": (lambda path: csv(path, "up,1,2\nup,x,2"), 1, "could not convert string to float: 'x'"),
    "a cell too many": (lambda path: csv(path, "up,1,2,3\nup,1,2"), 0, "4 cells instead of 3"),
    "an open quote": (lambda path: csv(path, 'up,1,2\n"up,1,2'), 1, "a cell cannot go on in the next line"),
    "another encoding": (lambda path: csv(path, "Ärger,1,2\nup,1,2", "latin-1"), 0, "which UTF-8 cannot encode"),
    "a null": (lambda path: parquet(path, [None, *ASKED[1:]]), 0, "a cell is null"),
    "numbers for strings": (lambda path: parquet(path, list(range(7))), 0, "of type int; pass str"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, row, message = BAD[name]
    source = write(tmp_path)
    assert main(["eval", BUNDLE, str(source), "-o", str(tmp_path / "out.csv")]) == 1
    said = capsys.readouterr().err
    assert f"row {row}: " in said and message in said
    if name != "numbers for strings":
        assert main(["eval", BUNDLE, str(source), "-o", str(tmp_path / "out.csv"), "--skip-bad"]) == 0
        assert message in (tmp_path / "out.csv.bad.csv").read_text().replace('""', '"')


@pytest.mark.parametrize("word", [np.zeros(7), np.array(ASKED, object)], ids=["numbers", "a pickle"])
def test_arrays_that_do_not_fit(word: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", BUNDLE, str(npz(tmp_path, word)), "-o", str(tmp_path / "out.npz")]) == 1
    assert "does not fit word: string (B,)" in capsys.readouterr().err
