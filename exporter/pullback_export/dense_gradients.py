"""Lets tapes go twice through a gather.

The gradient of a gather is an ``IndexedSlices``. Several of TensorFlow's gradient functions, mostly those of second
order (``TanhGrad``, ``SigmoidGrad``, ...), compute with it as if it were a tensor, and fail.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

Gradient = Callable[..., Any]

_lock = threading.RLock()
_depth = 0


@contextlib.contextmanager
def dense_gradients() -> Iterator[None]:
    """Within it, a gradient function that does not take ``IndexedSlices`` is given the tensor instead."""
    from tensorflow.python.framework import ops

    global _depth
    gradients, registry = ops._gradient_registry, type(ops._gradient_registry)
    with _lock:
        _depth += 1
        if _depth == 1:
            registry.lookup = _dense_lookup(registry.lookup, gradients)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                registry.lookup = registry.lookup.original


def _dense_lookup(original: Callable[[Any, str], Any], gradients: Any) -> Callable[[Any, str], Any]:
    """The method of TensorFlow's registries, which only for that of the ``gradients`` does anything else."""

    def lookup(self: Any, name: str) -> Any:
        found = original(self, name)
        return _dense(found) if self is gradients else found

    lookup.original = original  # type: ignore[attr-defined]
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
