"""Every variant of every row has its turn."""

from __future__ import annotations

import pytest

from tests import rotation


@pytest.mark.parametrize("variants", [1, 2, 3, 4])
def test_as_many_turns_as_variants_cover_all(variants: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for turn in range(100, 100 + variants):
        monkeypatch.setattr(rotation, "turn", lambda turn=turn: turn)
        found.append(rotation.chosen("a row", variants))
    assert sorted(found) == list(range(variants))
