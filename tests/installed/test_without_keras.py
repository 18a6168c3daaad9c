"""TensorFlow is installed and Keras is not: the ``saved_model`` backend works there."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import numpy as np
import pullback
import pytest

ENVIRONMENT = "savedmodel"


def test_the_environment_has_tensorflow_and_no_keras() -> None:
    assert importlib.util.find_spec("tensorflow") is not None
    assert importlib.util.find_spec("keras") is None
    assert importlib.util.find_spec("tf_keras") is None


def test_bundle_loads_evaluates_and_verifies(bundle_path: pathlib.Path) -> None:
    bowl = pullback.load(bundle_path, backend="saved_model")
    y, dy_dx = bowl(np.array([[0.5]], np.float32))
    assert y.shape == dy_dx.shape == (1, 1)
    assert dy_dx[0, 0] == pytest.approx(-0.36, abs=0.05)
    assert bowl.verify().ok
    assert "keras" not in sys.modules


def test_both_backends_agree(bundle_path: pathlib.Path) -> None:
    x = np.linspace(0, 10, 101, dtype=np.float32)[:, None]
    ours, theirs = pullback.load(bundle_path)(x), pullback.load(bundle_path, backend="saved_model")(x)
    for name in ours._fields:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-5)


def test_saved_model_folder_alone(bundle_path: pathlib.Path) -> None:
    bowl = pullback.load(bundle_path / "saved_model")
    assert bowl.backend == "saved_model"
    assert bowl([[0.5]]).dy_dx[0, 0] == pytest.approx(-0.36, abs=0.05)
