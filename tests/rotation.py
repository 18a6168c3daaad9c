"""Which variant of each row ``make test`` runs: all of them in as many commits in a row as there are variants."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import zlib
from collections.abc import Sequence
from typing import Any

import pytest

# Names the turn instead of the number of commits, say to run again what another machine ran.
VARIABLE = "PULLBACK_ROTATION"


@functools.cache
def turn() -> int:
    """The number of commits so far; 0 outside of version control."""
    if VARIABLE in os.environ:
        return int(os.environ[VARIABLE])
    command = ["git", "rev-list", "--count", "HEAD"]
    try:
        counted = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return 0
    return int(counted.stdout) if counted.returncode == 0 else 0


def chosen(name: str, variants: int) -> int:
    """The index of the variant of the row ``name`` whose turn it is; rows start at different ones."""
    return (zlib.crc32(name.encode()) + turn()) % variants


def in_turn(name: str, rows: Sequence[Any], turns: int | None = None) -> list[Any]:
    """The rows of the table ``name`` as parameters: ``make test`` runs every one at one of ``turns`` commits in a row.

    At each commit it runs one of them where ``turns`` is not given. The others are marked slow.
    """
    count = len(rows) if turns is None else turns
    now = chosen(name, count)
    return [row if index % count == now else _slow(row) for index, row in enumerate(rows)]


def _slow(row: Any) -> Any:
    if hasattr(row, "marks"):  # pytest.param
        return pytest.param(*row.values, id=row.id, marks=[*row.marks, pytest.mark.slow])
    return pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.slow)


def summary() -> str:
    """The line that pytest prints last."""
    return f"variants of rows: turn {turn()} (again with {VARIABLE}={turn()}); make test-all runs every variant"
