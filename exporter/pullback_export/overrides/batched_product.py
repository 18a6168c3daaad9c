"""Batched matrix products that broadcast, with equal batch shapes: where TensorFlow's own give wrong numbers.

With oneDNN on, on a processor with AVX-512, ``BatchMatMulV2`` writes outside of its buffers where it broadcasts
(:mod:`pullback.onednn`). Where that cannot be helped any more, as TensorFlow has computed already, operands are
broadcast before the product. A ``tf.function`` that was traced before, and ``tf.raw_ops``, are out of reach.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from pullback import onednn

from pullback_export.overrides.temporary_change import TemporaryChange

_NAMES = ("batch_mat_mul_v2", "batch_mat_mul_v3")


def equal_batches() -> contextlib.AbstractContextManager[None]:
    """Within it, where products of this process are unsafe, TensorFlow's Python functions broadcast before them."""
    return _CHANGE.active()


def _change() -> Callable[[], None]:
    from tensorflow.python.ops import gen_math_ops

    if onednn.make_safe():
        return lambda: None
    before = {name: getattr(gen_math_ops, name) for name in _NAMES}
    for name, original in before.items():
        setattr(gen_math_ops, name, _broadcast_first(original))

    def undo() -> None:
        for name, original in before.items():
            setattr(gen_math_ops, name, original)

    return undo


def _broadcast_first(original: Callable[..., Any]) -> Callable[..., Any]:
    def product(x: Any, y: Any, *more: Any, **options: Any) -> Any:
        left, right = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        if not _are_equal(left, right):
            batch = tf.broadcast_dynamic_shape(tf.shape(left)[:-2], tf.shape(right)[:-2])
            left, right = (_with_batch(item, batch) for item in (left, right))
        return original(left, right, *more, **options)

    return product


def _are_equal(left: Any, right: Any) -> bool:
    """Whether the batch shapes are known to be the same."""
    if left.shape.rank is None or right.shape.rank is None:
        return False
    shapes = left.shape[:-2], right.shape[:-2]
    return all(shape.is_fully_defined() for shape in shapes) and shapes[0] == shapes[1]


def _with_batch(matrices: Any, batch: Any) -> Any:
    return tf.broadcast_to(matrices, tf.concat([batch, tf.shape(matrices)[-2:]], 0))


_CHANGE = TemporaryChange(_change)
