"""Keras with another backend than TensorFlow: the command takes TensorFlow, a program a process that has it."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import pytest

PROGRAM = 'from pullback_export import export; export("it.keras", "it.pullback", "gradient(y, x)")'


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    keras.Sequential([keras.Input((2,), name="x"), keras.layers.Dense(1, name="y")]).save(tmp_path / "it.keras")
    return tmp_path


def run(folder: pathlib.Path, backend: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_command_reads_the_file_on_tensorflow(folder: pathlib.Path) -> None:
    main = "import sys; from pullback_commands import export; sys.exit(export())"
    done = run(folder, "jax", "-c", main, "it.keras", "it.pullback", "-d", "gradient(y, x)", "--format", "onnx")
    assert done.returncode == 0, done.stderr
    assert (folder / "it.pullback" / "evaluate.onnx").is_file()


def test_a_program_is_told_what_to_set(folder: pathlib.Path) -> None:
    """A backend that does not exist."""
    done = run(folder, "nothing", "-c", PROGRAM)
    assert "Keras cannot start" in done.stderr
    assert "set KERAS_BACKEND=tensorflow" in done.stderr


def test_a_file_where_the_backend_is_not_installed(folder: pathlib.Path) -> None:
    (folder / "torch.py").write_text('raise ImportError("no torch")')  # wherever these tests run
    done = run(folder, "torch", "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    assert (folder / "it.pullback" / "evaluate.onnx").is_file()


OWN = """
import keras

class Swirl(keras.layers.Layer):
    def call(self, x):
        return keras.ops.sin(2.0 * x)

class Liar(keras.layers.Layer):
    def call(self, x):
        return x if keras.config.backend() == "tensorflow" else x + 0.01
"""
LIVE = """
import os
import keras
import own
from pullback_export import ExportError, ParityWarning, UnsupportedOpsError, assert_parity, export
from pullback import ParityError

assert keras.config.backend() == "jax"
x, t = keras.Input((3,), name="x"), keras.Input((1,), name="t")
h = own.Swirl()(keras.layers.Dense(4)(keras.layers.Concatenate()([x, t])))
u, v = keras.layers.Dense(1, name="u")(h), keras.layers.Dense(2, name="v")(h)
model = keras.Model([x, t], [u, v])
said = []
bundle = export(model, "live.pullback", ["gradient(u, x)"], formats=("onnx",), progress=said.append)
rows = [row for row in bundle.manifest.parity["rows"] if row["stage"].startswith("live model on jax")]
assert {row["output"] for row in rows} == {"u", "v"} and not any(row["problem"] for row in rows), rows
assert "lowering to ONNX" in said and said[-1] == "wrote live.pullback", said
assert "live model on jax: golden sample 0" in {row.stage for row in assert_parity(model, "live.pullback").rows}

before = open("live.pullback/manifest.json").read()
try:
    export(keras.Model(x, own.Liar(name="y")(x)), "live.pullback", overwrite=True, formats=("onnx",))
except ParityError as problem:
    assert all(row.stage.startswith("live model on jax") for row in problem.report.failures), problem.report
else:
    raise AssertionError("a live model that says something else was not noticed")
assert open("live.pullback/manifest.json").read() == before

try:
    export(keras.Model(x, keras.layers.GaussianNoise(0.1)(x)), "noise.pullback", training=True)
except UnsupportedOpsError as problem:
    assert list(problem.ops) == ["StatelessRandomNormalV2"], problem.ops
else:
    raise AssertionError("random numbers were exported")

class Mine(keras.layers.Layer):
    def call(self, x):
        return x

try:
    export(keras.Model(x, Mine()(x)), "mine.pullback")
except ExportError as problem:
    assert "Define it at the top of a module" in str(problem), problem
else:
    raise AssertionError("a class that no other process can import was not noticed")
left = set(os.listdir()) - {"__pycache__"}
assert left == {"it.keras", "live.pullback", "live.py", "own.py"}, left
"""


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed; make test-backends brings it and runs this"
)
def test_a_live_model_confirms_its_bundle(folder: pathlib.Path) -> None:
    """Several inputs and outputs, a class of a module, errors of ours from the other process; nothing is left."""
    (folder / "own.py").write_text(OWN)
    (folder / "live.py").write_text(LIVE)
    done = run(folder, "jax", "live.py")
    assert done.returncode == 0, done.stderr
