"""A row of the comparison with an earlier commit; and its sources come before those that are installed."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from tests.benchmarks import against, work


def test_a_line_has_medians_and_quartiles() -> None:
    found = against.line(work.row("bowl"), 4096, 2, [1e-3, 3e-3, 2e-3], (1.041, 1.01, 1.1), 0.52)
    assert found == "| bowl MLP 1-64-32-32-1 | 4,096 | 2 | 2 ms | **1.041** (1.010 to 1.100) | 0.5 |"
    assert found.count("|") == against.HEAD[0].count("|")


def test_packages_of_the_sources_come_first(tmp_path: pathlib.Path) -> None:
    package = tmp_path / "runtime" / "pullback"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    command = [sys.executable, "-c", "import pullback; print(pullback.__file__)"]
    variables = {**os.environ, **against._path(tmp_path)}
    done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(package / "__init__.py")
