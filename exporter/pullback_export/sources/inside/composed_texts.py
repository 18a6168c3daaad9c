"""Texts of several words, for models that split, clean or compare parts of a string."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from tensorflow.python.framework import tensor_util

from pullback_export.lowering.numerics.literal_patterns import matched

# One to four words with what stands between them; of few words texts there are at least these many.
_LENGTHS = (3, 1, 4, 2)
_LEAST = 6
_WHITESPACE = (" ", "  ", "\t", " \n", "\r\n")


def marks_in(nodes: Iterable[Any], names: Collection[str] | None = None) -> list[str]:
    """What tells operators where a part of a string ends; nothing where they see strings as a whole.

    ``nodes`` are those of a graph or of a function in its library (``NodeDef``); all of them count, or those ``names``.
    """
    by_name = {node.name: node for node in nodes}
    found = [mark for name, node in by_name.items() if names is None or name in names for mark in _of(node, by_name)]
    return list(dict.fromkeys(found))


def _of(node: Any, others: dict[str, Any]) -> tuple[str, ...]:
    if node.op == "StringSplitV2":
        between = _constant(others, node.input[1])
        return (between,) if between else _WHITESPACE
    if node.op in ("RegexReplace", "StaticRegexReplace"):
        is_static = node.op == "StaticRegexReplace"
        found = matched(_decoded(node.attr["pattern"].s) if is_static else _constant(others, node.input[1]))
        return found.texts if found is not None else ()
    return (" ",) if node.op in ("StringLower", "StringUpper") else ()


def _constant(others: dict[str, Any], name: str) -> str:
    """The contents of a scalar, empty where it is not known."""
    node = others.get(name.removeprefix("^").split(":")[0])
    if node is None or node.op != "Const":
        return ""
    contents = tensor_util.MakeNdarray(node.attr["value"].tensor).ravel()
    return _decoded(contents[0]) if len(contents) == 1 and isinstance(contents[0], bytes) else ""


def _decoded(text: bytes) -> str:
    """What is not UTF-8 matches nothing that a bundle is called with."""
    return text.decode(errors="replace")


def texts_of(words: Sequence[str], marks: Sequence[str]) -> Iterator[str]:
    """Texts that hold each of ``words`` and of ``marks``, some words in other case; some begin or end with a mark."""
    if not words:
        words = ("no", "such", "words")
    endless, between = itertools.cycle(words), itertools.cycle(marks)
    left = max(len(words), len(marks))
    for number, count in enumerate(itertools.cycle(_LENGTHS)):
        if left <= 0 and number >= _LEAST:
            return
        chosen = list(itertools.islice(endless, count))
        if number % 3 == 1:
            chosen = [word.swapcase() for word in chosen]
        text = "".join(word + next(between) for word in chosen)
        yield next(between) + text if number % 2 else text + chosen[0]
        left -= count
