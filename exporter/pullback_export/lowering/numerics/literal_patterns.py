"""Regular expressions that ask for one text, or for a character of a set: what they match, without an engine.

The syntax is RE2's, which TensorFlow reads (https://github.com/google/re2/wiki/Syntax); all other patterns are unknown
here.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterator

# Of a larger set splitting a string at each of its characters costs too much.
LARGEST_SET = 128
_MEANS_SOMETHING = frozenset(".^$*+?()[{|\\")
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SETS = {"d": string.digits, "s": "\t\n\f\r "}


@dataclasses.dataclass(frozen=True)
class Matched:
    """The texts that a pattern matches, which do not overlap; ``runs``: several in a row are one match."""

    texts: tuple[str, ...]
    runs: bool = False


class _Unknown(Exception):
    """Something else than a text or a set."""


def matched(pattern: str) -> Matched | None:
    """What ``pattern`` matches; None where that is neither a text nor a set of characters."""
    try:
        items = list(_items(pattern))
    except _Unknown:
        return None
    if len(items) == 2 and items[1] is None and items[0]:
        return Matched(items[0], True)
    if len(items) == 1 and items[0]:
        return Matched(items[0])
    alone = [item[0] for item in items if item is not None and len(item) == 1]
    return Matched(("".join(alone),)) if items and len(alone) == len(items) else None


def _items(pattern: str) -> Iterator[tuple[str, ...] | None]:
    """One after the other the characters of which one matches; None for ``+``."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "[":
            found, at = _set(pattern, at + 1)
            yield found
        elif pattern[at] == "+":
            at += 1
            yield None
        elif pattern[at] == "\\":
            yield _escaped(pattern[at + 1 : at + 2])
            at += 2
        elif pattern[at] in _MEANS_SOMETHING:
            raise _Unknown
        else:
            yield (pattern[at],)
            at += 1


def _escaped(letter: str) -> tuple[str, ...]:
    if letter and letter in string.punctuation:
        return (letter,)
    if letter in _CONTROL:
        return (_CONTROL[letter],)
    if letter in _SETS:
        return tuple(_SETS[letter])
    raise _Unknown


def _set(pattern: str, at: int) -> tuple[tuple[str, ...], int]:
    """The characters of a set that begins behind its bracket, in order, and where the pattern goes on."""
    found: list[str] = []
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        if pattern.startswith("[:", at) or (pattern[at] == "^" and at == first):
            raise _Unknown
        start, at = _member(pattern, at)
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            end, at = _member(pattern, at + 1)
            start = _between(start, end)
        found += start
    if at == len(pattern) or len(found) > LARGEST_SET:
        raise _Unknown
    return tuple(dict.fromkeys(found)), at + 1


def _member(pattern: str, at: int) -> tuple[tuple[str, ...], int]:
    if pattern[at] == "\\":
        return _escaped(pattern[at + 1 : at + 2]), at + 2
    return (pattern[at],), at + 1


def _between(start: tuple[str, ...], end: tuple[str, ...]) -> tuple[str, ...]:
    if len(start) != 1 or len(end) != 1 or not 0 <= ord(end[0]) - ord(start[0]) < LARGEST_SET:
        raise _Unknown
    return tuple(map(chr, range(ord(start[0]), ord(end[0]) + 1)))
