"""The rows of the table of mistakes that need UM-Bridge or Tesseract."""

from __future__ import annotations

import pytest

from tests.integrations.mistakes import Bundles, Row, servers
from tests.integrations.mistakes.trial import attempt, name, rows

pytest.importorskip("umbridge", reason="the extra umbridge is not installed; make test-anywhere runs this")
pytest.importorskip("tesseract_core", reason="the extra tesseract is not installed; make test-anywhere runs this")


@pytest.fixture(scope="module")
def bundles() -> Bundles:
    return Bundles()


@pytest.mark.parametrize("row", rows(servers.ENTRIES), ids=name)
def test_a_mistake(row: Row, bundles: Bundles) -> None:
    attempt(row, bundles)
