"""Strings in pieces: split at delimiters, put together again.

Kernels of ``StringSplit`` differ where ONNX leaves room. Of an empty string ONNX Runtime makes no piece and ONNX's own
evaluator one; whitespace is the space alone for one and all that Unicode calls so for the other
(onnxruntime/core/providers/cpu/text/string_split.cc, onnx/reference/ops/op_string_split.py). So a delimiter is always
named here, and of an empty string there is one piece, itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.dictionaries import place_among
from pullback_export.lowering.numerics.matrices.batches import repeat
from pullback_export.lowering.numerics.ragged_rows import from_rows, length, lengths_of, numbers, starts_of

NOTHING = np.array([""], object)


@dataclasses.dataclass(frozen=True)
class Pieces:
    """The pieces of all strings, one after the other, and which string each is of, int64: vectors of one length.

    ``count``: how many strings there are, a vector of one.
    """

    texts: Value
    row: Value
    count: Value


def whole(op: OpContext, texts: Value) -> Pieces:
    """Each string of a vector in one piece."""
    return Pieces(texts, numbers(op, texts), length(op, texts))


def split(op: OpContext, pieces: Pieces, delimiter: str, maxsplit: int | None = None) -> Pieces:
    """Each piece in those between its ``delimiter``, of which the first ``maxsplit`` count; empty ones are kept."""
    found, counts = op.StringSplit(pieces.texts, delimiter=delimiter, maxsplit=maxsplit, outputs=2)
    rows = length(op, pieces.texts)
    wide = op.Concat(found, op.Expand(op.const([NOTHING]), op.Concat(rows, [1], axis=0)), axis=1)
    columns = op.Range(
        op.const(0, np.int64), op.Gather(op.shape_of(wide), op.const(1, np.int64)), op.const(1, np.int64)
    )
    is_one = op.Unsqueeze(columns, [0]) < op.Unsqueeze(op.Max(counts, op.const(1, np.int64)), [1])
    row = op.Expand(op.Unsqueeze(pieces.row, [1]), op.shape_of(wide))
    flat = Pieces(op.Reshape(wide, [-1]), op.Reshape(row, [-1]), pieces.count)
    return _kept(op, flat, op.Reshape(is_one, [-1]))


def split_at_each(op: OpContext, pieces: Pieces, delimiters: Iterable[str]) -> Pieces:
    """Each piece in those between any of the ``delimiters``; empty ones are kept."""
    for delimiter in delimiters:
        pieces = split(op, pieces, delimiter)
    return pieces


def without_empty(op: OpContext, pieces: Pieces, inside_only: bool = False) -> Pieces:
    """What is not empty; ``inside_only``: and the first and last piece of each string."""
    kept = place_among(op, pieces.texts, NOTHING).equals(1)
    if inside_only:
        column = from_rows(op, pieces.row, pieces.count).column
        last = op.Gather(lengths_of(op, pieces.row, pieces.count), pieces.row, axis=0) - 1
        kept = kept | column.equals(0) | column.equals(last)
    return _kept(op, pieces, kept)


def joined(op: OpContext, pieces: Pieces, between: str) -> Value:
    """The pieces of each string one behind the other, with ``between`` in between: a vector."""
    lengths = lengths_of(op, pieces.row, pieces.count)
    starts = starts_of(op, lengths)
    texts = pieces.texts
    if between:
        is_first = from_rows(op, pieces.row, pieces.count).column.equals(0)
        texts = op.StringConcat(op.Where(is_first, op.const(NOTHING), op.const(np.array([between], object))), texts)
    # Behind the last piece stands nothing, which shorter strings are filled up with.
    texts, nothing = op.Concat(texts, op.const(NOTHING), axis=0), length(op, texts)

    def step(op: OpContext, number: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        place = op.Where(lengths > number, starts + number, nothing)
        return [op.StringConcat(state[0], op.Gather(texts, place, axis=0))], []

    longest = op.ReduceMax(op.Concat(lengths, [0], axis=0), [0], keepdims=0)
    results, _ = repeat(op, longest, [op.Expand(op.const(NOTHING), pieces.count)], step)
    return cast(Value, results[0])


def _kept(op: OpContext, pieces: Pieces, kept: Value) -> Pieces:
    found = Pieces(op.Compress(pieces.texts, kept, axis=0), op.Compress(pieces.row, kept, axis=0), pieces.count)
    size = op.graph.fresh_size("pieces")
    for vector in (found.texts, found.row):
        vector.refine((size,))
    return found
