"""The same model exported in two processes gives the same bytes, whatever else the processes did before."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from pullback_export import export

ROOT = pathlib.Path(__file__).parents[3]

REQUESTS = ["gradient(y, x)", "hessian(y, x)", "vjp(y, x)", "jvp(y, x)"]
EXPORT = f"""
import sys
import keras
from pullback_export import export

export(keras.models.load_model(sys.argv[1]), sys.argv[2], {REQUESTS}, formats="onnx")
"""


def busy(folder: pathlib.Path) -> None:
    """Names and counters of Keras and TensorFlow are somewhere else afterwards, if no test before has done that."""
    for _ in range(3):
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(2)])(np.ones((1, 3)))
    other = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, "tanh"), keras.layers.Dense(1)])
    export(other, folder / "other.pullback", ["jacobian(y, x)"], formats="onnx")


def digests(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.onnx"))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "tanh"), keras.layers.Dense(6, "softplus"), keras.layers.Dense(1)]
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    keras.Sequential([keras.Input((3,), name="x"), *layers]).save(path)
    return path


def test_two_processes_give_the_same_bytes(saved: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A new one whose strings have other hashes, and this one."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    command = [sys.executable, "-c", EXPORT, str(saved), str(tmp_path / "fresh.pullback")]
    environment = {"PYTHONHASHSEED": seed, "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    busy(tmp_path)
    export(keras.models.load_model(saved), tmp_path / "busy.pullback", REQUESTS, formats="onnx")
    found = [digests(tmp_path / f"{name}.pullback") for name in ("fresh", "busy")]
    assert list(found[0]) == ["evaluate.onnx", "jvp.onnx", "vjp.onnx"]
    assert found[0] == found[1]
