"""A run of tests ends: a worker that dies and a test that hangs fail it; what tests share is made in one of them."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import os, time
def test_ends(): {what}
def test_passes(): pass
"""


@pytest.mark.parametrize("what", ["os.kill(os.getpid(), 9)", "time.sleep(600)"], ids=["dies", "hangs"])
def test_a_run_ends(tmp_path: pathlib.Path, what: str) -> None:
    (tmp_path / "test_program.py").write_text(PROGRAM.format(what=what))
    options = ["-p", "no:cacheprovider", "-n", "2", "--max-worker-restart=0", "--timeout=5"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)], cwd=tmp_path, capture_output=True, timeout=120
    )
    assert done.returncode != 0


SHARED = """
import os, pathlib, time, pytest
@pytest.fixture(scope="module")
def costly():
    (pathlib.Path(__file__).parent / f"made by {os.getpid()}").touch()
@pytest.mark.parametrize("number", range(12))
def test_reads_it(costly, number): time.sleep(0.05)
@pytest.mark.parametrize("number", range(12))
def test_is_apart(number): time.sleep(0.05)
"""


def test_what_a_module_shares_is_made_once(tmp_path: pathlib.Path) -> None:
    (tmp_path / "test_program.py").write_text(SHARED)
    options = ["-p", "no:cacheprovider", "-p", "tests.conftest", "-n", "2", "--dist", "loadgroup"]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "24 passed" in done.stdout, done.stdout[-2000:]
    assert len(list(tmp_path.glob("made by *"))) == 1


def test_the_makefile_sets_these_limits() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "--max-worker-restart=0" in makefile and "--timeout=$(TEST_SECONDS)" in makefile
    runs = [line for line in makefile.splitlines() if "$(PYTEST)" in line]
    assert runs and all("$(LIMITED)" in line for line in runs)
