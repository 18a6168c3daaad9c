"""One derivative pass for each of many seeds: as one graph, in chunks, on copies of the batch, or one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.statefulness import graph_of

# Maps a function over the rows of a matrix of seeds and stacks what it returns.
Vectorize = Callable[[Callable[[Any], Any], Any, "int | None"], Any]

# What tf.vectorized_map makes of these is wrong, fails when it runs, or takes minutes to trace and is slow (loops).
# tests/exporter/derivatives/test_vectorization.py shows it, and that the rest is right.
_WRONG = ("While", "StatelessWhile", "TensorList", "Roll", "SparseSegment", "DynamicPartition")
_CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative", "AvgPool", "AvgPool3D", "MaxPool", "MaxPool3D"})
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


class NotVectorizable(Exception):
    """``tf.vectorized_map`` knows no vectorised form of what a function traces (a branch inside of a loop, say)."""


def vectorized(function: Callable[[Any], Any], seeds: Any, chunk: int | None) -> Any:
    """All seeds at once as one graph, or ``chunk`` at a time; raises :class:`NotVectorizable`."""
    return in_chunks(lambda some: _vectorized_map(function, some), seeds, chunk)


def _vectorized_map(function: Callable[[Any], Any], seeds: Any) -> Any:
    try:
        with _quiet():
            return tf.vectorized_map(function, seeds, warn=False)
    except ExportError:
        raise
    except Exception as error:  # it fails in as many ways as there are ops
        raise NotVectorizable(str(error)) from error


def in_chunks(rows: Callable[[Any], Any], seeds: Any, chunk: int | None) -> Any:
    """``rows(seeds)``; at most ``chunk`` seeds at a time where memory is to be bounded."""
    if chunk is None or (seeds.shape[0] is not None and seeds.shape[0] <= chunk):
        return rows(seeds)
    count = tf.shape(seeds)[0]
    padded = tf.pad(seeds, [[0, -count % chunk], [0, 0]])
    pieces = tf.reshape(padded, tf.stack([-1, chunk, tf.shape(seeds)[1]]))
    example = rows(pieces[0])
    stacked = tf.map_fn(rows, pieces, fn_output_signature=tf.TensorSpec(example.shape, example.dtype))
    return tf.reshape(stacked, tf.concat([[-1], tf.shape(stacked)[2:]], 0))[:count]


def one_after_another(function: Callable[[Any], Any], seeds: Any) -> Any:
    """A loop over the seeds, inside of the graph."""
    example = function(seeds[0])
    return tf.map_fn(function, seeds, fn_output_signature=tf.TensorSpec(example.shape, example.dtype))


def one_by_one(function: Callable[[Any], Any], seeds: Any, chunk: int | None) -> Any:
    """A Python loop over the seeds: the reference."""
    return tf.stack([function(seed) for seed in tf.unstack(seeds)])


def mostly_one_by_one(function: Callable[[Any], Any], seeds: Any, chunk: int | None) -> Any:
    """The reference, but vectorised beyond 64 seeds, where a loop would take minutes."""
    if seeds.shape[0] <= 64:
        return one_by_one(function, seeds, chunk)
    try:
        return vectorized(function, seeds, chunk)
    except NotVectorizable:
        return one_by_one(function, seeds, chunk)


def copies(tensor: Any, count: Any) -> Any:
    """``count`` copies of a batch, one after the other, along axis 0."""
    sizes = tf.shape(tensor)
    repeated = tf.broadcast_to(tensor[tf.newaxis], tf.concat([[count], sizes], 0))
    flat = tf.reshape(repeated, tf.concat([count * sizes[:1], sizes[1:]], 0))
    return tf.ensure_shape(flat, [None, *tensor.shape[1:]])


def unit_seeds(count: Any, dtype: Any) -> Any:
    """The identity matrix: a constant where it is small, else made when the graph runs, so that no file holds it."""
    return tf.constant(np.eye(count), dtype) if isinstance(count, int) and count <= 32 else tf.eye(count, dtype=dtype)


def is_vectorizable(graph: Any, seen: frozenset[str] = frozenset()) -> bool:
    """Whether ``tf.vectorized_map`` gives the right derivatives of a traced graph, and fast.

    Functions that the graph calls count: TensorFlow puts a loop that is recorded on a tape into one of its own.
    """
    for op in graph.get_operations():
        if op.type.startswith(_WRONG) or (op.type in _CONVOLUTIONS and not _is_plain(op)):
            return False
        if op.type in _CALLS and (name := op.get_attr("f").name) not in seen:
            function = graph._get_function(name)
            if function is not None and not is_vectorizable(graph_of(function, graph), seen | {name}):
                return False
    return True


def _is_plain(op: Any) -> bool:
    """A convolution or pooling with channels last, without dilation, groups or explicit padding."""
    if op.get_attr("data_format").decode().startswith("NC") or op.get_attr("padding") == b"EXPLICIT":
        return False
    if op.type not in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        return True
    channels, taken = op.inputs[0].shape[-1], op.inputs[1].shape[-2]
    return channels == taken and all(item == 1 for item in op.get_attr("dilations"))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow logs pages about an op that it cannot vectorise."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)
