"""Shapes, and ops that rearrange a tensor without computing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Dim, Size, known
from pullback_export.graph.size_arithmetic import broadcast, minimum, product, without_rest
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of
from pullback_export.lowering.registry import lowers


@lowers("Shape")
def shape(op: OpContext, x: Any) -> Value:
    """Sizes of all axes."""
    return op.cast(op.shape_of(real_of(x)), op.output_dtype())


@lowers("ShapeN")
def shape_n(op: OpContext, *xs: Any) -> list[Value]:
    """Sizes of all axes of each input."""
    return [op.cast(op.shape_of(real_of(x)), op.output_dtype()) for x in xs]


@lowers("Size")
def size(op: OpContext, x: Any) -> Value:
    """Number of elements."""
    return op.cast(op.Size(real_of(x)), op.output_dtype())


@lowers("Rank")
def rank(op: OpContext, x: Any) -> Value:
    """Number of axes."""
    return op.const(real_of(x).rank, np.int32)


@lowers("Reshape", complex_parts=True)
def reshape(op: OpContext, x: Value, shape: Value) -> Value:
    """``x`` with another shape. In TensorFlow a 0 is a size, in ONNX it copies one."""
    if shape.sizes is None:
        return op.Reshape(x, shape, allowzero=1)
    sizes = without_rest(x.dims, shape.sizes) if -1 in shape.sizes else list(shape.sizes)
    unsaid = -1 in sizes and x.shape is not None
    if unsaid:
        sizes[sizes.index(-1)] = _rest(x.dims, sizes)
    exact = 0 in sizes or ((x.shape is None or unsaid) and -1 not in sizes)  # a free size may turn out to be 0
    return op.Reshape(x, op.sizes(sizes), allowzero=1 if exact else None)


def _rest(old: Sequence[Size], sizes: Sequence[Size]) -> Size:
    """What takes the place of the -1 among ``sizes``, where these and ``old`` share an axis that may be empty.

    That axis cancels, so that the others decide (tensorflow/core/kernels/reshape_op.h), and ONNX cannot know it.
    """
    before, after = list(old), [size for size in sizes if size != -1]
    shared = [size for size in after if isinstance(size, Dim) and size in before]
    for size in shared:
        before.remove(size)
        after.remove(size)
    rest, by = product(before), product(after)
    return rest // by if shared and isinstance(by, int) and by else -1


@lowers("ExpandDims", complex_parts=True)
def expand_dims(op: OpContext, x: Value, axis: Value) -> Value:
    """A new axis of size 1 at ``axis``, counted in the result."""
    return op.Unsqueeze(x, op.constant_of(axis, "the new axis").ravel())


@lowers("Squeeze", complex_parts=True)
def squeeze(op: OpContext, x: Value) -> Value:
    """Without the axes ``squeeze_dims``, or without every axis of size 1."""
    axes = [int(axis) % x.rank for axis in op.attr("squeeze_dims")]
    if not axes:
        if not all(isinstance(size, int) for size in x.dims):
            raise op.unsupported("no axes are named, and an axis of free size may be 1; pass axis=[...]")
        axes = [axis for axis, size in enumerate(x.dims) if size == 1]
    return op.Squeeze(x, axes) if axes else x


@lowers("Transpose", complex_parts=True)
def transpose(op: OpContext, x: Value, perm: Value) -> Value:
    """Axes in the order ``perm``, which must not depend on the data."""
    swapped = _swap_before_reshape(op, x, perm)
    return op.transpose(x, swapped or op.constant_of(perm, "the permutation").tolist())


def _swap_before_reshape(op: OpContext, x: Value, perm: Value) -> list[int] | None:
    """The swap of two neighbours that ``tf.vectorized_map`` omits where one of them has size 1.

    It writes ``where(min(n, m) == 1, identity, swap)`` before a reshape to the swapped shape: then both give the same
    numbers in the same order (tensorflow/python/ops/parallel_for/pfor.py, ``_convert_matmul``).
    """
    node = perm.node
    if node is None or node.op_type != "Where" or any(use.type != "Reshape" for use in op.tf_op.outputs[0].consumers()):
        return None
    condition, kept, swap = node.inputs
    if kept is None or swap is None or kept.const is None or swap.const is None or condition is None:
        return None
    moved = np.flatnonzero(kept.const != swap.const).tolist()
    if kept.const.tolist() != list(range(x.rank)) or len(moved) != 2 or moved[1] != moved[0] + 1:
        return None
    smaller = minimum(x.dims[moved[0]], x.dims[moved[1]])
    asked = condition.node.inputs if condition.node is not None and condition.node.op_type == "Equal" else []
    sizes = [
        item.sizes.item() for item in asked if item is not None and item.sizes is not None and item.sizes.size == 1
    ]
    return swap.const.tolist() if len(sizes) == 2 and 1 in sizes and smaller in sizes else None


@lowers("ConjugateTranspose")
def conjugate_transpose(op: OpContext, x: Any, perm: Value) -> Any:
    """Axes in the order ``perm``, and the complex conjugate."""
    order = op.constant_of(perm, "the permutation").tolist()
    moved = each(lambda part: op.transpose(part, order), x)
    return moved.conj() if isinstance(moved, ComplexValue) else moved


@lowers("InvertPermutation")
def invert_permutation(op: OpContext, perm: Value) -> Value:
    """``y[perm[i]] = i``."""
    if perm.const is not None:
        return op.const(np.argsort(perm.const).astype(perm.dtype))
    count = op.Range(op.const(0, np.int64), op.Size(perm), op.const(1, np.int64))
    return op.cast(op.ScatterElements(count, op.cast(perm, np.int64), count, axis=0), perm.dtype)


@lowers("Fill", complex_parts=True)
def fill(op: OpContext, sizes: Value, number: Value) -> Value:
    """A tensor of shape ``sizes`` that repeats ``number``."""
    return op.Expand(number, sizes)


@lowers("ZerosLike", complex_parts=True)
def zeros_like(op: OpContext, x: Any) -> Any:
    """Zeros in the shape of ``x``; of a list, a list of as many zeros."""
    return x.zeros_like(op) if hasattr(x, "zeros_like") else op.full_like(x, 0)


@lowers("OnesLike")
def ones_like(op: OpContext, x: Any) -> Any:
    """Ones in the shape of ``x``."""
    ones = op.full_like(real_of(x), 1)
    return ComplexValue(ones, op.full_like(x.imag, 0)) if isinstance(x, ComplexValue) else ones


@lowers("BroadcastTo", complex_parts=True)
def broadcast_to(op: OpContext, x: Value, shape: Value) -> Value:
    """``x`` repeated along its axes of size 1 and along new leading axes."""
    return op.Expand(x, shape)


@lowers("BroadcastArgs")
def broadcast_args(op: OpContext, s0: Value, s1: Value) -> Value:
    """The shape of ``x0 + x1`` for operands of shapes ``s0`` and ``s1``."""
    if s0.sizes is not None and s1.sizes is not None:
        return op.cast(op.sizes(broadcast(tuple(s0.sizes), tuple(s1.sizes))), op.output_dtype())
    lengths = [known(s.dims[0]) for s in (s0, s1)]
    padded = [
        op.Concat(op.const(np.ones(max(lengths) - length, np.int64)), op.cast(s, np.int64), axis=0)
        for s, length in zip((s0, s1), lengths, strict=True)
    ]
    return op.cast(op.Where(padded[0].equals(1), padded[1], padded[0]), op.output_dtype())


@lowers("Tile", complex_parts=True)
def tile(op: OpContext, x: Value, multiples: Value) -> Value:
    """``x`` repeated ``multiples`` times along each axis."""
    return op.Tile(x, multiples) if x.rank else x


@lowers("Range")
def range_(op: OpContext, start: Value, limit: Value, delta: Value) -> Value:
    """``start, start + delta, ...`` up to but without ``limit``."""
    return op.Range(start, limit, delta)


@lowers("LinSpace")
def lin_space(op: OpContext, start: Value, stop: Value, count: Value) -> Value:
    """``start + i * (stop - start) / (count - 1)``; the last one is ``stop`` exactly, a single one is ``start``."""
    number = int(op.constant_of(count, "the number of points"))
    if number == 1:
        return op.reshape(start, [1])
    steps = op.const(np.arange(number - 1), start.dtype)
    inner = start + steps * ((stop - start) / op.const(number - 1, start.dtype))
    return op.Concat(inner, op.reshape(stop, [1]), axis=0)


@lowers("DepthToSpace", complex_parts=True)
def depth_to_space(op: OpContext, x: Value) -> Value:
    """Channels ``(b, b, c)`` become blocks of ``b * b`` pixels with ``c`` channels."""
    block = int(op.attr("block_size"))
    n, h, w, c = _channels_last(op, x)
    depth = c // (block * block)
    if op.attr("data_format") == "NHWC":
        split = op.reshape(x, [n, h, w, block, block, depth])
        return op.reshape(op.transpose(split, [0, 1, 3, 2, 4, 5]), [n, h * block, w * block, depth])
    split = op.reshape(x, [n, block, block, depth, h, w])
    return op.reshape(op.transpose(split, [0, 3, 4, 1, 5, 2]), [n, depth, h * block, w * block])


@lowers("SpaceToDepth", complex_parts=True)
def space_to_depth(op: OpContext, x: Value) -> Value:
    """Blocks of ``b * b`` pixels with ``c`` channels become channels ``(b, b, c)``: the inverse of ``DepthToSpace``."""
    block = int(op.attr("block_size"))
    n, h, w, c = _channels_last(op, x)
    rows, columns = h // block, w // block
    if op.attr("data_format") == "NHWC":
        split = op.reshape(x, [n, rows, block, columns, block, c])
        return op.reshape(op.transpose(split, [0, 1, 3, 2, 4, 5]), [n, rows, columns, block * block * c])
    split = op.reshape(x, [n, c, rows, block, columns, block])
    return op.reshape(op.transpose(split, [0, 3, 5, 1, 2, 4]), [n, block * block * c, rows, columns])


def _channels_last(op: OpContext, x: Value) -> tuple[Size, Size, Size, Size]:
    """``(n, h, w, c)`` of an image in either data format."""
    layout = op.attr("data_format")
    if layout == "NHWC":
        n, h, w, c = x.dims
    elif layout == "NCHW":
        n, c, h, w = x.dims
    else:
        raise op.unsupported(f"data_format {layout} is not supported; use NHWC")
    return n, h, w, c
