"""Keras with another backend than TensorFlow: the command takes TensorFlow, a program is told what to set."""

from __future__ import annotations

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


@pytest.mark.parametrize("backend", ["nothing", "torch"])
def test_a_program_is_told_what_to_set(folder: pathlib.Path, backend: str) -> None:
    """Neither can start here: the one does not exist, the other is not installed."""
    done = run(folder, backend, "-c", PROGRAM)
    assert "Keras cannot start" in done.stderr
    assert backend in done.stderr
    assert "set KERAS_BACKEND=tensorflow" in done.stderr
