"""What the tests of destinations run on: Node with its packages, a browser; made by ``make test-anywhere``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "v1"
BUNDLES = sorted(GOLDEN.iterdir())
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="session")
def node() -> Path:
    """The folder with ``node_modules`` and the scripts of ``tests/anywhere/node``."""
    folder = Path(os.environ.get("PULLBACK_NODE", ""))
    if shutil.which("node") is None or not (folder / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("Node and its packages are not here; make test-anywhere brings the packages and runs this")
    for script in (HERE / "node").glob("*.mjs"):  # Node looks for packages above the script that asks for them
        shutil.copy(script, folder)
    return folder.absolute()


@pytest.fixture(scope="session")
def browser() -> str:
    """A Chromium or Chrome."""
    names = (os.environ.get("CHROME", ""), *BROWSERS)
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        pytest.skip("no Chromium or Chrome was found (CHROME names one); apt-get install chromium brings it")
    return found
