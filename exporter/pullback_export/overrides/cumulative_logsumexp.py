"""Lets tapes differentiate the gradient of ``tf.math.cumulative_logsumexp``.

TensorFlow's gradient takes the logarithm of the cotangent on both sides of a ``where``: its own derivative is NaN
wherever the cotangent is zero or negative, so every ``jvp`` and Hessian is (tensorflow/python/ops/math_grad.py).
"""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

from pullback_export.overrides.registered_gradient import Gradient, replaced_gradient


def twice_differentiable_logsumexp() -> contextlib.AbstractContextManager[None]:
    """Within it, ``cumulative_logsumexp`` has derivatives of every order."""
    return _CUMULATIVE_LOGSUMEXP.active()


def _closed(original: Gradient) -> Gradient:
    def gradient(op: Any, dy: Any) -> Any:
        x, axis = op.inputs
        exclusive, reverse = bool(op.get_attr("exclusive")), bool(op.get_attr("reverse"))
        pullback, _ = _products(op.outputs[0], axis, exclusive, reverse)
        return pullback(x, dy), None

    return gradient


def _products(y: Any, axis: Any, exclusive: bool, reverse: bool) -> tuple[Any, Any]:
    """``pullback(x, dy)`` and ``pushforward(x, dx)``, products with the Jacobian ``p[j, i] = exp(x[i] - y[j])``.

    Each is the adjoint of the other, and as ``dp[j, i] = p[j, i] (dx[i] - sum_k p[j, k] dx[k])``, the derivative of
    ``<v, pullback(x, u)>`` in ``x`` is ``v * pullback(x, u) - pullback(x, u * pushforward(x, v))``: they are closed
    under differentiation. Positive and negative parts are summed apart by their logarithms, as TensorFlow does.
    """
    y = tf.stop_gradient(y)  # a function of x, of which the derivative above takes account
    lowest = y.dtype.min

    def summed(factors: Any, shift: Any, backward: bool, outside: Any) -> Any:
        parts = []
        for part in (tf.nn.relu(factors), tf.nn.relu(-factors)):
            there = part > 0
            logarithm = tf.where(there, tf.math.log(tf.where(there, part, tf.ones_like(part))), lowest)
            total = tf.math.cumulative_logsumexp(logarithm + shift, axis, exclusive, reverse != backward)
            # Where every term is 0, the sum of logarithms is the lowest number, about.
            parts.append(tf.where(total > lowest / 2, tf.exp(total + outside), tf.zeros_like(total)))
        return parts[0] - parts[1]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def pullback(x: Any, dy: Any) -> Any:
        known = tf.where(y > lowest / 2, dy, tf.zeros_like(dy))  # a result of no terms does not depend on x
        value = summed(known, -tf.where(y > lowest / 2, y, tf.zeros_like(y)), True, x)

        def gradient(outer: Any) -> tuple[Any, Any]:
            return _curvature(x, dy, outer), pushforward(x, outer)

        return value, gradient

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def pushforward(x: Any, dx: Any) -> Any:
        def gradient(outer: Any) -> tuple[Any, Any]:
            return _curvature(x, outer, dx), pullback(x, outer)

        return summed(dx, x, False, -tf.where(y > lowest / 2, y, tf.zeros_like(y))), gradient

    def _curvature(x: Any, u: Any, v: Any) -> Any:
        return v * pullback(x, u) - pullback(x, u * pushforward(x, v))

    return pullback, pushforward


_CUMULATIVE_LOGSUMEXP = replaced_gradient("CumulativeLogsumexp", _closed)
