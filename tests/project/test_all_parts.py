"""``make test-all`` runs every part, says which failed and how long each took, and then fails."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
PARTS = ["test-main", "all-environments", *re.findall(r"^PARTS := (.*)$", MAKEFILE, re.M)[0].split()]

# The recipes of the parts are replaced. The order of the run, and what it says, are the Makefile's own.
STAND_INS = """
{parts}:
\t@echo "{{$@ MARKED=$(MARKED)}}"; case " $(FAILING) " in *" $@ "*) exit 3;; esac
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A project in which every environment was made, with parts that do nothing."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "build/wheel/", *environments()):
        path = tmp_path / name
        path.mkdir(parents=True) if name.endswith("/") else path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kept = re.sub(rf"^({'|'.join(PARTS)}):(?! export).*\n(\t.*\n|.*\\\n)*", "", MAKEFILE, flags=re.M)
    (tmp_path / "Makefile").write_text(kept + STAND_INS.format(parts=" ".join(PARTS)))
    return tmp_path


def environments() -> list[str]:
    return [f"{place}/installed" for place in re.findall(r"^[A-Z]+ := (\.venv\S*)$", MAKEFILE, re.M)]


def run(folder: pathlib.Path, *failing: str) -> tuple[int, str, dict[str, str]]:
    """Exit status, output, and the result of each part in the summary."""
    command = ["make", "test-all", f"FAILING={' '.join(failing)}"]
    outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MARKED")  # of the make that runs this test
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "warning" not in done.stderr
    summary = (folder / "build" / "test-all.txt").read_text()
    assert done.stdout.endswith(summary)
    rows = [re.fullmatch(r"(\S+) +(passed|FAILED) +\d+ s", line) for line in summary.splitlines()]
    return done.returncode, done.stdout, {row[1]: row[2] for row in rows if row}


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize(
    "failing", [(), ("test-main",), ("test-clusters", "docs"), ("all-environments",), ("package",)]
)
def test_every_part_runs_and_its_result_is_told(folder: pathlib.Path, failing: tuple[str, ...]) -> None:
    code, output, results = run(folder, *failing)
    assert (code == 0) == (not failing)
    assert results == {part: "FAILED" if part in failing else "passed" for part in PARTS}
    for part in PARTS:
        assert f"{{{part} MARKED=}}" in output  # slow tests, too


def test_the_parts_are_all_that_there_is_to_test() -> None:
    """A new target ``test-...`` becomes a part of ``make test-all``."""
    assert set(re.findall(r"^(test-[\w-]+):", MAKEFILE, re.M)) - {"test-all"} <= set(PARTS)
