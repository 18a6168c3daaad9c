"""The code of README.md, CONTRIBUTING.md and the pages of the documentation runs, as a reader would run it."""

from __future__ import annotations

import pathlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable

import markdown_it
import numpy as np
import pytest

from tests import warm_start

ROOT = pathlib.Path(__file__).parents[2]
HEAVY = {"tensorflow", "keras", "onnx"}
# Pages whose blocks are one program, after the five minutes of docs/start.md. Those of a task take a training each.
PROGRAMS = ("derivatives", "howto/points", "howto/optimisers", "howto/server", "howto/cluster")
STARTING = ("howto/cluster",)  # starts processes itself, which begin with what the first one began with
TASKS = ("howto/forces", "howto/grad_cam", "howto/mpc", "howto/pinn", "howto/calibration", "howto/tabular")


Run = Callable[..., subprocess.CompletedProcess[str]]


def from_the_start(program: pathlib.Path, *arguments: str, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """In a new process, which imports everything anew: the first steps of the README and of docs/start.md."""
    return subprocess.run([sys.executable, program, *arguments], cwd=folder, capture_output=True, text=True)


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of a page."""
    tokens = markdown_it.MarkdownIt().parse((ROOT / page).read_text())
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


def python(code: str, folder: pathlib.Path, run: Run = from_the_start) -> str:
    (folder / "program.py").write_text(code)
    done = run(pathlib.Path("program.py"), folder=folder)
    assert done.returncode == 0, f"{code}\n{done.stderr[-3000:]}"
    return done.stdout


def run_commands(page: str, folder: pathlib.Path, run: Run = from_the_start) -> int:
    """Runs the lines of a page that begin with one of our commands; returns how many there are."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("pullback")]
    for line in lines:
        command, *arguments = shlex.split(line, comments=True)
        script = pathlib.Path(sys.executable).with_name(command)
        done = run(script, *arguments, folder=folder)
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    return len(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where a reader would have done what the five minutes say, up to the block that runs the bundle."""
    folder = tmp_path_factory.mktemp("readme")
    exporting, _ = blocks("docs/start.md", "python")
    python(exporting, folder)
    return folder


@pytest.fixture
def copy(folder: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """What that folder holds, for a page that writes beside it."""
    return shutil.copytree(folder, tmp_path / "copy")


def test_export_wrote_what_the_page_says(folder: pathlib.Path) -> None:
    written = {path.name for path in (folder / "bowl.pullback").iterdir()}
    assert written == {"manifest.json", "evaluate.onnx", "saved_model", "golden.npz"}


def test_running_needs_no_keras(folder: pathlib.Path) -> None:
    _, block = blocks("docs/start.md", "python")
    printed = python(f"{block}\nimport sys; print('heavy:', {HEAVY!r} & sys.modules.keys())", folder)
    assert "heavy: set()" in printed
    slopes = np.array(printed.replace("[", " ").replace("]", " ").split()[:2], float)
    np.testing.assert_allclose(slopes, (-0.36, 0.36), atol=0.1)


def test_the_two_commands_and_three_lines_of_the_readme(copy: pathlib.Path) -> None:
    shutil.rmtree(copy / "bowl.pullback")
    assert run_commands("README.md", copy) == 1
    (block,) = blocks("README.md", "python")
    assert python(f"{block}\nprint(abs(dy_dx + [[0.36], [-0.36]]).max() < 0.1)", copy).strip() == "True"


@pytest.mark.parametrize("page", [*PROGRAMS, *[pytest.param(task, marks=pytest.mark.slow) for task in TASKS]])
def test_the_blocks_of_a_page_are_a_program(page: str, copy: pathlib.Path) -> None:
    code = "\n".join(blocks(f"docs/{page}.md", "python"))
    assert code
    run = from_the_start if page in STARTING else warm_start.run
    python(f"import numpy as np\nfrom pullback_export import export\n{code}", copy, run)


def test_the_page_of_the_browser_begins_in_an_empty_folder(tmp_path: pathlib.Path) -> None:
    """``tests/anywhere`` opens such pages in Chromium; here a package that looks like onnxruntime-web is enough."""
    dist = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        (dist / name).write_bytes(b"")
    (dist.parent / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.30.0"}')
    (training,) = blocks("docs/howto/browser.md", "python")
    python(training, tmp_path, warm_start.run)
    assert run_commands("docs/howto/browser.md", tmp_path, warm_start.run) == 2
    assert "dy_dx" in (tmp_path / "page" / "bundle.js").read_text()


def test_the_commands_of_the_page_run(copy: pathlib.Path) -> None:
    assert run_commands("docs/commands.md", copy, warm_start.run) >= 5


def test_the_table_of_kinds_is_complete() -> None:
    from pullback_export.derivatives.kinds import KINDS

    table = [line for line in (ROOT / "docs/derivatives.md").read_text().splitlines() if line.startswith("| `")]
    assert set(KINDS) <= {line.split("`")[1].split("(")[0] for line in table}


def test_the_example_rule_is_the_real_one() -> None:
    """The function that CONTRIBUTING.md shows is in the code, to the letter."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    shown = text[text.index('   @lowers("SoftsignGrad")') :].split("```")[0]
    lines = "\n".join(line[3:] for line in shown.rstrip().splitlines())
    rules = [path.read_text() for path in (ROOT / "exporter/pullback_export/lowering").rglob("*.py")]
    assert any(lines in rule for rule in rules)
