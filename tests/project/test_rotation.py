"""Every variant of every row has its turn."""

from __future__ import annotations

from typing import Any

import pytest

from tests import rotation


@pytest.mark.parametrize("variants", [1, 2, 3, 4])
def test_as_many_turns_as_variants_cover_all(variants: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for turn in range(100, 100 + variants):
        monkeypatch.setattr(rotation, "turn", lambda turn=turn: turn)
        found.append(rotation.chosen("a row", variants))
    assert sorted(found) == list(range(variants))


@pytest.mark.parametrize("turns", [None, 2])
def test_every_row_runs_at_one_of_the_turns(turns: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["a", ("b",), pytest.param("c", id="see", marks=pytest.mark.timeout(60)), "d", "e"]
    quick: list[str] = []
    for turn in range(7, 7 + (turns or len(rows))):
        monkeypatch.setattr(rotation, "turn", lambda turn=turn: turn)
        found: list[Any] = rotation.in_turn("a table", rows, turns)
        assert len(found) == len(rows)
        slow = [hasattr(row, "marks") and pytest.mark.slow in list(row.marks) for row in found]
        quick += ["abcde"[index] for index, is_slow in enumerate(slow) if not is_slow]
        assert found[2].id == "see" and "timeout" in [mark.name for mark in found[2].marks]
        assert all(row.values[0] == "abcde"[index] for index, row in enumerate(found) if slow[index])
    assert sorted(quick) == list("abcde")
