"""Tensors joined along an axis, and taken apart again."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.dims import known
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.size_vectors import elements
from pullback_export.lowering.registry import lowers


@lowers("ConcatV2", complex_parts=True)
def concat_v2(op: OpContext, *operands: Value) -> Value:
    """The tensors one after the other along ``axis``, the last operand."""
    return _concat(op, operands[-1], list(operands[:-1]))


@lowers("Concat", complex_parts=True)
def concat(op: OpContext, *operands: Value) -> Value:
    """The tensors one after the other along ``axis``, the first operand."""
    return _concat(op, operands[0], list(operands[1:]))


def _concat(op: OpContext, axis: Value, tensors: list[Value]) -> Value:
    return op.Concat(*tensors, axis=int(op.constant_of(axis, "the axis")) % tensors[0].rank)


@lowers("ConcatOffset")
def concat_offset(op: OpContext, axis: Value, *shapes: Value) -> list[Value]:
    """Where each of the tensors with these shapes starts in their concatenation."""
    at = int(op.constant_of(axis, "the axis")) % known(shapes[0].dims[0])
    rank = known(shapes[0].dims[0])
    start: Value = op.const([0], op.output_dtype())
    results = []
    for shape in shapes:
        before, after = (op.const(np.zeros(count, op.output_dtype())) for count in (at, rank - at - 1))
        results.append(op.Concat(before, start, after, axis=0))
        start = start + op.Slice(shape, [at], [at + 1], [0])
    return results


@lowers("Pack", complex_parts=True)
def pack(op: OpContext, *tensors: Value) -> Value:
    """The tensors along a new ``axis``."""
    axis = int(op.attr("axis")) % (tensors[0].rank + 1)
    return op.Concat(*[op.Unsqueeze(tensor, [axis]) for tensor in tensors], axis=axis)


@lowers("ParallelConcat", complex_parts=True)
def parallel_concat(op: OpContext, *tensors: Value) -> Value:
    """The tensors, each of one row, along axis 0."""
    return op.Concat(*tensors, axis=0)


@lowers("Unpack", complex_parts=True)
def unpack(op: OpContext, x: Value) -> list[Value | None]:
    """The slices along ``axis``, without that axis."""
    axis, count = int(op.attr("axis")) % x.rank, int(op.attr("num"))
    return [op.Gather(x, op.const(at, np.int64), axis=axis) if at in op.wanted else None for at in range(count)]


@lowers("Split", complex_parts=True)
def split(op: OpContext, axis: Value, x: Value) -> Any:
    """``num_split`` equal parts along ``axis``."""
    at = int(op.constant_of(axis, "the axis")) % x.rank
    count = int(op.attr("num_split"))
    size = x.dims[at]
    return _split(op, x, at, [size // count] * count if isinstance(size, int) else None, count)


@lowers("SplitV", complex_parts=True)
def split_v(op: OpContext, x: Value, sizes: Value, axis: Value) -> Any:
    """Parts of the given ``sizes`` along ``axis``; one size may be -1, for the rest."""
    at = int(op.constant_of(axis, "the axis")) % x.rank
    lengths = elements(op, sizes)
    known = [length for length in lengths if isinstance(length, int)]
    total = x.dims[at]
    if len(known) == len(lengths) and (-1 not in known or isinstance(total, int)):
        if -1 in known and isinstance(total, int):
            known[known.index(-1)] = total - sum(known) - 1
        return _split(op, x, at, known, len(known))
    if -1 in known:
        raise op.unsupported("the sizes depend on the data and one of them is -1; give every size")
    return op.Split(x, sizes, axis=at, outputs=len(lengths)) if len(lengths) > 1 else x


def _split(op: OpContext, x: Value, axis: int, sizes: list[int] | None, count: int) -> Any:
    """One ``Split``; slices where only one part is wanted, or where the contents of the parts are known."""
    if count == 1:
        return x
    if sizes is None:
        return op.Split(x, None, axis=axis, num_outputs=count, outputs=count)
    if len(op.wanted) > 1 and x.sizes is None and x.const is None:
        return op.Split(x, sizes, axis=axis, outputs=count)
    ends = np.cumsum(sizes).tolist()
    return [
        op.Slice(x, [end - size], [end], [axis]) if index in op.wanted else None
        for index, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]
