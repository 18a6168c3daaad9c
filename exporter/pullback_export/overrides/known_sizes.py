"""Gradients of tensors with free sizes, without what TensorFlow adds because it cannot compare two of those.

For ``x + tanh(x @ w)`` of any number of rows TensorFlow's gradient reads both shapes, asks at run time along which axes
one was broadcast, sums over none of them and reshapes to what it was. Each of these nodes also makes it search back
through all of the graph, in search of constants that it could fold, when it is made: tracing a deep network takes time
proportional to the square of its layers.

Within :func:`compared_sizes` free sizes are compared (:mod:`~pullback_export.overrides.symbolic_sizes`): sums over
axes that were not broadcast are omitted, and the shape of a tensor is read where its sizes first occur.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.overrides.symbolic_sizes.analysis import Analysis, Axis, Sizes, analysis_of
from pullback_export.overrides.symbolic_sizes.rules import sizes_by_operator
from pullback_export.overrides.symbolic_sizes.vectors import vector
from pullback_export.overrides.temporary_change import TemporaryChange


def compared_sizes() -> contextlib.AbstractContextManager[None]:
    """Within it, graphs are traced with what is known of their sizes; nothing that runs eagerly is changed."""
    return _CHANGE.active()


def declare_sizes(tensor: Any, like: Any) -> None:
    """In graphs, the axes of ``tensor`` are as long as those of ``like``: a seed, and what it belongs to."""
    graph = _graph_of(tensor, like)
    if graph is not None:
        _analysis(graph).declare(tensor, like)


def _change() -> Callable[[], None]:
    from tensorflow.python.ops import gen_array_ops, math_grad

    changes = [
        (math_grad, "_ReduceGradientArgs", _reduced),
        (gen_array_ops, "shape", _shape),
        (gen_array_ops, "shape_n", _shape_n),
        (gen_array_ops, "broadcast_gradient_args", _broadcast_axes),
    ]
    before = [getattr(module, name) for module, name, _ in changes]
    for (module, name, replace), original in zip(changes, before, strict=True):
        setattr(module, name, replace(original))

    def undo() -> None:
        for (module, name, _), original in zip(changes, before, strict=True):
            setattr(module, name, original)

    return undo


def _graph_of(*tensors: Any) -> Any:
    """The graph that all ``tensors`` belong to; None for eager ones, and those of TensorFlow 1's control flow."""
    graphs = [tensor.graph if tf.is_symbolic_tensor(tensor) else None for tensor in tensors]
    first = graphs[0]
    if first is None or any(graph is not first for graph in graphs):
        return None
    return first if first._get_control_flow_context() is None else None


def _analysis(graph: Any) -> Analysis:
    return analysis_of(graph, sizes_by_operator)


def _reduced(original: Callable[..., Any]) -> Callable[..., Any]:
    """Of gradients of a binary operator that broadcasts: each is summed over the axes that its operand lacks."""

    def reduced(x: Any, y: Any, gx: Any, gy: Any) -> Any:
        graph = _graph_of(x, y)
        sizes = [_analysis(graph).of(item) for item in (x, y)] if graph is not None else [None]
        axes = _broadcast_over(sizes) if None not in sizes else None
        if axes is None:
            return original(x, y, gx, gy)
        lead = max(x.shape.rank, y.shape.rank)
        return tuple(
            _sum(gradient, operand, over, lead - operand.shape.rank)
            for gradient, operand, over in zip((gx, gy), (x, y), axes, strict=True)
        )

    return reduced


def _sum(gradient: Any, operand: Any, axes: Sequence[int], lead: int) -> Any:
    """``gradient`` over ``axes`` in the shape of ``operand``, which has ``lead`` axes less."""
    if gradient is None or not (axes or lead):
        return gradient
    summed = tf.reduce_sum(gradient, list(axes), keepdims=True)
    return tf.reshape(summed, tf.shape(operand)) if lead else summed


def _broadcast_over(sizes: Sequence[Any]) -> tuple[list[int], list[int]] | None:
    """The axes along which either of two shapes was broadcast, as TensorFlow counts them; None if that is open."""
    rank = max(len(item) for item in sizes)
    padded = [[1] * (rank - len(item)) + list(item) for item in sizes]
    axes: tuple[list[int], list[int]] = ([], [])
    for axis, (left, right) in enumerate(zip(*padded, strict=True)):
        if left == right and left != 1:
            continue
        if left == 1 or right == 1:
            # What is 1 beside a free size was broadcast, or the sum is over one number.
            for over, own in zip(axes, (left, right), strict=True):
                over.extend([axis] if own == 1 and left != right else [])
        elif isinstance(left, Axis) or isinstance(right, Axis):
            return None
    return axes


def _broadcast_axes(original: Callable[..., Any]) -> Callable[..., Any]:
    """The same for shapes that a gradient function has taken apart: constants, where it is known."""

    def broadcast_axes(s0: Any, s1: Any, name: Any = None) -> Any:
        graph = _graph_of(s0, s1)
        if graph is None:
            return original(s0, s1, name)
        known = _analysis(graph).of
        sizes = [vector(item, known) for item in (s0, s1)]
        if any(item is None or any(size is None for size in item) for item in sizes):
            return original(s0, s1, name)
        axes = _broadcast_over(sizes)
        return original(s0, s1, name) if axes is None else [tf.constant(item, s0.dtype, [len(item)]) for item in axes]

    return broadcast_axes


def _shape(original: Callable[..., Any]) -> Callable[..., Any]:
    """The vector of a tensor's sizes, read of the tensors where they first occur, once for all that are alike."""

    def shape(input: Any, out_type: Any = tf.int32, name: Any = None) -> Any:
        graph = _graph_of(input)
        if graph is None or graph is not tf.compat.v1.get_default_graph():
            return original(input, out_type, name)
        analysis = _analysis(graph)
        sizes = analysis.of(input)
        if sizes is None or not _come_from_elsewhere(input, sizes):
            return original(input, out_type, name)
        return _vector_of(original, analysis, sizes, tf.as_dtype(out_type or tf.int32))

    return shape


def _shape_n(original: Callable[..., Any]) -> Callable[..., Any]:
    def shape_n(input: Any, out_type: Any = tf.int32, name: Any = None) -> Any:
        # A backward loop reads tensors of the forward one: of those TensorFlow keeps the values, and of single shapes
        # lists of shapes. What it would do is left as it is.
        if _graph_of(*input) is not tf.compat.v1.get_default_graph():
            return original(input, out_type, name)
        return [tf.shape(item, out_type=out_type) for item in input]

    return shape_n


def _come_from_elsewhere(tensor: Any, sizes: Sizes) -> bool:
    """Whether no free size is first seen at ``tensor``, and there is one."""
    origins = {size.name for size in sizes if isinstance(size, Axis)}
    return bool(origins) and tensor.name not in origins


def _vector_of(original: Callable[..., Any], analysis: Analysis, sizes: Sizes, dtype: tf.DType) -> Any:
    key = sizes, dtype
    if key not in analysis.emitted:
        with tf.control_dependencies(None):
            analysis.emitted[key] = _emit(original, analysis, sizes, dtype)
    return analysis.emitted[key]


def _emit(original: Callable[..., Any], analysis: Analysis, sizes: Sizes, dtype: tf.DType) -> Any:
    first = next(size for size in sizes if isinstance(size, Axis)).tensor
    if analysis.of(first) == sizes:
        return original(first, dtype)
    entries = []
    for size in sizes:
        if not isinstance(size, Axis):
            entries.append(tf.constant(size, dtype))
            continue
        key = size, dtype
        if key not in analysis.emitted:
            whole = size.name, dtype
            if whole not in analysis.emitted:
                analysis.emitted[whole] = original(size.tensor, dtype)
            analysis.emitted[key] = analysis.emitted[whole][size.number]
        entries.append(analysis.emitted[key])
    return tf.stack(entries)


_CHANGE = TemporaryChange(_change)
