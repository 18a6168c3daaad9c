"""The page of errors says what the source says, and reads every way in which the source says it."""

from __future__ import annotations

import pytest

from tests.project.error_list import PAGE, Message, messages_of, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.project.error_list"


@pytest.mark.parametrize(
    ("source", "error", "template"),
    [
        ('raise ExportError("no; do this")', "ExportError", "no; do this"),
        ('raise ExportError(f"{x!r} is wrong") from e', "ExportError", "{...} is wrong"),
        ('raise errors.InputError("a " + b + " c")', "InputError", "a {...} c"),
        ('raise InputError("one" if x else "two")', "InputError", "one / two"),
        ('raise op.unsupported("a free size; fix it")', "UnsupportedOpsError", "a free size; fix it"),
        ('warnings.warn(f"slow: {x}", ParityWarning, stacklevel=2)', "ParityWarning", "slow: {...}"),
        ('warnings.warn("slow", category=ParityWarning)', "ParityWarning", "slow"),
        ('warnings.warn("slow")', "UserWarning", "slow"),
    ],
)
def test_what_is_listed(source: str, error: str, template: str) -> None:
    assert list(messages_of(source, "m.py")) == [Message(error, template, "m.py")]


@pytest.mark.parametrize("source", ['raise KeyError("x")', "raise ExportError(text)", 'f("ExportError")', "raise"])
def test_what_is_not_listed(source: str) -> None:
    assert not list(messages_of(source, "m.py"))
