"""The load run, for a few seconds: nothing lost, nothing wrong, a killed worker, bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra serve is not installed")


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="on this system nothing lists the server's worker processes (/proc)"
)
def test_load() -> None:
    from tests.anywhere.load import run_load

    lines = run_load(seconds=12, clients=16, workers=2)
    assert lines[-1] == "", lines
    assert any(line.startswith("| slow clients |") for line in lines)
    assert any("workers killed: 1" in line or "workers killed: 2" in line for line in lines)
