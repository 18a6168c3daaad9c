"""``make demo`` does what it says: trains, exports, reads back without TensorFlow, agrees, draws."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the demo writes; ``make test`` says where, because other environments read that bundle afterwards."""
    chosen = os.environ.get("PULLBACK_DEMO")
    return ROOT / chosen if chosen else tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def printed(folder: pathlib.Path) -> str:
    done = subprocess.run([sys.executable, "-m", "models.bowl_demo", folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_progress_is_shown(printed: str) -> None:
    assert len(re.findall(r"^epoch ", printed, re.M)) == 25
    assert "comparing with the live model" in printed


def test_slope_at_one_half(printed: str) -> None:
    row = next(line.split() for line in printed.splitlines() if line.strip().startswith("0.50 "))
    assert float(row[2]) == pytest.approx(-0.36, abs=0.02)
    assert float(row[4]) == pytest.approx(-0.36, abs=1e-6)


def test_agrees_with_live_keras(printed: str) -> None:
    found = re.search(r"Largest difference from live Keras: (\S+) of the largest slope, within 1e-05", printed)
    assert found is not None
    assert float(found[1]) <= 1e-5


def test_nothing_heavy_in_the_second_process(printed: str) -> None:
    assert "Neither TensorFlow nor Keras was imported here." in printed


def test_files(printed: str, folder: pathlib.Path) -> None:
    assert (folder / "bowl.keras").is_file()
    assert (folder / "bowl.pullback" / "saved_model" / "saved_model.pb").is_file()
    picture = pathlib.Path(printed.split("Picture: ")[1].strip())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
