"""Bundles that lie in the repository: the environment of PyTorch and JAX has no TensorFlow."""

from __future__ import annotations

import pathlib

import pullback
import pytest

FIXTURES = pathlib.Path(__file__).parents[1] / "runtime" / "fixtures"


@pytest.fixture(scope="session")
def hill() -> pullback.Bundle:
    """``energy`` and the vector ``c`` of three variables, float64, with both orders of derivatives."""
    return pullback.load(FIXTURES / "hill_float64.pullback")


@pytest.fixture(scope="session")
def hill32() -> pullback.Bundle:
    """The same in float32."""
    return pullback.load(FIXTURES / "hill_float32.pullback")


@pytest.fixture(scope="session")
def picture() -> pullback.Bundle:
    """An image to a score, with its gradient alone."""
    return pullback.load(FIXTURES.parents[1] / "golden" / "v1" / "picture_float64.pullback")
