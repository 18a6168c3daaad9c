"""The rows of the table of mistakes that need PyTorch, JAX or PyTensor."""

from __future__ import annotations

import pytest

from tests.integrations.mistakes import Bundles, Row, frameworks
from tests.integrations.mistakes.trial import attempt, name, rows


@pytest.fixture(scope="module")
def bundles() -> Bundles:
    return Bundles()


@pytest.mark.parametrize("row", rows(frameworks.ENTRIES), ids=name)
def test_a_mistake(row: Row, bundles: Bundles) -> None:
    attempt(row, bundles)
