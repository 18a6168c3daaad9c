"""A ragged axis: which row each of its elements is in, and where rows begin and end."""

from __future__ import annotations

import dataclasses

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext


@dataclasses.dataclass(frozen=True)
class Rows:
    """For each element its row and its column, int64 vectors; the number of rows, a vector of one."""

    row: Value
    column: Value
    count: Value


def from_splits(op: OpContext, splits: Value) -> Rows:
    """Rows that begin at ``splits[:-1]`` and end before ``splits[1:]``."""
    splits = op.cast(splits, np.int64)
    ends = op.Slice(splits, [1], [2**31 - 1], [0])
    total = op.Slice(splits, [-1], [2**31 - 1], [0])
    marks = op.full(total + 1, 0, np.int64)
    ended = op.ScatterND(marks, op.Unsqueeze(ends, [1]), op.full_like(ends, 1), reduction="add")
    row = op.Slice(op.CumSum(ended, op.const(0, np.int64)), [0], [-1], [0])
    return Rows(row, numbers(op, row) - op.Gather(splits, row, axis=0), length(op, ends))


def from_rows(op: OpContext, row: Value, count: Value) -> Rows:
    """Rows whose elements say, in order, which row they are in."""
    starts = starts_of(op, lengths_of(op, row, count))
    return Rows(row, numbers(op, row) - op.Gather(starts, row, axis=0), count)


def lengths_of(op: OpContext, row: Value, count: Value) -> Value:
    """How many elements each row has."""
    zeros = op.full(count, 0, np.int64)
    return op.ScatterND(zeros, op.Unsqueeze(row, [1]), op.full_like(row, 1), reduction="add")


def starts_of(op: OpContext, lengths: Value) -> Value:
    """Where rows of these lengths begin, one behind the other."""
    return op.CumSum(lengths, op.const(0, np.int64), exclusive=1)


def length(op: OpContext, x: Value) -> Value:
    """The size of the first axis, as a vector of one."""
    return op.Slice(op.shape_of(x), [0], [1], [0])


def numbers(op: OpContext, x: Value) -> Value:
    """``0, 1, ...``, one for each element of a vector."""
    return op.Range(op.const(0, np.int64), op.Squeeze(length(op, x), op.const([0])), op.const(1, np.int64))
