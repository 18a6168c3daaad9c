"""Crops of images, resampled (tensorflow/core/kernels/image/crop_and_resize_op.cc). All positions are float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import resampling as res
from pullback_export.lowering.numerics.size_vectors import named_sizes
from pullback_export.lowering.registry import lowers


@lowers("CropAndResize")
def crop_and_resize(op: OpContext, image: Value, boxes: Value, box_index: Value, size: Value) -> Value:
    """``(boxes, crop H, crop W, C)`` in float32; pixels outside of the image get ``extrapolation_value``."""
    crop = named_sizes(op, size)
    at = _positions(op, boxes, image.dims[1:3], crop)
    matrices = [_matrix(op, place, old) for place, old in zip(at, image.dims[1:3], strict=True)]
    crops = res.resample(op, _images_of_boxes(op, image, box_index), *_over_channels(op, matrices))
    outside = float(op.attr("extrapolation_value"))
    if outside:
        inside = _column(op, _inside(op, at[0], image.dims[1]), 2) & _column(op, _inside(op, at[1], image.dims[2]), 1)
        crops = crops + op.cast(~inside, np.float32) * outside
    return op.transpose(crops, [0, 2, 3, 1])


@lowers("CropAndResizeGradImage")
def crop_and_resize_grad_image(op: OpContext, dy: Value, boxes: Value, box_index: Value, size: Value) -> Value:
    """The adjoint with respect to the image, summed over the boxes of each image."""
    shape = named_sizes(op, size)
    at = _positions(op, boxes, shape[1:3], dy.dims[1:3])
    matrices = [_matrix(op, place, old) for place, old in zip(at, shape[1:3], strict=True)]
    by_box = res.resample_adjoint(op, op.transpose(dy, [0, 3, 1, 2]), *_over_channels(op, matrices))
    zeros = op.full([shape[0], shape[3], *shape[1:3]], 0, np.float32)
    places = op.Unsqueeze(op.cast(box_index, np.int64), [1])
    total = op.ScatterND(zeros, places, by_box, reduction="add")
    return op.cast(op.transpose(total, [0, 2, 3, 1]), op.output_dtype())


@lowers("CropAndResizeGradBoxes")
def crop_and_resize_grad_boxes(op: OpContext, dy: Value, image: Value, boxes: Value, box_index: Value) -> Value:
    """``d/d(y1, x1, y2, x2)``: slopes of the bilinear interpolation; an exact pixel has slope 0 there."""
    old, crop = image.dims[1:3], dy.dims[1:3]
    at = _positions(op, boxes, old, crop)
    rows, columns = _over_channels(op, [_bilinear(op, a, n) for a, n in zip(at, old, strict=True)])
    row_slopes, column_slopes = _over_channels(op, [_slope(op, a, n) for a, n in zip(at, old, strict=True)])
    images = _images_of_boxes(op, image, box_index)
    first = op.transpose(dy, [0, 3, 1, 2])
    dy_at = op.ReduceSum(first * res.resample(op, images, row_slopes, columns), [1, 3], keepdims=0)
    dx_at = op.ReduceSum(first * res.resample(op, images, rows, column_slopes), [1, 2], keepdims=0)
    (y1, y2), (x1, x2) = (_ends(op, d, n, m) for d, n, m in zip((dy_at, dx_at), old, crop, strict=True))
    return op.Concat(y1, x1, y2, x2, axis=1)


def _ends(op: OpContext, d_at: Value, old: Size, crop: Size) -> tuple[Value, Value]:
    """Derivatives with respect to both ends of a box from those with respect to the positions ``(boxes, crop)``."""
    last = res.size_float(op, old) - 1
    if crop == 1:
        half = op.ReduceSum(d_at, [1], keepdims=1) * (last * 0.5)
        return half, half
    step = res.count_float(op, crop) * (last / _gaps(op, crop))
    if not isinstance(crop, int):
        step = op.Where(res.size_float(op, crop).equals(1.0), last * 0.5, step)
    return op.ReduceSum(d_at * (last - step), [1], keepdims=1), op.ReduceSum(d_at * step, [1], keepdims=1)


def _gaps(op: OpContext, crop: Size) -> Value:
    """How many gaps are between the pixels of a crop; of a single one, which has none, 1."""
    gaps = res.size_float(op, crop) - 1
    return gaps if isinstance(crop, int) else op.Max(gaps, 1.0)


def _positions(op: OpContext, boxes: Value, old: Sequence[Size], crop: Sequence[Size]) -> list[Value]:
    """Row and column positions in the image, ``(boxes, crop size)`` each."""
    result = []
    for axis in (0, 1):
        first, second = (op.Gather(boxes, np.array([end]), axis=1) for end in (axis, axis + 2))
        last = res.size_float(op, old[axis]) - 1
        if crop[axis] == 1:
            result.append((first + second) * 0.5 * last)
            continue
        step = (second - first) * last / _gaps(op, crop[axis])
        at = first * last + res.count_float(op, crop[axis]) * step
        if not isinstance(crop[axis], int):
            at = op.Where(res.size_float(op, crop[axis]).equals(1.0), (first + second) * 0.5 * last, at)
        result.append(at)
    return result


def _inside(op: OpContext, at: Value, old: Size) -> Value:
    return (at >= 0.0) & (at <= res.size_float(op, old) - 1)


def _matrix(op: OpContext, at: Value, old: Size) -> Value:
    """Weights ``(boxes, crop size, old size)``; rows outside of the image are 0."""
    method = op.attr("method")
    if method == "bilinear":
        return _bilinear(op, at, old)
    index = op.Unsqueeze(op.Floor(at + 0.5), [2])
    hit = index.equals(res.count_float(op, old)) & op.Unsqueeze(_inside(op, at, old), [2])
    return op.cast(hit, np.float32)


def _bilinear(op: OpContext, at: Value, old: Size) -> Value:
    """``max(1 - distance, 0)``."""
    distance = op.Abs(op.Unsqueeze(at, [2]) - res.count_float(op, old))
    return op.mask(op.Unsqueeze(_inside(op, at, old), [2]), op.Relu(1 - distance))


def _slope(op: OpContext, at: Value, old: Size) -> Value:
    """1 at the element above a position and -1 at the one below; 0 where they are the same."""
    index, place = res.count_float(op, old), op.Unsqueeze(at, [2])
    above, below = (op.cast(end.equals(index), np.float32) for end in (op.Ceil(place), op.Floor(place)))
    return op.mask(op.Unsqueeze(_inside(op, at, old), [2]), above - below)


def _images_of_boxes(op: OpContext, image: Value, box_index: Value) -> Value:
    """The image of each box, channels first."""
    return op.Gather(op.transpose(op.cast(image, np.float32), [0, 3, 1, 2]), box_index, axis=0)


def _over_channels(op: OpContext, matrices: Sequence[Value]) -> list[Value]:
    return [op.Unsqueeze(matrix, [1]) for matrix in matrices]


def _column(op: OpContext, mask: Value, axis: int) -> Value:
    """A mask ``(boxes, size)`` to broadcast with ``(boxes, C, H, W)``."""
    return op.Unsqueeze(mask, [1, 3] if axis == 2 else [1, 2])
