"""The bundle that the main environment wrote, and which of the environments this is."""

from __future__ import annotations

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def bundle_path() -> pathlib.Path:
    """The bowl with its gradient, both formats."""
    return pathlib.Path(os.environ["PULLBACK_BUNDLE"])


@pytest.fixture(autouse=True)
def only_in_its_environment(request: pytest.FixtureRequest) -> None:
    """A test file says ``ENVIRONMENT``: the one that it is about."""
    wanted = request.module.ENVIRONMENT
    if wanted != os.environ["PULLBACK_INSTALLED"]:
        pytest.skip(f"about the environment {wanted!r}")
