"""Gives gradients of error functions their constants in float64, rounded only where they are used.

TensorFlow writes ``2 / sqrt(pi)`` and the like (``math_grad.py``) in the dtype of the gradient, which is off by 2e-4 in
half precision and by 3e-8 in float32. A graph that is computed in another precision than that of its trace keeps the
rounded number: not as a trained weight, but as a wrong derivative. A cast of the exact one has the same value in the
model's own precision, and none of the rounding in a higher one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from pullback_export.overrides.registered_gradient import Gradient, replaced_gradient


@contextlib.contextmanager
def exact_constants() -> Iterator[None]:
    """Within it, tapes differentiate ``Erf``, ``Erfc``, ``Erfinv`` and ``Ndtri`` with exact constants."""
    with contextlib.ExitStack() as stack:
        for change in _CHANGES:
            stack.enter_context(change.active())
        yield


def _with_factor(factor: float, exponent: Callable[[Any], Any]) -> Callable[[Gradient], Gradient]:
    """The derivative is ``factor * exp(exponent(op))``."""

    def replace(original: Gradient) -> Gradient:
        def gradient(op: Any, dy: Any) -> Any:
            if dy.dtype == tf.float64:
                return original(op, dy)
            rounded = tf.cast(tf.constant(factor, tf.float64), dy.dtype)
            return dy * rounded * tf.exp(exponent(op))

        return gradient

    return replace


def _of_argument(op: Any) -> Any:
    return -tf.square(op.inputs[0])


_CHANGES = tuple(
    replaced_gradient(op_type, _with_factor(factor, exponent))
    for op_type, factor, exponent in (
        ("Erf", 2 / math.sqrt(math.pi), _of_argument),
        ("Erfc", -2 / math.sqrt(math.pi), _of_argument),
        ("Erfinv", math.sqrt(math.pi) / 2, lambda op: tf.square(op.outputs[0])),
        ("Ndtri", math.sqrt(2 * math.pi), lambda op: tf.square(op.outputs[0]) / 2),
    )
)
