"""What patterns match, against Python's own engine on texts of their characters."""

from __future__ import annotations

import itertools
import re
import string

import pytest
from pullback_export.lowering.numerics.literal_patterns import LARGEST_SET, Matched, matched

PUNCTUATION = r"""[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']"""


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("<br />", ("<br />",)),
        (r"a\.b", ("a.b",)),
        ("日本", ("日本",)),
        ("x", ("x",)),
        (r"\t", ("\t",)),
        ("[ab]", ("a", "b")),
        ("[a-c]", ("a", "b", "c")),
        ("[]a]", ("]", "a")),
        ("[a-]", ("a", "-")),
        ("[-a]", ("-", "a")),
        (r"[\]\\]", ("]", "\\")),
        ("[äÄ]", ("ä", "Ä")),
        ("[aa]", ("a",)),
        ("]", ("]",)),
        (r"\d", tuple("0123456789")),
        (f"[{re.escape(string.punctuation)}]", tuple(sorted(string.punctuation))),
        (PUNCTUATION, tuple(sorted(string.punctuation))),
    ],
)
def test_texts_and_sets(pattern: str, texts: tuple[str, ...]) -> None:
    found = matched(pattern)
    assert found is not None and not found.runs
    assert sorted(found.texts) == sorted(texts)
    for text in texts:
        assert re.fullmatch(pattern, text)
    if len(texts) > 1 or len(texts[0]) == 1:
        others = set(map(chr, range(256))) - set(texts)
        assert not any(re.fullmatch(pattern, other) for other in others)


@pytest.mark.parametrize(
    ("pattern", "texts"), [(r"\s+", "\t\n\f\r "), ("[ab]+", "ab"), ("a+", "a"), (r"\++", "+"), ("[+]+", "+")]
)
def test_runs(pattern: str, texts: str) -> None:
    assert matched(pattern) == Matched(tuple(texts), True)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "",
            "+",
            "a.",
            "^a",
            "a$",
            "a*",
            "a?",
            "(a)",
            "a|b",
            "a{2}",
            "ab+",
            "[ab][cd]",
            "[ab]c",
            "[^a]",
            "[[:punct:]]",
        ),
        *(
            "[a",
            "[",
            "a\\",
            r"\w",
            r"\bup\b",
            r"[\w]",
            r"[a-\d]",
            "[b-a]",
            "(?i)a",
            r"\pL",
            "a++",
            "[]",
            "[\u0001-\uffff]",
        ),
    ],
)
def test_what_is_more_than_that(pattern: str) -> None:
    assert matched(pattern) is None


def test_large_sets() -> None:
    end = chr(0x100 + LARGEST_SET - 1)
    assert len(matched(f"[\u0100-{end}]").texts) == LARGEST_SET  # type: ignore[union-attr]
    assert matched(f"[\u0100-{end}a]") is None


def test_no_pattern_ends_in_an_error() -> None:
    for letters in itertools.product("a[]-+\\^", repeat=5):
        found = matched("".join(letters))
        assert found is None or (found.texts and all(found.texts))
