"""The HTML report in a real browser: it is drawn whole, fits the page, and shows its verdict first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pullback import cli

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES

pytest.importorskip("matplotlib", reason="the extra plot is not installed")

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for found in map(shutil.which, (os.environ.get("CHROME", ""), *NAMES)) if found), None)
WIDTH, HEIGHT = 1100, 1500
GREEN, RED = (0xDE, 0xF3, 0xE4), (0xFD, 0xE3, 0xE1)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium or Chrome was found (CHROME names one); apt-get install chromium brings it"
)


def chromium(folder: Path, page: Path, *options: str) -> str:
    """What a headless browser prints about the page."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}"]
    command += [f"--window-size={WIDTH},{HEIGHT}", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def screenshot(folder: Path, page: Path) -> npt.NDArray[Any]:
    """The first screen of the page as ``(HEIGHT, WIDTH, 3)`` bytes."""
    import matplotlib.image

    target = page.with_suffix(".png")
    chromium(folder, page, f"--screenshot={target}")
    image: npt.NDArray[Any] = matplotlib.image.imread(target)[..., :3]
    return (image * 255 + 0.5).astype(np.uint8)


def share(image: npt.NDArray[Any], colour: tuple[int, int, int]) -> float:
    """How much of the image has about this colour."""
    return float((np.abs(image.astype(int) - colour).max(axis=-1) <= 2).mean())


@pytest.fixture
def report(tmp_path: Path) -> Any:
    """Writes the report of a bundle and gives the page."""

    def write(bundle: Path, code: int = 0) -> Path:
        page = tmp_path / "report.html"
        assert cli.main(["verify", str(bundle), "--html", str(page)]) == code
        return page

    return write


@pytest.mark.parametrize(
    "name", ["bowl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("picture_float32", "field"))]
)
def test_passed(tmp_path: Path, report: Any, name: str) -> None:
    page = report(GOLDEN / f"{name}.pullback")
    image = screenshot(tmp_path / "profile", page)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert share(image[: HEIGHT // 4], GREEN) > 0.1
    assert share(image, RED) == 0
    assert share(image[HEIGHT // 2 :], (0xFF, 0xFF, 0xFF)) < 0.95  # the pictures are drawn
    measure = "<script>document.title = [document.images.length, [...document.images].every(i => i.naturalWidth > 0), "
    measure += "document.documentElement.scrollWidth <= innerWidth].join(' ')</script>"
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{measure}</body>"), encoding="utf-8")
    title = re.search("<title>(.*?)</title>", chromium(tmp_path / "profile", page, "--dump-dom"))
    assert title is not None
    assert title[1] == f"{1 if name == 'field' else 2} true true"


def test_failed(tmp_path: Path, folder: Path, report: Any) -> None:
    """Wrong numbers are seen at once, on the first quarter of the screen."""
    content = bytearray((FIXTURES / "net.pullback" / "evaluate.onnx").read_bytes())
    content[bytes(content).index(b"\x42\x01b") + 8] ^= 0x40
    forge.replace(folder, "evaluate.onnx", bytes(content))
    image = screenshot(tmp_path / "profile", report(folder, code=1))
    assert share(image[: HEIGHT // 4], RED) > 0.1
    assert share(image, GREEN) == 0
