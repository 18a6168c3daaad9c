"""Discrete Fourier transforms along one axis, from a matrix product, ONNX ``DFT``, or Bluestein's convolution.

``DFT`` of ONNX Runtime is exact for powers of two only: at other lengths its float32 error grows to 1e-4.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of
from pullback_export.lowering.numerics.matrices.batches import indices

# Up to this length one product with a constant matrix is both exact and faster than DFT.
DENSE = 64


def transform(op: OpContext, x: Any, axis: int, inverse: bool) -> ComplexValue:
    """``X_k = sum_j x_j exp(-2 pi i j k / n)`` along ``axis``; inverse: ``+2 pi i``, and divided by n."""
    n = real_of(x).dims[axis]
    if isinstance(n, int) and n <= DENSE:
        return _times_matrix(op, x, axis, _matrix(n, inverse))
    flat, restore = _last(op, x, axis)
    if not isinstance(n, int) or n & (n - 1):
        result: ComplexValue = restore(_bluestein(op, flat, n, inverse))
    else:
        result = restore(_dft(op, flat, inverse))
    return result


def half_transform(op: OpContext, x: Value, axis: int) -> ComplexValue:
    """The first ``n // 2 + 1`` coefficients of a real signal."""
    n = x.dims[axis]
    if isinstance(n, int) and n <= DENSE:
        return _times_matrix(op, x, axis, _matrix(n, False)[:, : n // 2 + 1])
    full = transform(op, x, axis, False)
    return ComplexValue(resized(op, full.real, axis, n // 2 + 1), resized(op, full.imag, axis, n // 2 + 1))


def inverse_half_transform(op: OpContext, x: ComplexValue, axis: int, n: Size) -> Value:
    """The real signal of length ``n`` whose first ``n // 2 + 1`` coefficients are ``x``.

    The imaginary parts of the constant and, for even ``n``, of the last coefficient do not count.
    """
    if isinstance(n, int):
        weights = np.full(n // 2 + 1, 2.0)
        weights[0] = 1
        if n % 2 == 0:
            weights[-1] = 1
        if n <= DENSE:
            matrix = weights[:, None] * _matrix(n, True)[: n // 2 + 1]
            cos, sin = matrix.real.astype(x.real.dtype), matrix.imag.astype(x.real.dtype)
            return _along(op, x.real, axis, cos) - _along(op, x.imag, axis, sin)
        factor = op.const(weights, x.real.dtype)
    else:
        k = indices(op, n // 2 + 1)
        length = op.sizes([n])
        single = k.equals(0) | (k * 2).equals(length)
        factor = op.Where(single, op.const(1, x.real.dtype), op.const(2, x.real.dtype))
    shape = [1] * x.real.rank
    shape[axis] = -1
    factor = op.Reshape(factor, shape)
    spectrum = each(lambda part: resized(op, part * factor, axis, n), x)
    return transform(op, spectrum, axis, True).real


def resized(op: OpContext, x: Any, axis: int, size: Size) -> Any:
    """``axis`` cut off or filled with zeros at its end."""
    rank = real_of(x).rank
    axis %= rank
    have = real_of(x).dims[axis]
    if have == size:
        return x
    cut = isinstance(have, int) and isinstance(size, int) and size < have
    fill = isinstance(have, int) and isinstance(size, int) and size > have

    def change(part: Value) -> Value:
        result = part
        if not cut:
            pads: list[Size] = [0] * (2 * rank)
            pads[rank + axis] = size - have if fill else size
            result = op.graph.emit("Pad", [part, op.sizes(pads)])
        if not fill:
            result = op.graph.emit("Slice", [result, op.const([0]), op.sizes([size]), op.const([axis])])
        result.refine((*part.dims[:axis], size, *part.dims[axis + 1 :]))
        return result

    return each(change, x)


def _matrix(n: int, inverse: bool) -> np.ndarray[Any, Any]:
    j = np.arange(n)
    matrix = np.exp((2j if inverse else -2j) * np.pi * (np.outer(j, j) % max(n, 1)) / max(n, 1))
    scaled: np.ndarray[Any, Any] = matrix / max(n, 1) if inverse else matrix
    return scaled


def _times_matrix(op: OpContext, x: Any, axis: int, matrix: np.ndarray[Any, Any]) -> ComplexValue:
    dtype = real_of(x).dtype
    cos, sin = matrix.real.astype(dtype), matrix.imag.astype(dtype)
    if not isinstance(x, ComplexValue):
        return ComplexValue(_along(op, x, axis, cos), _along(op, x, axis, sin))
    return ComplexValue(
        _along(op, x.real, axis, cos) - _along(op, x.imag, axis, sin),
        _along(op, x.real, axis, sin) + _along(op, x.imag, axis, cos),
    )


def _along(op: OpContext, x: Value, axis: int, matrix: np.ndarray[Any, Any]) -> Value:
    """``sum_j x_j matrix[j, k]`` along ``axis``."""
    axis %= x.rank
    if axis == x.rank - 2:
        return op.const(matrix.T) @ x
    perm = [at for at in range(x.rank) if at != axis] + [axis]
    back = sorted(range(x.rank), key=lambda at: perm[at])
    return op.transpose(op.transpose(x, perm) @ op.const(matrix), back)


def _last(op: OpContext, x: Any, axis: int) -> tuple[Any, Any]:
    """``(batch, n)``, and the function that undoes it."""
    rank = real_of(x).rank
    axis %= rank
    perm = [at for at in range(rank) if at != axis] + [axis]
    moved = each(lambda part: op.transpose(part, perm), x)
    dims = real_of(moved).dims
    batch: Size = 1
    for size in dims[:-1]:
        batch = batch * size
    flat = each(lambda part: op.reshape(part, [batch, dims[-1]]), moved)
    back = sorted(range(rank), key=lambda at: perm[at])
    return flat, lambda y: each(lambda part: op.transpose(op.reshape(part, dims), back), y)


def _dft(op: OpContext, x: Any, inverse: bool) -> ComplexValue:
    """``DFT`` of ``(batch, n)``, n a power of two."""
    parts = [x.real, x.imag] if isinstance(x, ComplexValue) else [x]
    pair = op.Concat(*[op.Unsqueeze(part, [2]) for part in parts], axis=2)
    result = op.DFT(pair, inverse=int(inverse))
    result.refine((*real_of(x).dims, 2))
    real, imag = (op.Gather(result, op.const(part, np.int64), axis=2) for part in (0, 1))
    return ComplexValue(real, imag)


def _bluestein(op: OpContext, x: Any, n: Size, inverse: bool) -> ComplexValue:
    """``X_k = w_k sum_j (x_j w_j) conj(w_(k-j))`` with ``w_j = exp(-i pi j**2 / n)``: a convolution of length 2**m."""
    size, chirp, spectrum = _constant_chirps(op, n, x) if isinstance(n, int) else _computed_chirps(op, n, x)
    if inverse:
        chirp, spectrum = chirp.conj(), ComplexValue(spectrum.real, -spectrum.imag)
    weighted = x * chirp if isinstance(x, ComplexValue) else ComplexValue(x * chirp.real, x * chirp.imag)
    product = _dft(op, resized(op, weighted, 1, size), False) * spectrum
    result: ComplexValue = resized(op, _dft(op, product, True), 1, n) * chirp
    if inverse:
        count = op.cast(op.sizes([n]), result.real.dtype)
        result = ComplexValue(result.real / count, result.imag / count)
    return result


def _constant_chirps(op: OpContext, n: int, x: Any) -> tuple[Size, ComplexValue, ComplexValue]:
    dtype = real_of(x).dtype
    size = 2 ** math.ceil(math.log2(2 * n - 1))
    j = np.arange(n)
    chirp = np.exp(-1j * np.pi * (j * j % (2 * n)) / n)
    kernel = np.zeros(size, complex)
    kernel[:n], kernel[size - n + 1 :] = chirp.conj(), chirp.conj()[:0:-1]
    spectrum = np.fft.fft(kernel)
    return size, _pair(op, chirp, dtype), _pair(op, spectrum, dtype)


def _pair(op: OpContext, array: np.ndarray[Any, Any], dtype: Any) -> ComplexValue:
    return ComplexValue(op.const(array.real, dtype), op.const(array.imag, dtype))


def _computed_chirps(op: OpContext, n: Size, x: Any) -> tuple[Size, ComplexValue, ComplexValue]:
    """The same where n is free; phases are reduced as integers and evaluated in float64."""
    dtype = real_of(x).dtype
    length = op.sizes([n])
    bits = op.Ceil(op.Log(op.cast(length * 2 - 1, np.float64)) / math.log(2) - 1e-12)
    total = op.cast(op.Round(op.Pow(op.const([2.0], np.float64), bits)), np.int64)
    scalar = op.Squeeze(total, [0])
    m = op.Range(op.const(0, np.int64), scalar, op.const(1, np.int64))

    def chirp(index: Value, sign: float) -> ComplexValue:
        phase = op.cast(op.Mod(index * index, length * 2), np.float64) * math.pi / op.cast(length, np.float64)
        return ComplexValue(op.cast(op.Cos(phase), dtype), op.cast(op.Sin(phase) * sign, dtype))

    distance = op.Min(m, total - m)
    inside = op.cast(distance < length, dtype)
    kernel = each(lambda part: op.Unsqueeze(part * inside, [0]), chirp(distance, 1.0))
    return real_of(kernel).dims[1], chirp(indices(op, n), -1.0), _dft(op, kernel, False)
