"""Imports point one way: tests -> exporter -> runtime -> NumPy and ONNX Runtime, and in the exporter row by row."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.project.import_graph import against, circles, import_graph, module_name

ROOT = pathlib.Path(__file__).parents[2]
RUNTIME = ROOT / "runtime" / "pullback"
EXPORTER = ROOT / "exporter" / "pullback_export"
FIXTURE = ROOT / "tests" / "runtime" / "fixtures" / "net.pullback"
HEAVY = ("tensorflow", "keras", "onnx", "tf2onnx", "pullback_export")
# The only runtime file that may import TensorFlow, and only when that backend is requested.
TENSORFLOW_BACKEND = RUNTIME / "backends" / "saved_model.py"
# The only file that may import tf2onnx, and only when an operator has no rule of ours.
TF2ONNX = EXPORTER / "lowering" / "tf2onnx_fallback.py"


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
    allowed = {"tf2onnx"} if path == TF2ONNX else set()
    assert not packages(path) & {"models", "tests", "runtime", "exporter", "tf2onnx"} - allowed
    assert not packages(path, nested=False) & {"tf2onnx"}


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


# A module imports from its own row and from those above it: ``graph`` knows nothing of the rewrites that it is handed,
# ``lowering`` nothing of what surrounds it.
ORDER: tuple[tuple[str, ...], ...] = tuple(
    tuple(f"pullback_export.{name}" for name in row)
    for row in (
        ("errors", "failures", "precision"),
        ("arguments",),
        ("graph",),
        ("optimize",),
        ("lowering.context", "lowering.registry", "lowering.texts", "lowering.refusals", "lowering.liveness"),
        ("lowering.own_rules", "lowering.tf2onnx_fallback"),
        ("lowering.flows",),
        ("lowering.numerics",),
        ("lowering.loops",),
        ("lowering.rules",),
        ("lowering.converter",),
        ("overrides",),
        ("sources",),
        ("derivatives",),
        ("artifacts",),
        ("gate",),
        ("bundle_writer",),
        ("export",),
        ("cli",),
    )
)
# Rows that lie above another one without being known there.
STRANGERS = (
    ("pullback_export.lowering", "pullback_export.optimize"),
    ("pullback_export.overrides", "pullback_export"),
    ("pullback_export.graph", "tensorflow"),
    ("pullback_export.graph", "keras"),
    ("pullback_export.optimize", "tensorflow"),
    ("pullback_export.optimize", "keras"),
)
# What a folder holds at most.
MODULES = 15
ROOT_MODULES = 8


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_the_exporter_is_in_rows() -> None:
    graph = import_graph(ROOT / "exporter", "pullback_export")
    packages = {"pullback_export", "pullback_export.lowering"}  # whose __init__ says what there is
    assert against({module: others for module, others in graph.items() if module not in packages}, ORDER) == []


@pytest.mark.parametrize(("package", "stranger"), STRANGERS)
def test_strangers(package: str, stranger: str) -> None:
    for path in files(EXPORTER):
        module = module_name(path, ROOT / "exporter")
        if below(module, package):
            unknown = [other for other in imports(path) if below(other, stranger) and not below(other, package)]
            assert unknown == [], name(path)


@pytest.mark.parametrize(("folder", "package"), [("exporter", "pullback_export"), ("runtime", "pullback")])
def test_no_circles(folder: str, package: str) -> None:
    assert circles(import_graph(ROOT / folder, package)) == []


PLANTED = {
    "plain": ("from box.b import two\n", "from box.a import one\n"),
    "lazy": ("from box.b import two\n", "def two():\n    from box import a\n    return a.one\n"),
    "for type checkers": (
        "import box.b\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from box.a import one\n",
    ),
}


@pytest.mark.parametrize(("one", "two"), PLANTED.values(), ids=PLANTED)
def test_a_planted_circle_is_found(one: str, two: str, tmp_path: pathlib.Path) -> None:
    package = tmp_path / "box"
    package.mkdir()
    for stem, text in (("__init__", ""), ("a", one), ("b", "x = 1\n"), ("c", "from box import a\n")):
        (package / f"{stem}.py").write_text(text)
    assert circles(import_graph(tmp_path, "box")) == []
    (package / "b.py").write_text(two)
    assert circles(import_graph(tmp_path, "box")) == [["box.a", "box.b"]]


def test_a_planted_import_against_the_order_is_found(tmp_path: pathlib.Path) -> None:
    package = tmp_path / "box"
    package.mkdir()
    (package / "low.py").write_text("def one():\n    from box.high import two\n    return two\n")
    (package / "high.py").write_text("import box.low\n")
    (package / "lost.py").write_text("")
    order = (("box.low",), ("box.high",))
    assert against(import_graph(tmp_path, "box"), order) == ["box.lost has no row", "box.low imports box.high"]


@pytest.mark.parametrize("folder", [EXPORTER, RUNTIME], ids=name)
def test_folders_are_small(folder: pathlib.Path) -> None:
    for path in [folder, *(item for item in folder.rglob("*") if item.is_dir())]:
        count = len([item for item in path.glob("*.py") if item.stem != "__init__"])
        assert count <= MODULES, f"{name(path)} holds {count} modules: group them"
    assert len([item for item in EXPORTER.glob("*.py") if item.stem != "__init__"]) <= ROOT_MODULES


def outside(*folders: str) -> list[pathlib.Path]:
    inside = tuple(EXPORTER / folder for folder in folders)
    return [path for path in files(EXPORTER) if not any(folder in path.parents for folder in inside)]


def test_nodes_are_made_by_the_graph_and_by_loops_only() -> None:
    """Everything else goes through ``Graph.emit``, which simplifies, folds, shares and hoists."""
    found = {
        name(path): node.lineno
        for path in outside("graph", "lowering/loops")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Node"
    }
    assert found == {}


def test_what_the_graph_remembers_is_its_own() -> None:
    found = {
        name(path): node.lineno
        for path in outside("graph")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("_seen", "_sizes")
    }
    assert found == {}


def test_shapes_are_stated_to_the_graph() -> None:
    """``Value.refine`` is the one way to say more of a shape than inference knows."""
    found = {name(path): node.lineno for path in outside("graph") for node in assigned(path) if node.attr == "shape"}
    assert found == {}


def assigned(path: pathlib.Path) -> Iterator[ast.Attribute]:
    """Attributes that a file assigns, deletes, or sets with ``setattr``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            target, key = node.args[:2]
            yield ast.Attribute(target, ast.unparse(key), ast.Store())


def changes_a_library(path: pathlib.Path) -> list[str]:
    """Assignments to attributes of TensorFlow's and Keras' modules, under the names that the file gives them."""
    libraries = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [(alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [(alias.asname or alias.name, node.module or "") for alias in node.names]
        else:
            continue
        libraries |= {label for label, module in found if module.split(".")[0] in ("tensorflow", "keras")}
    targets = [(node, ast.unparse(node.value).split(".")[0].split("(")[0]) for node in assigned(path)]
    return [ast.unparse(node) for node, owner in targets if owner in libraries]


@pytest.mark.parametrize("path", outside("overrides"), ids=name)
def test_only_overrides_change_tensorflow_and_keras(path: pathlib.Path) -> None:
    assert changes_a_library(path) == []


def test_a_planted_change_of_a_library_is_found() -> None:
    assert changes_a_library(EXPORTER / "overrides" / "time_distributed.py") != []


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
