"""A run of tests ends: a worker that dies and a test that hangs fail it, and the header names the processor."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

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


def test_the_makefile_sets_these_limits() -> None:
    makefile = (pathlib.Path(__file__).parents[2] / "Makefile").read_text()
    assert "--max-worker-restart=0" in makefile and "--timeout=$(TEST_SECONDS)" in makefile
    runs = [line for line in makefile.splitlines() if "$(PYTEST)" in line]
    assert runs and all("$(LIMITED)" in line for line in runs)
