"""Resizing of images ``(N, H, W, C)`` and its gradients (tensorflow/core/kernels/image).

All but nearest-neighbour sampling gives float32 whatever the image is: TensorFlow's kernels compute in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import resampling as res
from pullback_export.lowering.numerics.size_vectors import named_sizes
from pullback_export.lowering.registry import lowers


@lowers("ResizeBilinear")
def resize_bilinear(op: OpContext, x: Value, size: Value) -> Value:
    """Mean of the two neighbours on each axis, weighted by distance."""
    return _resized(op, x, _matrices(op, x.dims[1:3], named_sizes(op, size)))


@lowers("ResizeBilinearGrad")
def resize_bilinear_grad(op: OpContext, dy: Value, image: Value) -> Value:
    """The adjoint of ``ResizeBilinear``, in the dtype of the image."""
    return _resized_adjoint(op, dy, _matrices(op, image.dims[1:3], dy.dims[1:3]), image.dtype)


@lowers("ResizeBicubic")
def resize_bicubic(op: OpContext, x: Value, size: Value) -> Value:
    """Keys' cubic interpolation."""
    return _resized(op, x, _matrices(op, x.dims[1:3], named_sizes(op, size)))


@lowers("ResizeBicubicGrad")
def resize_bicubic_grad(op: OpContext, dy: Value, image: Value) -> Value:
    """The adjoint of ``ResizeBicubic``, in the dtype of the image."""
    return _resized_adjoint(op, dy, _matrices(op, image.dims[1:3], dy.dims[1:3]), image.dtype)


@lowers("ResizeArea")
def resize_area(op: OpContext, x: Value, size: Value) -> Value:
    """Mean over the area of each new pixel. TensorFlow has no gradient of it."""
    return _resized(op, x, _matrices(op, x.dims[1:3], named_sizes(op, size)))


@lowers("ResizeNearestNeighbor")
def resize_nearest(op: OpContext, x: Value, size: Value) -> Value:
    """The nearest pixel, in the dtype of the image."""
    for axis, index in zip((1, 2), _nearest(op, x.dims[1:3], named_sizes(op, size)), strict=True):
        x = op.Gather(x, index, axis=axis)
    return x


@lowers("ResizeNearestNeighborGrad")
def resize_nearest_grad(op: OpContext, dy: Value, size: Value) -> Value:
    """Each pixel gets the sum over the new pixels that took it."""
    old = named_sizes(op, size)
    matrices = [
        op.cast(op.Unsqueeze(index, [1]).equals(op.Unsqueeze(res.count(op, length), [0])), dy.dtype)
        for index, length in zip(_nearest(op, old, dy.dims[1:3]), old, strict=True)
    ]
    return _resized_adjoint(op, dy, matrices, dy.dtype)


@lowers("ScaleAndTranslate")
def scale_and_translate(op: OpContext, x: Value, size: Value, scale: Value, translation: Value) -> Value:
    """Resampling with a kernel at ``scale * (pixel + translation)``; 0 outside of the image."""
    matrices = _kernel_matrices(op, x.dims[1:3], named_sizes(op, size), scale, translation)
    return _resized(op, x, matrices)


@lowers("ScaleAndTranslateGrad")
def scale_and_translate_grad(op: OpContext, dy: Value, image: Value, scale: Value, translation: Value) -> Value:
    """The adjoint of ``ScaleAndTranslate``."""
    matrices = _kernel_matrices(op, image.dims[1:3], dy.dims[1:3], scale, translation)
    return _resized_adjoint(op, dy, matrices, dy.dtype)


def _resized(op: OpContext, x: Value, matrices: Sequence[Value]) -> Value:
    first = op.transpose(op.cast(x, np.float32), [0, 3, 1, 2])
    return op.transpose(res.resample(op, first, *matrices), [0, 2, 3, 1])


def _resized_adjoint(op: OpContext, dy: Value, matrices: Sequence[Value], dtype: np.dtype) -> Value:
    dx = res.resample_adjoint(op, op.transpose(dy, [0, 3, 1, 2]), *matrices)
    return op.cast(op.transpose(dx, [0, 2, 3, 1]), dtype)


def _matrices(op: OpContext, old: Sequence[Size], new: Sequence[Size]) -> list[Value]:
    return [_matrix(op, a, b) for a, b in zip(old, new, strict=True)]


def _matrix(op: OpContext, old: Size, new: Size) -> Value:
    corners = bool(op.attr("align_corners"))
    if op.type == "ResizeArea":
        return res.area_matrix(op, old, new, corners)
    half = bool(op.attr("half_pixel_centers"))
    at = res.position(op, old, new, corners, half)
    taps = res.linear_taps(op, at, old) if "Bilinear" in op.type else res.cubic_taps(op, at, old, half)
    return res.matrix_of(op, taps, old)


def _nearest(op: OpContext, old: Sequence[Size], new: Sequence[Size]) -> list[Value]:
    corners, half = bool(op.attr("align_corners")), bool(op.attr("half_pixel_centers"))
    return [res.nearest_index(op, a, b, corners, half) for a, b in zip(old, new, strict=True)]


def _kernel_matrices(
    op: OpContext, old: Sequence[Size], new: Sequence[Size], scale: Value, translation: Value
) -> list[Value]:
    kernel, antialias = str(op.attr("kernel_type")), bool(op.attr("antialias"))
    return [
        res.kernel_matrix(op, old[i], new[i], _entry(op, scale, i), _entry(op, translation, i), kernel, antialias)
        for i in (0, 1)
    ]


def _entry(op: OpContext, vector: Value, index: int) -> Value:
    return op.Gather(vector, np.array(index))
