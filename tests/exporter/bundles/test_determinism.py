"""The same model exported in two processes gives the same bytes, whatever else the processes did before."""

from __future__ import annotations

import hashlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]

EXPORT = """
import sys
import keras
import numpy as np
from pullback_export import export

if sys.argv[3] == "busy":  # names and counters of Keras and TensorFlow are somewhere else then
    for _ in range(3):
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(2)])(np.ones((1, 3)))
    other = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, "tanh"), keras.layers.Dense(1)])
    export(other, sys.argv[1] + "/other.pullback", ["jacobian(y, x)"], formats="onnx")

model = keras.models.load_model(sys.argv[2])
requests = ["gradient(y, x)", "hessian(y, x)", "vjp(y, x)", "jvp(y, x)"]
export(model, sys.argv[1] + "/model.pullback", requests, formats="onnx")
"""


def digests(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.onnx"))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "tanh"), keras.layers.Dense(6, "softplus"), keras.layers.Dense(1)]
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    keras.Sequential([keras.Input((3,), name="x"), *layers]).save(path)
    return path


def test_two_processes_give_the_same_bytes(saved: pathlib.Path, tmp_path: pathlib.Path) -> None:
    found = []
    for hash_seed, history in (("1", "fresh"), ("2", "busy")):
        folder = tmp_path / history
        folder.mkdir()
        command = [sys.executable, "-c", EXPORT, str(folder), str(saved), history]
        environment = {"PYTHONHASHSEED": hash_seed, "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(digests(folder / "model.pullback"))
    assert list(found[0]) == ["evaluate.onnx", "jvp.onnx", "vjp.onnx"]
    assert found[0] == found[1]
