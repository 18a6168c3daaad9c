"""Fixture bundles; nothing here needs onnx or TensorFlow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pullback
import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def net() -> pullback.Bundle:
    """y = sum(tanh(x W + b)), float32, batched, with vjp, jvp and hvp."""
    return pullback.load(FIXTURES / "net.pullback")


@pytest.fixture(scope="session")
def mixed() -> pullback.Bundle:
    """y = gain * <v, w> + bias[index], float64, not batched."""
    return pullback.load(FIXTURES / "mixed.pullback")


@pytest.fixture(scope="session")
def words() -> pullback.Bundle:
    """y = weight[word] * sum(x**2), float32, batched, with an input of strings, and a vjp."""
    return pullback.load(FIXTURES / "words.pullback")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of ``net`` that a test may damage."""
    return Path(shutil.copytree(FIXTURES / "net.pullback", tmp_path / "net.pullback"))
