"""Pictures and the HTML report: they are written, whole, and say the verdict."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pullback
import pytest
from pullback import cli
from pullback.display import html

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES

pytest.importorskip("matplotlib", reason="the extra plot is not installed")

NET = FIXTURES / "net.pullback"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / f"picture{suffix}"
    assert cli.main(["plot", str(NET), "-o", str(target)]) == 0
    assert "parity of net.pullback" in capsys.readouterr().out
    assert target.stat().st_size > 5000


@pytest.mark.parametrize("kind", ["curve", "saliency"])
def test_a_kind_that_does_not_suit(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plot", str(NET), "-o", str(tmp_path / "a.png"), "--kind", kind]) == 1
    assert f"{kind} needs a" in capsys.readouterr().err


def test_report(tmp_path: Path, folder: Path) -> None:
    target = tmp_path / "report.html"
    assert cli.main(["verify", str(folder), "--html", str(target)]) == 0
    page = target.read_text(encoding="utf-8")
    assert "<b>Passed: may be shipped to machines like this one.</b> All 15 comparisons" in page
    assert "gradient(y, x)" in page
    assert page.count("data:image/png;base64,") == 1
    assert not re.findall(r'(?:src|href)="(?!data:)', page)  # self-contained


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time."""
    monkeypatch.setattr("pullback.display.pictures.parity", lambda bundle: None)
    monkeypatch.setattr("pullback.display.html._picture", lambda figure, description: "")


@pytest.mark.usefixtures("no_pictures")
def test_report_of_a_failure(tmp_path: Path, folder: Path) -> None:
    content = bytearray((folder / "evaluate.onnx").read_bytes())
    content[bytes(content).index(b"\x42\x01b") + 8] ^= 0x40
    forge.replace(folder, "evaluate.onnx", bytes(content))
    target = tmp_path / "report.html"
    assert cli.main(["verify", str(folder), "--html", str(target)]) == 1
    page = target.read_text(encoding="utf-8")
    assert "<b>Failed: do not ship.</b>" in page
    assert '<tr class="bad">' in page


@pytest.mark.usefixtures("no_pictures")
def test_report_of_a_derivative_that_is_zero(tmp_path: Path, folder: Path) -> None:
    """Nothing is off, and yet worth a look: the page says so in its verdict."""
    samples, target = pullback.load(folder).samples(), tmp_path / "report.html"
    zeros = {
        name: [type(case)({k: v * 0 for k, v in case.inputs.items()}, {}) for case in cases]
        for name, cases in samples.items()
    }
    report = pullback.Report()
    for name, cases in zeros.items():
        function = pullback.load(folder).functions[name]
        for case in cases:
            found = function(**case.inputs)._asdict()
            report += pullback.compare(found, found, pullback.Tolerance(), derivatives=("hvp_y_x",))
    assert report.ok
    html.write_report(pullback.load(folder), report, target)
    page = target.read_text(encoding="utf-8")
    assert "Look at the warnings first: there are 3." in page
    assert page.count("hvp_y_x: the derivative is zero in every sample") == 3


@pytest.mark.usefixtures("no_pictures")
def test_names_from_the_bundle_are_escaped(tmp_path: Path, folder: Path) -> None:
    forge.edit_manifest(folder, forge.setting("name", "<script>alert(1)</script>"))
    target = tmp_path / "report.html"
    assert cli.main(["verify", str(folder), "--html", str(target)]) == 0
    assert "<script>" not in target.read_text(encoding="utf-8")


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["plot", str(NET), "-o", str(tmp_path / "a.png")]) == 2
    assert 'pip install "pullback[plot]"' in capsys.readouterr().err
    assert pullback.load(NET).verify().ok
