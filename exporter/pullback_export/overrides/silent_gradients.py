"""Derivatives that TensorFlow drops without a word, because a gradient operator is registered as not differentiable.

``ResizeBilinearGrad``, ``SparseAddGrad`` and the gradients of fake quantisation: behind a bilinear resize a ``jvp``
(two reverse passes) is all zeros, a Hessian wrong by what went through the resize. They are linear in the cotangent, so
what the second pass wants is the adjoint of the first: for a resize, the resize itself.

TensorFlow's tape does not even keep the inputs of such operators (a table in its C++ sources), so no gradient can be
registered for them: the gradients of the operators *before* them are replaced, by functions with derivatives of their
own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from pullback_export.overrides.dropped_gradients import attributes_of, same_places
from pullback_export.overrides.registered_gradient import Gradient, replaced_gradient

_QUANTISED = ("num_bits", "narrow_range")


@contextlib.contextmanager
def kept_gradients() -> Iterator[None]:
    """Within it, no derivative through the gradients of :data:`REPLACED` is dropped."""
    from tensorflow.python.ops import image_grad, sparse_grad  # noqa: F401  # registers some of them

    with contextlib.ExitStack() as stack:
        for change in _CHANGES:
            stack.enter_context(change.active())
        yield


def _linear(function: Callable[..., Any], adjoint: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, of which tapes take ``adjoint`` for the gradient."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def apply(*operands: Any) -> Any:
        return function(*operands), adjoint

    result: Callable[..., Any] = apply
    return result


def _bilinear(original: Gradient) -> Gradient:
    def gradient(op: Any, dy: Any) -> Any:
        size = tf.shape(dy)[1:3]  # eager tapes do not keep the operand that says it
        options = attributes_of(op, ("align_corners", "half_pixel_centers"))

        def resize(outer: Any) -> Any:
            return tf.raw_ops.ResizeBilinear(images=outer, size=size, **options)

        return _linear(lambda seed: original(op, seed)[0], resize)(dy), None

    return gradient


def _quantised(op_type: str, names: tuple[str, ...], reduced: Callable[[Any], Any]) -> Callable[[Gradient], Gradient]:
    """Straight through inside of the range; what lies below it belongs to ``min``, what lies above it to ``max``."""
    operator = getattr(tf.raw_ops, op_type)

    def replace(original: Gradient) -> Gradient:
        def gradient(op: Any, dy: Any) -> Any:
            x, *bounds = op.inputs
            options = attributes_of(op, names)
            given = dict(zip(("min", "max"), bounds, strict=False))

            def mask(cotangent: Any) -> Any:
                found = operator(gradients=cotangent, inputs=x, **given, **options)
                return found[0] if bounds else found

            def inside(cotangent: Any) -> Any:
                return _linear(mask, inside)(cotangent)

            if not bounds:
                return inside(dy)
            outside = tf.equal(mask(tf.ones_like(dy)), 0)
            # The range is moved by less than half a step until it contains 0: its middle stays inside.
            low = x < (bounds[0] + bounds[1]) / 2
            parts = [reduced(tf.where(outside & side, dy, tf.zeros_like(dy))) for side in (low, ~low)]
            return inside(dy), *parts

        return gradient

    return replace


def _sparse_add(original: Gradient) -> Gradient:
    """Each value of the sum belongs to the values of both operands in its place."""

    def gradient(op: Any, *outer: Any) -> Any:
        first, second, total = op.inputs[0], op.inputs[3], op.outputs[0]

        def split(dy: Any) -> Any:
            results = original(op, outer[0], dy, *outer[2:])
            return results[1], results[4]

        def joined(by_first: Any, by_second: Any) -> Any:
            return sum(
                tf.linalg.matvec(same_places(total, places, by_first.dtype), part)
                for places, part in ((first, by_first), (second, by_second))
            )

        by_first, by_second = _linear(split, joined)(outer[1])
        return None, by_first, None, None, by_second, None, None

    return gradient


REPLACED: dict[str, tuple[str, Callable[[Gradient], Gradient]]] = {
    "ResizeBilinearGrad": ("ResizeBilinear", _bilinear),
    "FakeQuantWithMinMaxArgsGradient": (
        "FakeQuantWithMinMaxArgs",
        _quantised("FakeQuantWithMinMaxArgsGradient", (*_QUANTISED, "min", "max"), tf.reduce_sum),
    ),
    "FakeQuantWithMinMaxVarsGradient": (
        "FakeQuantWithMinMaxVars",
        _quantised("FakeQuantWithMinMaxVarsGradient", _QUANTISED, tf.reduce_sum),
    ),
    "FakeQuantWithMinMaxVarsPerChannelGradient": (
        "FakeQuantWithMinMaxVarsPerChannel",
        _quantised(
            "FakeQuantWithMinMaxVarsPerChannelGradient",
            _QUANTISED,
            lambda part: tf.reduce_sum(part, tf.range(tf.rank(part) - 1)),
        ),
    ),
    "SparseAddGrad": ("SparseAdd", _sparse_add),
}
_CHANGES = tuple(replaced_gradient(op_type, replace) for op_type, replace in REPLACED.values())
