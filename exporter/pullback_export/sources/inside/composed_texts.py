"""Texts of several words, for models that split, clean or compare parts of a string."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.lowering.numerics.literal_patterns import matched

# One to four words with what stands between them; of few words texts there are at least these many.
_LENGTHS = (3, 1, 4, 2)
_LEAST = 6
_WHITESPACE = (" ", "  ", "\t", " \n", "\r\n")


def marks_of(op: Any) -> tuple[str, ...]:
    """What tells an operator of TensorFlow where a part of a string ends; empty where it sees strings as a whole."""
    if op.type == "StringSplitV2":
        between = _constant(op.inputs[1])
        return (between,) if between else _WHITESPACE
    if op.type in ("RegexReplace", "StaticRegexReplace"):
        is_static = op.type == "StaticRegexReplace"
        found = matched(op.get_attr("pattern").decode() if is_static else _constant(op.inputs[1]))
        return found.texts if found is not None else ()
    return (" ",) if op.type in ("StringLower", "StringUpper") else ()


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


def _constant(tensor: Any) -> str:
    """The contents of a scalar, empty where it is not known."""
    found = tf.get_static_value(tensor)
    return found.decode(errors="replace") if isinstance(found, bytes) else ""
