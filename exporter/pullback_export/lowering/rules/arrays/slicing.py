"""Slices with strides, their gradients, and reversals (tensorflow/core/util/strided_slice_op.cc)."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.dims import Dim, Size, never_negative
from pullback_export.graph.size_arithmetic import maximum, minimum
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.index_expressions import BEGIN, END, Index, Range, index_of
from pullback_export.lowering.numerics.matrices.batches import indices
from pullback_export.lowering.numerics.size_vectors import Element, elements, lift, minus, plus, vector
from pullback_export.lowering.numerics.strided_pointwise import spread_convolution
from pullback_export.lowering.registry import lowers

# An end past the last element; of a backward slice ONNX Runtime takes ``END`` for "down to the first one".
_BEYOND = 2**62


@lowers("Slice", complex_parts=True)
def slice_(op: OpContext, x: Value, begin: Value, size: Value) -> Value:
    """``x[begin : begin + size]`` on each axis; a size of -1 means the rest."""
    if begin.sizes is None and size.sizes is None and begin.dims == (0,):
        return x
    starts, sizes = elements(op, begin), elements(op, size)
    ends: list[Element] = []
    for axis, (start, count) in enumerate(zip(starts, sizes, strict=True)):
        if isinstance(count, Value):  # a -1 that is only known when the graph runs
            rest = op.sizes([x.dims[axis]]) - lift(op, start)
            count = op.Where(count < 0, rest, count)
        elif isinstance(count, Dim) and isinstance(start, int | Dim) and not never_negative(count):
            # -1 means the rest, whatever it was computed from; less than that TensorFlow refuses.
            count = sizes[axis] = count + maximum(-count, 0) * (x.dims[axis] - start + 1)
        whole = isinstance(count, int) and count == -1
        ends.append(END if whole else plus(op, start, count))
    axes = [axis for axis in range(x.rank) if starts[axis] != 0 or ends[axis] not in (END, x.dims[axis])]
    if not axes:
        return x
    result: Value = op.Slice(x, vector(op, [starts[a] for a in axes]), vector(op, [ends[a] for a in axes]), axes)
    shape = list(result.dims)  # out of range is an error in TensorFlow: the sizes are the requested ones
    for axis in axes:
        count = sizes[axis] if sizes[axis] != -1 else minus(op, x.dims[axis], starts[axis])
        shape[axis] = shape[axis] if isinstance(count, Value) else count
    result.refine(tuple(shape))
    return result


@lowers("StridedSlice", complex_parts=True)
def strided_slice(op: OpContext, x: Value, begin: Value, end: Value, strides: Value) -> Value:
    """``x[begin:end:strides]`` as in Python, with new axes, an ellipsis, and single indices that drop their axis."""
    index = index_of(op, x.rank, begin, end, strides)
    axes = [axis for axis, item in enumerate(index.ranges) if not item.whole]
    if len(axes) == 1 and index.dropped == axes:
        at = index.ranges[axes[0]].begin
        position = op.const(at, np.int64) if isinstance(at, int) else op.reshape(lift(op, at), [])
        result: Value = op.Gather(x, position, axis=axes[0])
    else:
        result = _sliced(op, x, index.ranges, axes)
        if index.dropped:
            result.refine(tuple(1 if axis in index.dropped else size for axis, size in enumerate(result.dims)))
            result = op.Squeeze(result, index.dropped)
    return op.Unsqueeze(result, index.new_axes) if index.new_axes else result


def _sliced(op: OpContext, x: Value, ranges: list[Range], axes: list[int]) -> Value:
    if not axes:
        return x
    ends = [_end(op, ranges[axis], x.dims[axis]) for axis in axes]
    bounds = [
        vector(op, items)
        for items in ([ranges[axis].begin for axis in axes], ends, [ranges[axis].stride for axis in axes])
    ]
    unit = all(ranges[axis].stride == 1 for axis in axes)
    result: Value = op.Slice(x, bounds[0], bounds[1], axes, None if unit else bounds[2])
    return result


def _end(op: OpContext, item: Range, size: Size) -> Element:
    """The end of a range. A backward one that begins before the axis is empty; ONNX would begin at element 0."""
    begin, stride = item.begin, item.stride
    forward = stride > 0 if isinstance(stride, int) else isinstance(stride, Dim) and never_negative(stride)
    if forward or (not isinstance(begin, Value) and never_negative(begin + 1)):
        return item.end
    if isinstance(begin, int) and isinstance(size, int) and begin + size >= 0:
        return item.end
    if isinstance(begin, int) and isinstance(size, int) and isinstance(stride, int):
        return _BEYOND
    before = lift(op, begin) + lift(op, size) < 0
    if not isinstance(stride, int):
        before = before & (lift(op, stride) < 0)
    end: Value = op.Where(before, op.const([_BEYOND], np.int64), lift(op, item.end))
    return end


@lowers("StridedSliceGrad", complex_parts=True)
def strided_slice_grad(op: OpContext, shape: Value, begin: Value, end: Value, strides: Value, dy: Value) -> Value:
    """Zeros of ``shape`` with ``dx[begin:end:strides] = dy``."""
    sizes = elements(op, shape)
    index = index_of(op, len(sizes), begin, end, strides)
    every = _every(index, sizes)
    whole = spread_convolution(op, dy, *every) if every is not None and dy.dtype == np.float32 else None
    return whole if whole is not None else _placed(op, dy, sizes, index)


def _every(index: Index, sizes: list[Element]) -> tuple[list[int], list[Size]] | None:
    """The strides of an index ``x[::s, ::t, ...]`` of four axes, and the sizes of ``x``."""
    strides = [item.stride for item in index.ranges if item.begin == 0 and item.end == END and not item.drops]
    known = [size for size in sizes if not isinstance(size, Value)]
    if index.new_axes or len(strides) != 4 or len(known) != 4 or len(sizes) != 4:
        return None
    steps = [stride for stride in strides if isinstance(stride, int) and stride > 0]
    return (steps, known) if len(steps) == 4 else None


def _placed(op: OpContext, dy: Value, sizes: list[Element], index: Index) -> Value:
    """``dy`` where ``index`` takes it from, in zeros of shape ``sizes``; axes reversed, spread out, then padded."""
    if index.new_axes:
        dy = op.Squeeze(dy, index.new_axes)
    if index.dropped:
        dy = op.Unsqueeze(dy, index.dropped)
    for axis, item in enumerate(index.ranges):
        if not isinstance(item.stride, int):
            dy = _scattered(op, dy, axis, item, sizes[axis])
            index.ranges[axis] = Range(0, END)
    backward = [axis for axis, item in enumerate(index.ranges) if _stride(item) < 0]
    dy = _reversed(op, dy, backward)
    before: list[Element] = []
    after: list[Element] = []
    for axis, item in enumerate(index.ranges):
        stride = abs(_stride(item))
        if stride > 1:
            dy = _spread(op, dy, axis, stride)
        left, right = _margins(op, item, sizes[axis], dy, axis, stride)
        before.append(left)
        after.append(right)
    result: Value = op.Pad(dy, vector(op, before + after))
    result.refine(
        tuple(known if isinstance(size, Value) else size for known, size in zip(result.dims, sizes, strict=True))
    )
    return result


def _stride(item: Range) -> int:
    assert isinstance(item.stride, int)  # others are scattered
    return item.stride


def _scattered(op: OpContext, dy: Value, axis: int, item: Range, size: Element) -> Value:
    """``dy`` where a range whose stride depends on the data takes it from on ``axis``, zeros elsewhere.

    Each element of the result looks up which element of ``dy`` it is, and finds a zero behind the last where none is.
    """
    length = op.reshape(lift(op, size), [])
    places = op.Range(op.const(0, np.int64), length, op.const(1, np.int64))
    taken = _sliced(op, places, [item], [0])
    count = op.shape_of(taken)
    numbers = op.Range(op.const(0, np.int64), op.reshape(count, []), op.const(1, np.int64))
    source = op.ScatterElements(op.Expand(count, lift(op, size)), taken, numbers, axis=0)
    pads: list[Element] = [0] * (2 * dy.rank)
    pads[dy.rank + axis] = 1
    result: Value = op.Gather(op.Pad(dy, vector(op, pads)), source, axis=axis)
    if not isinstance(size, Value):
        result.refine((*dy.dims[:axis], size, *dy.dims[axis + 1 :]))
    return result


def _spread(op: OpContext, dy: Value, axis: int, stride: int) -> Value:
    """``stride - 1`` zeros after each element of ``axis``."""
    shape = list(dy.dims)
    split = op.Unsqueeze(dy, [axis + 1])
    pads = [0] * (2 * split.rank)
    pads[split.rank + axis + 1] = stride - 1
    return op.reshape(op.Pad(split, pads), [*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]])


def _margins(op: OpContext, item: Range, size: Element, dy: Value, axis: int, stride: int) -> tuple[Element, Element]:
    """Zeros before and after what ``item`` takes from an axis of ``size``; the spread ``dy`` may reach too far: < 0."""
    if item.whole:
        return 0, 0
    length: Element = dy.dims[axis]
    if _stride(item) > 0:
        first = _clamped(op, item.begin, size)
    else:  # the last element that a backward range takes: begin - (count - 1) * stride
        start = _last(op, item.begin, size)
        first = plus(op, minus(op, start, length), stride)
        if isinstance(length, int) and length == 0:
            first = 0
    return first, minus(op, minus(op, size, first), length)


def _clamped(op: OpContext, bound: Element, size: Element) -> Element:
    """``bound`` as a number from 0 to ``size``; a negative one counts from the end."""
    if isinstance(bound, int) and not isinstance(size, Value):
        return minimum(bound, size) if bound >= 0 else maximum(size + bound, 0)
    if isinstance(bound, Dim) and not isinstance(size, Value) and never_negative(bound):
        return minimum(bound, size)
    limit = lift(op, size)
    at = lift(op, bound)
    at = op.Where(at < 0, at + limit, at)
    clamped: Value = op.Max(op.Min(at, limit), op.const([0], np.int64))
    return clamped


def _last(op: OpContext, bound: Element, size: Element) -> Element:
    """``bound`` of a backward slice as a number from -1 to ``size - 1``."""
    if isinstance(bound, int) and not isinstance(size, Value):
        last: Size = size - 1
        return minimum(bound, last) if bound >= 0 else maximum(size + bound, -1)
    limit = lift(op, size)
    at = lift(op, bound)
    at = op.Where(at < 0, at + limit, at)
    clamped: Value = op.Max(op.Min(at, limit - 1), op.const([-1], np.int64))
    return clamped


@lowers("TensorStridedSliceUpdate", complex_parts=True)
def tensor_strided_slice_update(
    op: OpContext, x: Value, begin: Value, end: Value, strides: Value, value: Value
) -> Value:
    """``x`` with ``x[begin:end:strides] = value``."""
    index = index_of(op, x.rank, begin, end, strides)
    axes = [axis for axis, item in enumerate(index.ranges) if not item.whole]
    wide = x.dtype if x.dtype != bool else np.dtype(np.int32)
    target = _sliced(op, x, index.ranges, axes)
    if index.dropped:
        target = op.Squeeze(target, index.dropped)
    target = op.Unsqueeze(target, index.new_axes) if index.new_axes else target
    inside = _placed(op, op.full_like(target, 1, wide), list(x.dims), index) > 0
    placed = _placed(op, op.cast(op.expand_to(value, target), wide), list(x.dims), index)
    return op.cast(op.Where(inside, placed, op.cast(x, wide)), x.dtype)


@lowers("ReverseV2", complex_parts=True)
def reverse_v2(op: OpContext, x: Value, axes: Value) -> Value:
    """``x`` backwards along ``axes``."""
    return _reversed(op, x, [int(axis) % x.rank for axis in op.constant_of(axes, "the axes").ravel()])


@lowers("Reverse", complex_parts=True)
def reverse(op: OpContext, x: Value, chosen: Value) -> Value:
    """``x`` backwards along every axis that ``chosen`` marks."""
    return _reversed(op, x, np.flatnonzero(op.constant_of(chosen, "the axes")).tolist())


def _reversed(op: OpContext, x: Value, axes: list[int]) -> Value:
    if not axes:
        return x
    count = len(axes)
    result: Value = op.Slice(x, [-1] * count, [BEGIN] * count, axes, [-1] * count)
    return result


@lowers("ReverseSequence", complex_parts=True)
def reverse_sequence(op: OpContext, x: Value, lengths: Value) -> Value:
    """The first ``lengths[b]`` elements along ``seq_dim`` backwards, for each ``b`` along ``batch_dim``."""
    batch, time = int(op.attr("batch_dim")) % x.rank, int(op.attr("seq_dim")) % x.rank
    lengths = op.cast(lengths, np.int64)
    if {batch, time} == {0, 1}:
        return op.ReverseSequence(x, lengths, batch_axis=batch, time_axis=time)
    order = [batch, time, *[axis for axis in range(x.rank) if axis not in (batch, time)]]
    moved = op.ReverseSequence(op.transpose(x, order), lengths, batch_axis=0, time_axis=1)
    return op.transpose(moved, np.argsort(order).tolist())


@lowers("Roll", complex_parts=True)
def roll(op: OpContext, x: Value, shift: Value, axes: Value) -> Value:
    """``y[(i + shift) mod n] = x[i]`` along each of ``axes``: the two parts of the axis change places."""
    for axis, by in zip(op.constant_of(axes, "the axes").ravel().tolist(), elements(op, shift), strict=True):
        at = axis % x.rank
        size = x.dims[at]
        shape = x.shape
        if isinstance(by, int) and isinstance(size, int):
            if size == 0 or by % size == 0:
                continue
            cut: Element = size - by % size
        else:
            count = lift(op, maximum(size, 1))
            cut = count - op.Mod(lift(op, by), count)
        head = op.Slice(x, vector(op, [cut]), [END], [at])
        x = op.Concat(head, op.Slice(x, [0], vector(op, [cut]), [at]), axis=at)
        x.refine(shape)
    return x


@lowers("XlaDynamicUpdateSlice", complex_parts=True)
def dynamic_update_slice(op: OpContext, x: Value, update: Value, begin: Value) -> Value:
    """``x`` with ``update`` from ``begin`` on; a beginning from which it would not fit is moved until it does."""
    if x.rank == 0:
        return update
    sizes = op.shape_of(update)
    start = op.Max(op.Min(op.cast(begin, np.int64), op.shape_of(x) - sizes), op.const(0, np.int64))
    every = op.Concat(sizes, op.const([1], np.int64), axis=0)
    places = []
    for axis, size in enumerate(update.dims):
        along = indices(op, size) + op.Gather(start, op.const(axis, np.int64), axis=0)
        shaped = op.Unsqueeze(along, [other for other in range(x.rank + 1) if other != axis])
        places.append(op.Expand(shaped, every))
    result: Value = op.ScatterND(x, op.Concat(*places, axis=-1), update)
    return result
