"""Imports point one way: tests -> exporter -> runtime -> NumPy and ONNX Runtime."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]
RUNTIME = ROOT / "runtime" / "pullback"
EXPORTER = ROOT / "exporter" / "pullback_export"
FIXTURE = ROOT / "tests" / "runtime" / "fixtures" / "net.pullback"
HEAVY = ("tensorflow", "keras", "onnx", "tf2onnx", "pullback_export")
# The only runtime file that may import TensorFlow, and only when that backend is asked for.
TENSORFLOW_BACKEND = RUNTIME / "backends" / "saved_model.py"


def imports(path: pathlib.Path, nested: bool = True) -> Iterator[str]:
    """Names of the modules that a file imports; without ``nested`` those at its top level only."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if nested else iter(tree.body)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.rglob("*.py"))


def name(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def packages(path: pathlib.Path, nested: bool = True) -> set[str]:
    return {module.split(".")[0] for module in imports(path, nested)}


@pytest.mark.parametrize("path", files(RUNTIME), ids=name)
def test_runtime_does_not_know_the_exporter(path: pathlib.Path) -> None:
    allowed = {"tensorflow"} if path == TENSORFLOW_BACKEND else set()
    assert packages(path) & {*HEAVY, "models", "tests", "runtime", "exporter"} <= allowed
    assert not packages(path, nested=False) & set(HEAVY)


@pytest.mark.parametrize("path", files(EXPORTER), ids=name)
def test_exporter_knows_neither_tests_nor_models(path: pathlib.Path) -> None:
    assert not packages(path) & {"models", "tests", "runtime", "exporter", "tf2onnx"}


@pytest.mark.parametrize("path", files(ROOT / "models"), ids=name)
def test_models_do_not_know_the_tests(path: pathlib.Path) -> None:
    assert "tests" not in packages(path)


def rule_files() -> list[pathlib.Path]:
    """The files of ``lowering/`` that register a rule."""
    return [path for path in files(EXPORTER / "lowering") if "\n@lowers(" in path.read_text()]


def test_rule_files_do_not_import_each_other() -> None:
    rules = {".".join(path.relative_to(ROOT / "exporter").with_suffix("").parts) for path in rule_files()}
    assert len(rules) > 10
    found = {name(path): sorted(rules & set(imports(path))) for path in rule_files()}
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_lowering_does_not_know_the_export_story() -> None:
    allowed = (
        "pullback_export.lowering",
        "pullback_export.graph",
        "pullback_export.optimize",
        "pullback_export.errors",
        "pullback_export.precision",
    )
    for path in files(EXPORTER / "lowering"):
        ours = {module for module in imports(path) if module.startswith("pullback_export.")}
        assert not {module for module in ours if not module.startswith(allowed)}, name(path)


SCRIPTS = {
    "import": "import pullback",
    "call": f"import pullback; net = pullback.load({str(FIXTURE)!r}); net(**net.samples()['evaluate'][0].inputs)",
    "verify": f"import pullback; pullback.load({str(FIXTURE)!r}).verify()",
    "command": f"from pullback.cli import main; main(['info', {str(FIXTURE)!r}])",
    "report": "import models.bowl_report",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_nothing_heavy_is_loaded(script: str) -> None:
    check = f"import sys\n{script}\nprint('loaded:', sorted(sys.modules.keys() & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("missing", ["tensorflow", "onnx"])
def test_exporter_without_its_extra_says_what_to_install(missing: str) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; import pullback_export"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert 'pip install "pullback[export]"' in done.stderr.splitlines()[-1]
