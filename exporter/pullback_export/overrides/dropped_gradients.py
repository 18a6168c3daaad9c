"""Gradients of gradient operators for which TensorFlow registers none.

A forward mode is two reverse passes, and so is every second derivative: the second pass goes through the operators
that the first one wrote. It fails where TensorFlow has no gradient of one, although the derivative is known. (Those
that are registered as not differentiable: :mod:`~pullback_export.overrides.silent_gradients`.)

Most of these operators are linear in the cotangent that they take. For an operator ``G(dy)`` that is the adjoint of
``F``, the adjoint of ``G`` is ``F`` again, with the same attributes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from pullback_export.overrides.registered_gradient import Gradient, added_gradient

_PIXELS = ("align_corners", "half_pixel_centers")


@contextlib.contextmanager
def complete_gradients() -> Iterator[None]:
    """Within it, tapes differentiate the operators of :data:`GRADIENTS`."""
    from tensorflow.python.ops import image_grad, math_grad, nn_grad, sparse_grad  # noqa: F401  # may register some

    with contextlib.ExitStack() as stack:
        for change in _CHANGES:
            stack.enter_context(change.active())
        yield


def attributes_of(op: Any, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: op.get_attr(name) for name in names}
    return {name: item.decode() if isinstance(item, bytes) else item for name, item in found.items()}


def _image_resize(resize: Callable[..., Any]) -> Gradient:
    """Of ``G(dy, image)``, the adjoint of ``resize``; TensorFlow's kernels of it give float32 or the image's dtype."""

    def gradient(op: Any, outer: Any) -> Any:
        dy, image = op.inputs
        back = resize(images=outer, size=tf.shape(dy)[1:3], **attributes_of(op, _PIXELS))
        return tf.cast(back, dy.dtype), tf.zeros_like(image)

    return gradient


def _nearest_resize(op: Any, outer: Any) -> Any:
    size = tf.shape(op.inputs[0])[1:3]
    return tf.raw_ops.ResizeNearestNeighbor(images=outer, size=size, **attributes_of(op, _PIXELS)), None


def _scale_and_translate(op: Any, outer: Any) -> Any:
    dy, image, scale, translation = op.inputs
    back = tf.raw_ops.ScaleAndTranslate(
        images=outer,
        size=tf.shape(dy)[1:3],
        scale=scale,
        translation=translation,
        **attributes_of(op, ("kernel_type", "antialias")),
    )
    return tf.cast(back, dy.dtype), tf.zeros_like(image), None, None


def _crop_and_resize_image(op: Any, outer: Any) -> Any:
    """``<outer, G(dy, boxes)> == <dy, CropAndResize(outer, boxes)>``, of which both derivatives are operators."""
    dy, boxes, indices, _ = op.inputs
    method = attributes_of(op, ("method",))
    crops = tf.raw_ops.CropAndResize(
        image=outer, boxes=boxes, box_ind=indices, crop_size=tf.shape(dy)[1:3], extrapolation_value=0.0, **method
    )
    if method["method"] != "bilinear":
        return crops, None, None, None
    moved = tf.raw_ops.CropAndResizeGradBoxes(grads=dy, image=outer, boxes=boxes, box_ind=indices)
    return crops, moved, None, None


def _segments(reduce: Callable[..., Any]) -> Gradient:
    """Of the gradient of a sum, mean or scaled sum of rows that ``indices`` pick, by segments in order."""

    def gradient(op: Any, outer: Any) -> Any:
        dy, indices, segment_ids, _ = op.inputs
        count = tf.shape(dy)[0]
        return reduce(data=outer, indices=indices, segment_ids=segment_ids, num_segments=count), None, None, None

    return gradient


def _filled_rows(op: Any, outer: Any, outer_default: Any) -> Any:
    """Of a row that was there its own cotangent, of a row that was filled in that of the default value."""
    places, dy = op.inputs
    index = tf.cast(places, tf.int64)[:, None]
    there = tf.scatter_nd(index, tf.ones_like(outer), tf.shape(dy, out_type=tf.int64))
    return None, tf.scatter_nd(index, outer, tf.shape(dy, out_type=tf.int64)) + (1 - there) * outer_default


def same_places(left: Any, right: Any, dtype: Any) -> Any:
    """1 where row ``i`` of ``left`` is row ``j`` of ``right``, shape (rows of left, rows of right)."""
    return tf.cast(tf.reduce_all(tf.equal(left[:, None, :], right[None, :, :]), -1), dtype)


def _sparse_slice(op: Any, outer: Any) -> Any:
    dy, places, start, kept = op.inputs
    return tf.linalg.matvec(same_places(kept, places - start[None, :], dy.dtype), outer), None, None, None


def _max_pool_argmax(op: Any, outer: Any) -> Any:
    """The element that was the largest."""
    x, _, places = op.inputs
    if not op.get_attr("include_batch_in_index"):
        each = tf.reduce_prod(tf.shape(x, out_type=places.dtype)[1:])
        places += each * tf.range(tf.shape(x, out_type=places.dtype)[0])[:, None, None, None]
    return tf.zeros_like(x), tf.gather(tf.reshape(outer, [-1]), places), None


def _max_pool_grad_grad(op: Any, outer: Any) -> Any:
    x, y, _, ksize, strides = op.inputs
    options = attributes_of(op, ("padding", "data_format"))
    back = tf.raw_ops.MaxPoolGradV2(orig_input=x, orig_output=y, grad=outer, ksize=ksize, strides=strides, **options)
    return tf.zeros_like(x), tf.zeros_like(y), back, None, None


def _softsign(op: Any, outer: Any) -> Any:
    """Of ``dy / (1 + |x|)**2``; 0 at the kink of ``|x|``."""
    dy, x = op.inputs
    beyond = 1.0 + tf.abs(x)
    return tf.raw_ops.SoftsignGrad(gradients=outer, features=x), -2.0 * tf.sign(x) * outer * dy / beyond**3


def _local_response(op: Any, outer: Any) -> Any:
    """By the formula of the operator, differentiated in the cotangent and in the image.

    With ``n = bias + alpha S(x**2)``, ``S`` the sum over ``2 depth_radius + 1`` channels, ``y = x n**-beta`` and
    ``dx = dy n**-beta - 2 alpha beta x S(dy x n**(-beta - 1))`` (tensorflow/core/kernels/lrn_op.cc).
    """
    dy, x, y = op.inputs
    alpha, beta, bias = (float(op.get_attr(name)) for name in ("alpha", "beta", "bias"))
    channels = tf.range(tf.shape(x)[-1])
    near = tf.abs(channels[:, None] - channels[None, :]) <= int(op.get_attr("depth_radius"))
    window = tf.cast(near, x.dtype)

    def summed(values: Any) -> Any:
        return tf.tensordot(values, window, 1)

    with tf.GradientTape() as tape:
        tape.watch([dy, x])
        norm = bias + alpha * summed(x * x)
        inner = summed(dy * x * norm ** (-beta - 1.0))
        value = dy * norm**-beta - 2.0 * alpha * beta * x * inner
    by_dy, by_x = tape.gradient(value, [dy, x], outer)
    return by_dy, by_x, tf.zeros_like(y)


GRADIENTS: dict[str, Gradient] = {
    "ResizeBicubicGrad": _image_resize(tf.raw_ops.ResizeBicubic),
    "ResizeNearestNeighborGrad": _nearest_resize,
    "ScaleAndTranslateGrad": _scale_and_translate,
    "CropAndResizeGradImage": _crop_and_resize_image,
    "SparseSegmentSumGrad": _segments(tf.raw_ops.SparseSegmentSumWithNumSegments),
    "SparseSegmentMeanGrad": _segments(tf.raw_ops.SparseSegmentMeanWithNumSegments),
    "SparseSegmentSqrtNGrad": _segments(tf.raw_ops.SparseSegmentSqrtNWithNumSegments),
    "SparseFillEmptyRowsGrad": _filled_rows,
    "RaggedFillEmptyRowsGrad": _filled_rows,
    "SparseSliceGrad": _sparse_slice,
    "MaxPoolGradWithArgmax": _max_pool_argmax,
    "MaxPoolGradGradV2": _max_pool_grad_grad,
    "SoftsignGrad": _softsign,
    "LRNGrad": _local_response,
}
_CHANGES = tuple(added_gradient(op_type, gradient) for op_type, gradient in GRADIENTS.items())
