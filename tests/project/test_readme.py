"""The code of README.md and CONTRIBUTING.md runs, in the order in which a reader meets it."""

from __future__ import annotations

import pathlib
import shlex
import subprocess
import sys

import markdown_it
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
HEAVY = {"tensorflow", "keras", "onnx"}


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a page."""
    tokens = markdown_it.MarkdownIt().parse((ROOT / page).read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def python(code: str, folder: pathlib.Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{code}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where a reader would have done what the page says, up to the quick start's first block."""
    folder = tmp_path_factory.mktemp("readme")
    python("\n".join(block for block in blocks("README.md", "python") if "import keras" in block), folder)
    return folder


def test_export_wrote_what_the_page_says(folder: pathlib.Path) -> None:
    written = {path.name for path in (folder / "bowl.pullback").iterdir()}
    assert written == {"manifest.json", "evaluate.onnx", "saved_model", "golden.npz"}


def test_running_needs_no_keras(folder: pathlib.Path) -> None:
    (block,) = (block for block in blocks("README.md", "python") if "pullback.load" in block)
    printed = python(f"{block}\nimport sys; print('heavy:', {HEAVY!r} & sys.modules.keys())", folder)
    assert "heavy: set()" in printed
    slopes = np.array(printed.replace("[", " ").replace("]", " ").split()[:2], float)
    np.testing.assert_allclose(slopes, (-0.36, 0.36), atol=0.1)


def test_every_other_block_runs(folder: pathlib.Path) -> None:
    others = [
        block for block in blocks("README.md", "python") if "import keras" not in block and "pullback.load" not in block
    ]
    assert others
    for block in others:
        python(f"import numpy as np\nfrom pullback_export import export\n{block}", folder)


def test_commands_run(folder: pathlib.Path) -> None:
    lines = [line for block in blocks("README.md", "sh") for line in block.splitlines() if line.startswith("pullback")]
    assert len(lines) >= 5
    for line in lines:
        command, *arguments = shlex.split(line, comments=True)
        script = pathlib.Path(sys.executable).with_name(command)
        done = subprocess.run([script, *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"


def test_the_table_of_kinds_is_complete() -> None:
    from pullback_export.derivatives.kinds import KINDS

    table = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    assert set(KINDS) <= {line.split("`")[1].split("(")[0] for line in table}


def test_the_example_rule_is_the_real_one() -> None:
    """The function that CONTRIBUTING.md shows is in the code, to the letter."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    shown = text[text.index('   @lowers("SoftsignGrad")') :].split("```")[0]
    lines = "\n".join(line[3:] for line in shown.rstrip().splitlines())
    rules = [path.read_text() for path in (ROOT / "exporter/pullback_export/lowering").rglob("*.py")]
    assert any(lines in rule for rule in rules)
