"""``pullback card``: the model card of every golden bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pullback
import pytest
from pullback.cli import main
from pullback.commands.card import card
from pullback.web import ort_web

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "v1").glob("*.pullback"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_card_names_every_tensor_and_is_the_same_elsewhere(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "elsewhere")
    bundle = pullback.load(path)
    text = card(bundle)
    assert text == card(pullback.load(tmp_path / "elsewhere"))
    assert text.startswith("---\nlibrary_name: pullback\n")
    plain = text.replace("\\", "")
    for function in bundle.functions.values():
        for tensor in (*function.spec.inputs, *function.spec.outputs):
            assert f"| {tensor.name} | {tensor.dtype} |" in plain
        for derivative in function.spec.derivatives:
            assert f"| {derivative.request} |" in plain


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_its_code_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = card(pullback.load(path)).split("```python\n")[1].split("```")[0]
    spec = next(iter(pullback.load(path).functions.values())).spec
    for tensor in spec.inputs:
        shape = [size if isinstance(size, int) else 2 for size in tensor.shape]
        code = code.replace(f'"{tensor.name}": ...', f'"{tensor.name}": np.zeros({shape}, "{tensor.dtype}")')
    monkeypatch.chdir(path)
    names: dict[str, object] = {"np": np}
    exec(code, names)
    assert names["results"] is not None


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    target = tmp_path / "README.md"
    target.write_text("mine")
    command = ["card", str(GOLDEN[0]), "-o", str(target)]
    assert main(command) == 2
    assert target.read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert target.read_text() == card(pullback.load(GOLDEN[0]))


def test_a_single_graph_has_no_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(GOLDEN[0] / "evaluate.onnx")]) == 2
    assert "needs a manifest" in capsys.readouterr().err


def test_the_steps_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "anywhere.md").read_text(encoding="utf-8")
    steps = [line.split() for line in page.splitlines() if line.startswith("pullback ")]
    assert steps
    shutil.copytree(GOLDEN[0].parent / "bowl.pullback", tmp_path / "bowl.pullback")
    dist = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)  # what the page's npm install brings; tests/anywhere has the real one
    for name in (ort_web.SCRIPT, ort_web.LOADER, ort_web.BINARY):
        (dist / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for step in steps:
        assert main(step[1:]) == 0, step
    assert (tmp_path / "bowl.pullback" / "README.md").is_file()
