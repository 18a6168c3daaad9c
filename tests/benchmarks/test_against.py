"""A row of the comparison with an earlier commit; and its sources come before those that are installed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from tests.benchmarks import against, work


def test_a_line_has_medians_and_quartiles() -> None:
    seconds = {"then": [1e-3, 3e-3, 2e-3], "now": [1.04e-3, 3e-3, 2.2e-3], "again": [1e-3, 3e-3, 1.9e-3]}
    found = against.line(work.row("bowl"), 4096, 2, seconds, 0.52)
    wanted = "| bowl MLP 1-64-32-32-1 | 4,096 | 2 | 2 ms | **1.040** (1.020 to 1.070) | 1.000 (0.975 to 1.000) | 0.5 |"
    assert found == wanted
    assert found.count("|") == against.HEAD[0].count("|")


def test_packages_of_the_sources_come_first(tmp_path: pathlib.Path) -> None:
    package = tmp_path / "runtime" / "pullback"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    command = [sys.executable, "-c", "import pullback; print(pullback.__file__)"]
    variables = {**os.environ, **against._path(tmp_path)}
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(package / "__init__.py")
