"""For central differences: functions with a gradient of their own become what that gradient says they are.

Within :func:`held_gradients`, ``y = f(x)`` with ``tf.custom_gradient`` is traced as its tangent at the base point,
``y = f(x0) + J (x - x0)``, where ``J`` is the transpose of the backward function that the model brings at ``x0``. What
is to be held at the base point passes through a ``StopGradient``, which the caller has to hold when it runs the graph.
Differences of the whole are then what the model *declares*, and owe nothing to automatic differentiation of anything
else. Its tape still sees the gradient of its own, at ``x``, for second derivatives too. A ``tf.function`` of the model
is traced anew, even if it has a trace already.

This works around no defect of TensorFlow, and has no row in ``OVERRIDES``.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

# What reads only the shape of a tensor.
_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
_lock = threading.RLock()


class NotHeldError(Exception):
    """A gradient of a model's own that is not linear, or has no transpose."""


def is_custom(node: Any) -> bool:
    """Whether a node of a graph is what ``tf.custom_gradient`` puts behind a function."""
    return bool(node.op == "IdentityN" and "_gradient_op_type" in node.attr)


@contextlib.contextmanager
def held_gradients() -> Iterator[list[str]]:
    """Gives the list that grows by the name of each function that was traced as its tangent."""
    from tensorflow.python.eager.polymorphic_function import polymorphic_function
    from tensorflow.python.ops import custom_gradient

    names: list[str] = []
    traced = polymorphic_function.Function
    with _lock:
        decorator, call = custom_gradient._graph_mode_decorator, traced.__call__

        def decorated(function: Any, args: Any, kwargs: Any) -> Any:
            names.append(getattr(function, "__name__", "function"))
            return decorator(_tangent(function), args, kwargs)

        def called_anew(function: Any, *args: Any, **kwargs: Any) -> Any:
            return call(function._clone(None), *args, **kwargs)

        custom_gradient._graph_mode_decorator, traced.__call__ = decorated, called_anew
        try:
            yield names
        finally:
            custom_gradient._graph_mode_decorator, traced.__call__ = decorator, call


def _tangent(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def tangent(*args: Any) -> Any:
        _, backward = function(*args)
        base = tf.nest.map_structure(_held, args)
        result, backward_at_base = function(*base)
        steps = [
            here - there if here.dtype.is_floating else None
            for here, there in zip(tf.nest.flatten(args), tf.nest.flatten(base), strict=True)
        ]
        flat = [tf.convert_to_tensor(item) for item in tf.nest.flatten(result)]
        moved = _pushed(backward_at_base, flat, steps)
        return tf.nest.pack_sequence_as(result, [a + b for a, b in zip(flat, moved, strict=True)]), backward

    return tangent


def _held(tensor: Any) -> Any:
    return tf.stop_gradient(tensor) if tensor.dtype.is_floating else tensor


def _pushed(backward: Callable[..., Any], results: Sequence[Any], steps: Sequence[Any]) -> list[Any]:
    """The transpose of ``backward`` applied to ``steps``."""
    seeds = [tf.zeros_like(item) for item in results]
    try:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(seeds)
            pulled = tf.nest.flatten(backward(*seeds))
        pairs = [(one, step) for one, step in zip(pulled, steps, strict=True) if one is not None and step is not None]
        found = tape.gradient(
            [tf.convert_to_tensor(one) for one, _ in pairs], seeds, output_gradients=[step for _, step in pairs]
        )
    except (LookupError, TypeError, ValueError) as problem:
        raise NotHeldError(str(problem)) from problem
    moved = [tf.zeros_like(item) if one is None else tf.convert_to_tensor(one)
             for item, one in zip(results, found, strict=True)]  # fmt: skip
    if any(_reads(item, {seed.ref() for seed in seeds}) for item in moved):
        raise NotHeldError("its backward function is not linear")
    return moved


def _reads(tensor: Any, seeds: set[Any]) -> bool:
    """Whether the values of ``seeds`` count for ``tensor``, and not their shapes alone."""
    waiting, seen = [tensor], set()
    while waiting:
        item = waiting.pop()
        if item.ref() in seeds:
            return True
        if item.ref() in seen or item.op.type in _SHAPES:
            continue
        seen.add(item.ref())
        waiting += item.op.inputs
    return False
