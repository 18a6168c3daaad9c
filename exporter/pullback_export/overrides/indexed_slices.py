"""Lets tapes go twice through a gather.

The gradient of a gather is an ``IndexedSlices``. Several of TensorFlow's gradient functions, mostly those of second
order (``TanhGrad``, ``SigmoidGrad``, ...), compute with it as if it were a tensor, and fail.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pullback_export.overrides.temporary_change import TemporaryChange

Gradient = Callable[..., Any]


def dense_gradients() -> contextlib.AbstractContextManager[None]:
    """Within it, a gradient function that does not take ``IndexedSlices`` is given the tensor instead."""
    return _DENSE.active()


def _change() -> Callable[[], None]:
    from tensorflow.python.framework import ops

    registry = type(ops._gradient_registry)
    original = registry.lookup
    registry.lookup = _dense_lookup(original, ops._gradient_registry)
    return lambda: setattr(registry, "lookup", original)


def _dense_lookup(original: Callable[[Any, str], Any], gradients: Any) -> Callable[[Any, str], Any]:
    """The method of TensorFlow's registries, which only for that of the ``gradients`` does anything else."""

    def lookup(self: Any, name: str) -> Any:
        found = original(self, name)
        return _dense(found) if self is gradients else found

    return lookup


def _dense(original: Gradient | None) -> Gradient | None:
    if original is None:
        return None

    def gradient(op: Any, *outer: Any) -> Any:
        if not any(isinstance(item, tf.IndexedSlices) for item in outer):
            return original(op, *outer)
        try:
            return original(op, *outer)
        except (TypeError, ValueError, AttributeError):
            dense = [tf.convert_to_tensor(item) if isinstance(item, tf.IndexedSlices) else item for item in outer]
            return original(op, *dense)

    return gradient


_DENSE = TemporaryChange(_change)
