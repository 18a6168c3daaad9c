"""Resampling of an axis as a product with a matrix ``(new size, old size)``: exact, and its adjoint is the transpose.

Positions and weights are computed in float32, step by step as TensorFlow's kernels do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext

Tap = tuple[Value, Value]  # which old element (int64), with which weight (float32); a vector each


def resample(op: OpContext, x: Value, rows: Value, columns: Value) -> Value:
    """``(N, C, H, W)`` to ``(N, C, new H, new W)``."""
    return rows @ (x @ _transposed(op, columns))


def resample_adjoint(op: OpContext, dy: Value, rows: Value, columns: Value) -> Value:
    """``(N, C, new H, new W)`` to ``(N, C, H, W)``."""
    return _transposed(op, rows) @ (dy @ columns)


def _transposed(op: OpContext, matrix: Value) -> Value:
    return op.transpose(matrix, [*range(matrix.rank - 2), matrix.rank - 1, matrix.rank - 2])


def matrix_of(op: OpContext, taps: Sequence[Tap], size: Size) -> Value:
    """``matrix[i, j] = sum of the weights of element i's taps on j``."""
    old = op.Unsqueeze(count(op, size), [0])
    parts = [op.mask(op.Unsqueeze(index, [1]).equals(old), op.Unsqueeze(weight, [1])) for index, weight in taps]
    return parts[0] if len(parts) == 1 else op.Sum(*parts)


def count(op: OpContext, size: Size) -> Value:
    """``0, 1, ... size - 1`` as int64."""
    return op.Range(op.const(0, np.int64), op.Reshape(op.sizes([size]), []), op.const(1, np.int64))


def count_float(op: OpContext, size: Size) -> Value:
    """``0, 1, ... size - 1`` as float32."""
    return op.cast(count(op, size), np.float32)


def size_float(op: OpContext, size: Size) -> Value:
    """A size as a float32 scalar."""
    return op.cast(op.Reshape(op.sizes([size]), []), np.float32)


def scale_of(op: OpContext, old: Size, new: Size, align_corners: bool) -> Value:
    """Old elements for each new one; with ``align_corners`` the first and last elements coincide."""
    if not align_corners or new == 1:
        return size_float(op, old) / size_float(op, new)
    gaps = size_float(op, new) - 1
    if isinstance(new, int):
        return (size_float(op, old) - 1) / gaps
    inner = (size_float(op, old) - 1) / op.Max(gaps, 1.0)
    scale: Value = op.Where(gaps.equals(0.0), size_float(op, old), inner)  # of a single new element, as without
    return scale


def position(op: OpContext, old: Size, new: Size, align_corners: bool, half_pixel_centers: bool) -> Value:
    """Where the new elements are among the old ones."""
    scale = scale_of(op, old, new, align_corners)
    index = count_float(op, new)
    return (index + 0.5) * scale - 0.5 if half_pixel_centers else index * scale


def within(op: OpContext, index: Value, size: Size) -> Value:
    """``index``, moved to the nearest element that exists."""
    return op.Max(op.Min(op.cast(index, np.int64), op.sizes([size]) - 1), [0])


def linear_taps(op: OpContext, at: Value, size: Size) -> list[Tap]:
    """The elements on both sides of a position."""
    low = op.Floor(at)
    share = at - low
    return [(within(op, low, size), 1 - share), (within(op, op.Ceil(at), size), share)]


def nearest_index(op: OpContext, old: Size, new: Size, align_corners: bool, half_pixel_centers: bool) -> Value:
    """The element that nearest-neighbour sampling takes; halves round away from zero."""
    index = count_float(op, new)
    at = (index + 0.5 if half_pixel_centers else index) * scale_of(op, old, new, align_corners)
    return within(op, op.Floor(at + 0.5) if align_corners else op.Floor(at), old)


def cubic_taps(op: OpContext, at: Value, size: Size, half_pixel_centers: bool) -> list[Tap]:
    """Four elements with Keys' weights, from a table of 1024 steps as in TensorFlow (``resize_bicubic_op.cc``).

    With half pixel centers elements outside have no weight and the others are rescaled; else the edge is repeated.
    """
    low = op.Floor(at)
    step = op.cast(op.Round((at - low) * 1024.0), np.int64)
    near, far = (op.const(column) for column in _keys_table(-0.5 if half_pixel_centers else -0.75))
    weights = [
        op.Gather(table, index) for table, index in ((far, step), (near, step), (near, 1024 - step), (far, 1024 - step))
    ]
    places = [op.cast(low, np.int64) + offset for offset in (-1, 0, 1, 2)]
    inside = [within(op, place, size) for place in places]
    if half_pixel_centers:
        weights = [op.mask(a.equals(b), weight) for a, b, weight in zip(places, inside, weights, strict=True)]
        total = op.Sum(*weights)
        weights = [weight / total for weight in weights]
    return list(zip(inside, weights, strict=True))


def _keys_table(a: float) -> list[np.ndarray]:
    x = np.arange(1025) / 1024
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    y = x + 1
    far = ((a * y - 5 * a) * y + 8 * a) * y - 4 * a
    return [near.astype(np.float32), far.astype(np.float32)]


def area_matrix(op: OpContext, old: Size, new: Size, align_corners: bool) -> Value:
    """Share of each old element in the interval of a new one; the last element goes on to infinity.

    The corners of a single element coincide: it is repeated.
    """
    scale = scale_of(op, old, new, align_corners)
    scale = op.Where(scale.equals(0.0), 1.0, scale) if align_corners else scale
    starts = op.Unsqueeze(count_float(op, new) * scale, [1])
    ends = op.Unsqueeze((count_float(op, new) + 1) * scale, [1])
    left = op.Unsqueeze(count_float(op, old), [0])
    right = op.Where(left.equals(size_float(op, old) - 1), np.float32(np.inf), left + 1)
    return op.Max(op.Min(right, ends) - op.Max(left, starts), 0.0) / scale


def kernel_matrix(
    op: OpContext, old: Size, new: Size, scale: Value, shift: Value, kernel: str, antialias: bool
) -> Value:
    """Weights of ``scale_and_translate_op.cc``: ``kernel(distance / width)``, rows that sum to 1, 0 outside."""
    inverse = 1 / scale
    width = op.Max(inverse, 1.0) if antialias else op.const(1.0, np.float32)
    at = op.Unsqueeze((count_float(op, new) + 0.5) * inverse + (-inverse * shift), [1])
    old_index = op.Unsqueeze(count_float(op, old), [0])
    reach, function = _KERNELS[kernel]
    first = op.Ceil(at - width * reach - 0.5)
    last = op.Floor(at + width * reach - 0.5)
    inside = (old_index >= op.Min(op.Max(first, 0.0), size_float(op, old) - 1)) & (
        old_index <= op.Min(op.Max(last, 0.0), size_float(op, old) - 1)
    )
    weight = op.mask(inside, function(op, op.Abs((old_index + 0.5 - at) * (1 / width))))
    total = op.ReduceSum(weight, [1], keepdims=1)
    safe = op.Where(op.Abs(total) >= 1000 * float(np.finfo(np.float32).tiny), total, 1.0)
    valid = (at >= 0.0) & (at <= size_float(op, old))
    return op.mask(valid, weight / safe)


def _lanczos(radius: float):  # type: ignore[no-untyped-def]
    def kernel(op: OpContext, x: Value) -> Value:
        near = x <= 1e-3
        safe = op.Where(near, 1.0, x)
        value = op.Sin(safe * np.pi) * op.Sin(safe * (np.pi / radius)) * radius / (safe * safe * np.pi**2)
        return op.mask(x <= radius, op.Where(near, 1.0, value))

    return kernel


def _gaussian(op: OpContext, x: Value) -> Value:
    return op.mask(x < 1.5, op.Exp(-(x * x) / 0.5))


def _box(op: OpContext, x: Value) -> Value:
    return op.cast(x < 0.5, x.dtype) + op.cast(x.equals(0.5), x.dtype) * 0.5


def _triangle(op: OpContext, x: Value) -> Value:
    return op.Max(1 - x, 0.0)


def _keys(op: OpContext, x: Value) -> Value:
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4.0) * x + 2
    return op.mask(x < 2.0, op.Where(x >= 1.0, far, near))


def _mitchell(op: OpContext, x: Value) -> Value:
    near = (7 / 6 * x - 2.0) * x * x + 8 / 9
    far = ((-7 / 18 * x + 2.0) * x - 10 / 3) * x + 16 / 9
    return op.mask(x < 2.0, op.Where(x >= 1.0, far, near))


_KERNELS = {
    "lanczos1": (1.0, _lanczos(1.0)),
    "lanczos3": (3.0, _lanczos(3.0)),
    "lanczos5": (5.0, _lanczos(5.0)),
    "gaussian": (1.5, _gaussian),
    "box": (1.0, _box),
    "triangle": (1.0, _triangle),
    "keyscubic": (2.0, _keys),
    "mitchellcubic": (2.0, _mitchell),
}
