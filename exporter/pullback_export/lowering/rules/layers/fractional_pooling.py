"""Pooling over windows of unequal sizes, which TensorFlow draws once (tensorflow/core/kernels/fractional_*_pool_op.cc).

Only with ``deterministic=True`` are the windows a property of the op; they are then read off when it is lowered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.graph.size_arithmetic import product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import resampling as res
from pullback_export.lowering.registry import lowers

Starts = np.ndarray[Any, Any]  # first element of each window, and the size of the axis at the end


@lowers("FractionalAvgPool")
def fractional_avg_pool(op: OpContext, x: Value) -> list[Value]:
    """Mean of each window, and the windows' starts."""
    starts = _starts(op, x)
    matrices = [_means(op, ends, x) for ends in starts]
    y = res.resample(op, op.transpose(x, [0, 3, 1, 2]), *matrices)
    return [op.transpose(y, [0, 2, 3, 1]), *[op.const(ends, np.int64) for ends in starts]]


@lowers("FractionalAvgPoolGrad")
def fractional_avg_pool_grad(op: OpContext, shape: Value, dy: Value, rows: Value, columns: Value) -> Value:
    """Each element gets ``dy / count`` of every window that it is in."""
    matrices = [_means(op, op.constant_of(ends, "the windows"), dy) for ends in (rows, columns)]
    dx = res.resample_adjoint(op, op.transpose(dy, [0, 3, 1, 2]), *matrices)
    return op.transpose(dx, [0, 2, 3, 1])


@lowers("FractionalMaxPool")
def fractional_max_pool(op: OpContext, x: Value) -> list[Value]:
    """Largest element of each window, and the windows' starts."""
    starts = _starts(op, x)
    y = op.ReduceMax(_elements(op, x, starts)[0], [3], keepdims=0)
    return [y, *[op.const(ends, np.int64) for ends in starts]]


@lowers("FractionalMaxPoolGrad")
def fractional_max_pool_grad(op: OpContext, x: Value, y: Value, dy: Value, rows: Value, columns: Value) -> Value:
    """``dy`` added to the first largest element of its window, in row-major order."""
    starts = [op.constant_of(ends, "the windows") for ends in (rows, columns)]
    elements, places = _elements(op, x, starts)
    batch, height, width, channels = x.dims
    best = op.ArgMax(elements, axis=3, keepdims=0)
    chosen = op.ReduceSum(
        op.mask(
            op.Unsqueeze(best, [3]).equals(op.const(np.arange(places.shape[-1])[:, None])),
            op.const(places[..., None], np.int64),
        ),
        [3],
        keepdims=0,
    )
    first = op.transpose(chosen, [0, 3, 1, 2])
    flat = op.reshape(first, [batch, channels, places.shape[0] * places.shape[1]])
    zeros = op.full([batch, channels, product([height, width])], 0, x.dtype)
    updates = op.reshape(op.transpose(dy, [0, 3, 1, 2]), [batch, channels, places.shape[0] * places.shape[1]])
    dx = op.ScatterElements(zeros, flat, updates, axis=2, reduction="add")
    return op.transpose(op.reshape(dx, [batch, channels, height, width]), [0, 2, 3, 1])


def _starts(op: OpContext, x: Value) -> list[Starts]:
    height, width = x.dims[1:3]
    if not op.attr("deterministic"):
        raise op.unsupported("it draws random windows; set deterministic=True and the seeds")
    if not isinstance(height, int) or not isinstance(width, int):
        raise op.unsupported(
            "the image size is free, and the pooling windows depend on it; fix height and width in the input's shape"
        )
    names = ("pooling_ratio", "pseudo_random", "overlapping", "deterministic", "seed", "seed2")
    attributes = {name: op.attr(name) for name in names}
    with tf.init_scope():
        results = getattr(tf.raw_ops, op.type)(value=tf.zeros([1, height, width, 1]), **attributes)
    return [results[1].numpy(), results[2].numpy()]


def _indices(op: OpContext, starts: Starts) -> np.ndarray[Any, Any]:
    """Elements of each window, the last one repeated to the size of the largest window."""
    lasts = np.minimum(starts[1:] - (0 if op.attr("overlapping") else 1), starts[-1] - 1)
    widest = int((lasts - starts[:-1]).max()) + 1
    return np.asarray(np.minimum(starts[:-1, None] + np.arange(widest), lasts[:, None]))


def _means(op: OpContext, starts: Starts, like: Value) -> Value:
    matrix = np.zeros((len(starts) - 1, int(starts[-1])))
    for row, elements in enumerate(_indices(op, starts)):
        matrix[row, elements] = 1 / len(set(elements.tolist()))
    return op.const(matrix, like.dtype)


def _elements(op: OpContext, x: Value, starts: Sequence[Starts]) -> tuple[Value, np.ndarray[Any, Any]]:
    """``(N, rows, columns, taps, C)`` and the flat position of each tap in the image, ``(rows, columns, taps)``."""
    rows, columns = (_indices(op, ends) for ends in starts)
    places = rows[:, None, :, None] * int(starts[1][-1]) + columns[None, :, None, :]
    places = places.reshape(len(rows), len(columns), -1)
    flat = op.reshape(x, [x.dims[0], product(x.dims[1:3]), x.dims[3]])
    return op.Gather(flat, op.const(places, np.int64), axis=1), places
