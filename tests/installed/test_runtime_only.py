"""The wheel with NumPy and ONNX Runtime and nothing else: what a deployment sees."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pullback
import pytest

ENVIRONMENT = "runtime"


@pytest.mark.parametrize("package", ["tensorflow", "keras", "onnx", "tf2onnx"])
def test_the_environment_has_no(package: str) -> None:
    assert importlib.util.find_spec(package) is None


def test_the_wheel_is_what_is_tested() -> None:
    assert "site-packages" in pathlib.Path(pullback.__file__).parts


def test_bundle_loads_evaluates_and_verifies(bundle_path: pathlib.Path) -> None:
    bowl = pullback.load(bundle_path)
    y, dy_dx = bowl(np.array([[0.5]], np.float32))
    assert y.shape == dy_dx.shape == (1, 1)
    assert dy_dx[0, 0] == pytest.approx(-0.36, abs=0.05)
    assert bowl.verify().ok


def test_saved_model_backend_says_what_to_install(bundle_path: pathlib.Path) -> None:
    with pytest.raises(pullback.MissingDependencyError, match=r'pip install "pullback\[savedmodel\]"'):
        pullback.load(bundle_path, backend="saved_model").verify()


def test_exporter_says_what_to_install() -> None:
    with pytest.raises(ImportError, match=r'pip install "pullback\[export\]"'):
        import pullback_export  # noqa: F401


def test_verify_command(bundle_path: pathlib.Path) -> None:
    command = [pathlib.Path(sys.executable).with_name("pullback"), "verify", str(bundle_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["pullback-export", "pullback-parity"])
def test_commands_of_the_exporter_say_what_to_install(command: str) -> None:
    script = pathlib.Path(sys.executable).with_name(command)
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{command}: exporting needs TensorFlow and ONNX")
    assert 'pip install "pullback[export]"' in done.stderr
    assert "Traceback" not in done.stderr
