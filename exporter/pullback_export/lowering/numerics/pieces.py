"""Strings in pieces: split at a delimiter, and put together again with something else in its place.

Kernels of ``StringSplit`` differ where ONNX leaves room. Of an empty string ONNX Runtime makes no piece and ONNX's own
evaluator one; whitespace is the space alone for one and all that Unicode calls so for the other
(onnxruntime/core/providers/cpu/text/string_split.cc, onnx/reference/ops/op_string_split.py). So a delimiter is always
named here, and of an empty string there is one piece, itself.

The kernel fills a table, as wide as the string with most pieces. So it is only strings that are split, never pieces:
there are many of these, and a table of all would be as wide as the largest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.dictionaries import place_among
from pullback_export.lowering.numerics.matrices.batches import repeat
from pullback_export.lowering.numerics.ragged_rows import length, numbers

NOTHING = np.array([""], object)


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The pieces of all strings, one after the other, and which string each is of, int64: vectors of one length.

    ``count``: how many strings there are, a vector of one.
    """

    texts: Value
    row: Value
    count: Value


@dataclasses.dataclass(frozen=True)
class _Table:
    """``texts (N, most + 1)``, the pieces of each string with nothing behind them, and ``counts (N,)``, int64."""

    texts: Value
    counts: Value
    columns: Value

    def is_piece(self, op: OpContext) -> Value:
        return op.Unsqueeze(self.columns, [0]) < op.Unsqueeze(self.counts, [1])

    def is_last(self, op: OpContext) -> Value:
        return op.Unsqueeze(self.columns + 1, [0]).equals(op.Unsqueeze(self.counts, [1]))


def whole(op: OpContext, texts: Value) -> Pieces:
    """Each string of a vector in one piece."""
    return Pieces(texts, numbers(op, texts), length(op, texts))


def split(op: OpContext, texts: Value, delimiter: str, maxsplit: int | None = None, empty: bool = True) -> Pieces:
    """The pieces between each ``delimiter``, of which the first ``maxsplit`` count; ``empty``: those, too."""
    table = _split(op, texts, delimiter, maxsplit)
    kept = table.is_piece(op) if empty else _is_something(op, table.texts)
    row = op.Expand(op.Unsqueeze(numbers(op, texts), [1]), op.shape_of(table.texts))
    flat = op.Reshape(kept, [-1])
    found = Pieces(
        op.Compress(op.Reshape(table.texts, [-1]), flat, axis=0),
        op.Compress(op.Reshape(row, [-1]), flat, axis=0),
        length(op, texts),
    )
    size = op.graph.fresh_size("pieces")
    for vector in (found.texts, found.row):
        vector.refine((size,))
    return found


def replaced(op: OpContext, texts: Value, matched: Sequence[str], by: str, runs: bool = False) -> Value:
    """A vector of strings with ``by`` in place of each of ``matched``, or of several in a row with ``runs``.

    Of several that are ``matched``, each is one character.
    """
    *others, last = matched
    for one in others:
        # At first all become the same: ``by`` may hold one of them, and several in a row may be different ones.
        texts = _joined(op, _split(op, texts, one), last if by else "")
    return _joined(op, _split(op, texts, last), by, runs)


def _split(op: OpContext, texts: Value, delimiter: str, maxsplit: int | None = None) -> _Table:
    found, counts = op.StringSplit(texts, delimiter=delimiter, maxsplit=maxsplit, outputs=2)
    nothing = op.Expand(op.const([NOTHING]), op.Concat(length(op, texts), [1], axis=0))
    wide = op.Concat(found, nothing, axis=1)
    one = op.const(1, np.int64)
    columns = op.Range(op.const(0, np.int64), op.Gather(op.shape_of(wide), one), one)
    return _Table(wide, op.Max(counts, one), columns)


def _joined(op: OpContext, table: _Table, by: str, runs: bool = False) -> Value:
    """The pieces of each string one behind the other, with ``by`` in between, with ``runs`` once between others."""
    added = table.texts
    if by:
        shown = table.is_piece(op)
        if runs:
            shown = shown & (_is_something(op, table.texts) | table.is_last(op))
        after = op.StringConcat(op.const(np.array([[by]], object)), table.texts)
        added = op.Where(shown, after, op.const([NOTHING]))

    def step(op: OpContext, number: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        return [op.StringConcat(state[0], op.Gather(added, number + 1, axis=1))], []

    first = op.Gather(table.texts, op.const(0, np.int64), axis=1)
    more = op.ReduceMax(op.Concat(table.counts, [1], axis=0), [0], keepdims=0) - 1
    results, _ = repeat(op, more, [first], step)
    return cast(Value, results[0])


def _is_something(op: OpContext, texts: Value) -> Value:
    return place_among(op, texts, NOTHING).equals(1)
