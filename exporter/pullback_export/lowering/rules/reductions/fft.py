"""The FFT family: complex, real and inverse real transforms over the last one, two or three axes.

TensorFlow has no CPU kernel for the ops over given axes (``FFTND`` and its kin) nor for the old ``Batch`` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.numerics.fourier import half_transform, inverse_half_transform, resized, transform
from pullback_export.lowering.numerics.size_vectors import named_sizes
from pullback_export.lowering.registry import lowers


def _rank(op: OpContext) -> int:
    return {"2D": 2, "3D": 3}.get(op.type[-2:], 1)


@lowers("FFT", "FFT2D", "FFT3D")
def fft(op: OpContext, x: ComplexValue) -> ComplexValue:
    """Discrete Fourier transform of the last axes; an empty batch stays empty."""
    return _complex(op, x, range(-_rank(op), 0), False)


@lowers("IFFT", "IFFT2D", "IFFT3D")
def ifft(op: OpContext, x: ComplexValue) -> ComplexValue:
    """The inverse, divided by the number of elements."""
    return _complex(op, x, range(-_rank(op), 0), True)


@lowers("RFFT", "RFFT2D", "RFFT3D")
def rfft(op: OpContext, x: Value, fft_length: Value) -> ComplexValue:
    """Transform of a real tensor, cut or filled with zeros to ``fft_length``; ``n // 2 + 1`` coefficients are kept."""
    return _real(op, x, range(-_rank(op), 0), named_sizes(op, fft_length))


@lowers("IRFFT", "IRFFT2D", "IRFFT3D")
def irfft(op: OpContext, x: ComplexValue, fft_length: Value) -> Value:
    """Inverse of ``RFFT`` with ``fft_length`` real values, from ``fft_length // 2 + 1`` coefficients."""
    return _inverse_real(op, x, range(-_rank(op), 0), named_sizes(op, fft_length))


def _resized(op: OpContext, x: Any, axes: Sequence[int], lengths: Sequence[Size]) -> Any:
    for axis, length in zip(axes, lengths, strict=True):
        x = resized(op, x, axis, length)
    return x


def _complex(op: OpContext, x: Any, axes: Sequence[int], inverse: bool) -> ComplexValue:
    for axis in reversed(axes):
        x = transform(op, x, axis, inverse)
    result: ComplexValue = x
    return result


def _real(op: OpContext, x: Value, axes: Sequence[int], lengths: Sequence[Size]) -> ComplexValue:
    return _complex(op, half_transform(op, _resized(op, x, axes, lengths), axes[-1]), axes[:-1], False)


def _inverse_real(op: OpContext, x: ComplexValue, axes: Sequence[int], lengths: Sequence[Size]) -> Value:
    spectrum = _resized(op, x, axes, [*lengths[:-1], lengths[-1] // 2 + 1])
    return inverse_half_transform(op, _complex(op, spectrum, axes[:-1], True), axes[-1], lengths[-1])
