"""Sparse tensors whose number of entries the data say: sums, slices, and rows that are filled."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of
from pullback_export.lowering.numerics.matrices.batches import absolute, where
from pullback_export.lowering.registry import lowers


@lowers("SparseAdd")
def sparse_add(
    op: OpContext, at_a: Value, a: Any, shape: Value, at_b: Value, b: Any, shape_of_b: Value, threshold: Value
) -> list[Any]:
    """``a + b``, entries in row-major order, as both operands are taken to be. Where both have an entry, the sum stays
    only if ``threshold <= |sum|``: one that is NaN never does. An entry of one operand alone stays as it is.
    """
    entries = op.Concat(_numbered(op, at_a), _numbered(op, at_b), axis=0)
    places, _, place, _ = op.Unique(entries, axis=0, sorted=1, outputs=4)
    count, of_a = _count(op, places), _count(op, at_a)
    mine = op.Unsqueeze(op.Slice(place, [0], of_a, [0]), [1])
    theirs = op.Unsqueeze(op.Slice(place, of_a, [2**31 - 1], [0]), [1])

    def spread(values: Value, target: Value) -> Value:
        zeros = op.full(count, 0, values.dtype)
        result: Value = op.ScatterND(zeros, target, values)
        return result

    total = each(lambda part: spread(part, mine), a) + each(lambda part: spread(part, theirs), b)
    in_a, in_b = (spread(op.full(_count(op, at), 1, np.int32), to) > 0 for at, to in ((at_a, mine), (at_b, theirs)))
    kept = ~(in_a & in_b) | (threshold <= absolute(op, total))
    indices = op.Slice(places, [0], [-1], [1])
    return [op.Compress(indices, kept, axis=0), each(lambda part: op.Compress(part, kept, axis=0), total), shape]


@lowers("SparseAddGrad")
def sparse_add_grad(op: OpContext, dy: Any, at_a: Value, at_b: Value, at_sum: Value) -> list[Any]:
    """Each entry of an operand gets the gradient of the entry of the sum in its place; 0 where that was dropped."""
    entries = op.Concat(_numbered(op, at_sum), _numbered(op, at_a), _numbered(op, at_b), axis=0)
    place = op.Unique(entries, axis=0, sorted=1, outputs=4)[2]
    of_sum, of_a = _count(op, at_sum), _count(op, at_a)
    zeros = op.full(_count(op, entries), 0, real_of(dy).dtype)
    sources = op.Unsqueeze(op.Slice(place, [0], of_sum, [0]), [1])
    mine = op.Slice(place, of_sum, of_sum + of_a, [0])
    theirs = op.Slice(place, of_sum + of_a, [2**31 - 1], [0])
    spread = each(lambda part: op.ScatterND(zeros, sources, part), dy)
    return [
        each(lambda part: op.Gather(part, mine, axis=0), spread),
        each(lambda part: op.Gather(part, theirs, axis=0), spread),
    ]


@lowers("SparseSlice")
def sparse_slice(op: OpContext, indices: Value, values: Any, shape: Value, start: Value, size: Value) -> list[Any]:
    """The entries with ``start <= index < start + size``, in their order, counted from ``start``. The shape is that of
    what the slice and the tensor share; 0 along an axis that the slice begins beyond.
    """
    inside = (indices >= start) & (indices < start + size)
    kept = op.ReduceMin(op.cast(inside, np.int64), [1], keepdims=0) > 0
    return [
        op.Compress(indices, kept, axis=0) - start,
        each(lambda part: op.Compress(part, kept, axis=0), values),
        op.Min(size, op.Max(shape - start, 0)),
    ]


@lowers("SparseSliceGrad")
def sparse_slice_grad(op: OpContext, dy: Any, indices: Value, start: Value, sliced: Value) -> Any:
    """Each entry that the slice kept gets the gradient of its copy, the others 0; copies are in the order of entries,
    so that entries with equal indices find theirs.
    """
    entries = op.Concat(sliced + start, indices, axis=0)
    place = op.Unique(entries, axis=0, sorted=1, outputs=4)[2]
    copies = _count(op, sliced)
    zeros = op.full(_count(op, entries), 0, np.int64)
    targets = op.Unsqueeze(op.Slice(place, [0], copies, [0]), [1])
    in_slice = op.ScatterND(zeros, targets, op.full(copies, 1, np.int64))
    kept = op.Gather(in_slice, op.Slice(place, copies, [2**31 - 1], [0]), axis=0)
    copy = op.Where(kept > 0, op.CumSum(kept, op.const(0, np.int64)) - 1, copies)
    return each(lambda part: op.Gather(op.Concat(part, op.const([0], part.dtype), axis=0), copy, axis=0), dy)


@lowers("SparseFillEmptyRows")
def sparse_fill_empty_rows(op: OpContext, indices: Value, values: Any, shape: Value, default: Any) -> list[Any]:
    """An entry ``default`` in the first column of each row that has none; the rows in order, the entries of a row in
    theirs. Also which rows were empty, and where each entry went.
    """
    rows = op.Reshape(op.Slice(indices, [0], [1], [1]), [-1])
    marks = op.full(op.Slice(shape, [0], [1], [0]), 0, np.int64)
    filled = op.ScatterND(marks, op.Unsqueeze(rows, [1]), op.full(_count(op, indices), 1, np.int64), reduction="max")
    empty = filled.equals(0)
    added = op.transpose(op.NonZero(empty), [1, 0])
    columns = op.Slice(op.shape_of(indices), [1], [2], [0])
    first = op.full(op.Concat(_count(op, added), columns - 1, axis=0), 0, np.int64)
    entries = op.Concat(indices, op.Concat(added, first, axis=1), axis=0)
    count = _count(op, entries)
    order = op.TopK(op.Concat(rows, op.Reshape(added, [-1]), axis=0), count, axis=0, largest=0, sorted=1, outputs=2)[1]
    numbers = op.Range(op.const(0, np.int64), op.Squeeze(count, op.const([0])), op.const(1, np.int64))
    went = op.ScatterND(op.full(count, 0, np.int64), op.Unsqueeze(order, [1]), numbers)

    def filling(part: Any, number: Any) -> Any:
        if isinstance(part, ComplexValue):
            return ComplexValue(filling(part.real, number.real), filling(part.imag, number.imag))
        every = op.Concat(part, op.Expand(number, _count(op, added)), axis=0)
        return op.Gather(every, order, axis=0)

    return [
        op.Gather(entries, order, axis=0),
        filling(values, default),
        empty,
        op.Slice(went, [0], _count(op, indices), [0]),
    ]


@lowers("RaggedFillEmptyRows")
def ragged_fill_empty_rows(op: OpContext, rows: Value, values: Any, count: Value, default: Any) -> list[Any]:
    """A value ``default`` in each row that has none; ``rows`` says which row each value is in."""
    at = op.Unsqueeze(rows, [1])
    filled, *rest = sparse_fill_empty_rows(op, at, values, op.Reshape(count, [1]), default)
    return [op.Squeeze(filled, [1]), *rest]


@lowers("SparseFillEmptyRowsGrad", "RaggedFillEmptyRowsGrad")
def sparse_fill_empty_rows_grad(op: OpContext, went: Value, dy: Any) -> list[Any]:
    """``dvalues = dy[went]``; the gradient of the default is the sum of the entries where no value went."""
    count = _count(op, real_of(dy))
    marks = op.ScatterND(op.full(count, 0, np.int64), op.Unsqueeze(went, [1]), op.full(_count(op, went), 1, np.int64))
    rest = where(op, marks.equals(0), dy, op.const(0, real_of(dy).dtype))
    return [
        each(lambda part: op.Gather(part, went, axis=0), dy),
        each(lambda part: op.ReduceSum(part, [0], keepdims=0), rest),
    ]


def _count(op: OpContext, x: Value) -> Value:
    """The size of the first axis, as a vector of one."""
    result: Value = op.Slice(op.shape_of(x), [0], [1], [0])
    return result


def _numbered(op: OpContext, indices: Value) -> Value:
    """Ordered indices with one more column: how many equal ones stand before; so that no two rows are equal."""
    _, first, place, _ = op.Unique(indices, axis=0, sorted=1, outputs=4)
    numbers = op.Range(op.const(0, np.int64), op.Squeeze(_count(op, indices), op.const([0])), op.const(1, np.int64))
    return op.Concat(indices, op.Unsqueeze(numbers - op.Gather(first, place, axis=0), [1]), axis=1)
