"""Keras with another backend than TensorFlow: the command takes TensorFlow, a program a process that has it."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import pytest

WITH_JAX = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed; make test-backends brings it and runs this"
)
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


REBUILT = """
import keras
import numpy as np

class Changed(keras.Model):
    \"\"\"An attribute that is set later.\"\"\"
    def __init__(self, **options):
        super().__init__(**options)
        self.factor, self.dense = 1.0, keras.layers.Dense(2)
    def call(self, x):
        return self.factor * self.dense(x)

class Forgetful(Changed):
    \"\"\"A configuration without an argument.\"\"\"
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor
    def get_config(self):
        return {}

class Drawn(Changed):
    \"\"\"A constant that is drawn anew.\"\"\"
    def __init__(self, **options):
        super().__init__(**options)
        self.shift = np.random.default_rng().normal(size=2).astype("float32")
    def call(self, x):
        return super().call(x) + self.shift

class Liar(Changed):
    def call(self, x):
        return super().call(x) * (2.0 if keras.config.backend() == "tensorflow" else 1.0)
"""
CAUSES = """
import numpy as np
import tensorflow as tf
import rebuilt
from pullback import ParityError
from pullback_export import export

changed = rebuilt.Changed()
causes = [
    (changed, "another model (Changed.factor is 3.0, built again 1.0): let __init__ take"),
    (rebuilt.Forgetful(factor=2.0), "another model (Forgetful.factor is 2.0, built again 1.0): let __init__ take"),
    (rebuilt.Drawn(), "another model (Drawn.shift has other numbers): let __init__ take"),
    (rebuilt.Liar(), "computes something else on TensorFlow: look for code that depends on the backend"),
]
for model, cause in causes:
    model(np.ones((2, 3), np.float32))
    changed.factor = 3.0
    try:
        export(model, "it.pullback", inputs=[tf.TensorSpec([None, 3], tf.float32, "x")], formats="onnx")
    except ParityError as problem:
        assert cause in str(problem), problem
        assert cause in str(problem.report), problem.report
    else:
        raise AssertionError(f"{model} was exported")
"""


@WITH_JAX
def test_what_a_file_does_not_hold_is_named(folder: pathlib.Path) -> None:
    """Models that Keras builds again otherwise, without noticing."""
    (folder / "rebuilt.py").write_text(REBUILT)
    (folder / "causes.py").write_text(CAUSES)
    done = run(folder, "jax", "causes.py")
    assert done.returncode == 0, done.stderr
    assert not (folder / "it.pullback").exists()


FUNCTIONS = """
import keras
import tensorflow as tf
from pullback_export import ExportError, export

model = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(1, name="y")])

class Module(tf.Module):
    def __call__(self, x):
        return model(x)

def fails(function):
    try:
        export(function, "it.pullback", inputs=[tf.TensorSpec([None, 3], tf.float32, "x")])
    except ExportError as problem:
        return str(problem)
    raise AssertionError("it was exported")

for function in (lambda x: {"y": 2 * model(x)}, tf.function(lambda x: model(x)), Module(), keras.ops.sin):
    said = fails(function)
    assert f"it calls Keras, which runs on {keras.config.backend()} here" in said, said
    assert "Set KERAS_BACKEND=tensorflow" in said and "export the Keras model itself" in said, said
said = fails(lambda x: tf.matmul(x, tf.ones([4, 2])))  # as before
assert "Keras" not in said and "Dimensions must be equal" in said, said
if keras.config.backend() == "jax":
    import jax.numpy
    assert "it computes with JAX" in fails(lambda x: {"y": jax.numpy.sin(x)})
"""


@WITH_JAX
def test_functions_that_call_keras_on_another_backend(folder: pathlib.Path) -> None:
    (folder / "functions.py").write_text(FUNCTIONS)
    done = run(folder, "jax", "functions.py")
    assert done.returncode == 0, done.stderr
    assert not (folder / "it.pullback").exists()


@WITH_JAX
def test_a_live_model_confirms_its_bundle(folder: pathlib.Path) -> None:
    """Several inputs and outputs, a class of a module, errors of ours from the other process; nothing is left."""
    (folder / "own.py").write_text(OWN)
    (folder / "live.py").write_text(LIVE)
    done = run(folder, "jax", "live.py")
    assert done.returncode == 0, done.stderr
