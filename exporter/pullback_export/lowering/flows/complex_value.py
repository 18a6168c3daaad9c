"""Complex tensors as pairs of real ones: ONNX operators have no complex dtype."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.values import Value


@dataclasses.dataclass(frozen=True)
class ComplexValue:
    """``real + i imag``, two values of one shape and dtype (float32 for complex64, float64 for complex128)."""

    real: Value
    imag: Value

    def __add__(self, other: ComplexValue | float) -> ComplexValue:
        if isinstance(other, ComplexValue):
            return ComplexValue(self.real + other.real, self.imag + other.imag)
        return ComplexValue(self.real + other, self.imag)

    def __sub__(self, other: ComplexValue | float) -> ComplexValue:
        if isinstance(other, ComplexValue):
            return ComplexValue(self.real - other.real, self.imag - other.imag)
        return ComplexValue(self.real - other, self.imag)

    def __rsub__(self, other: float) -> ComplexValue:
        return ComplexValue(other - self.real, -self.imag)

    def __mul__(self, other: ComplexValue | Value | float) -> ComplexValue:
        if not isinstance(other, ComplexValue):
            return ComplexValue(self.real * other, self.imag * other)
        real = self.real * other.real - self.imag * other.imag
        return ComplexValue(real, self.real * other.imag + self.imag * other.real)

    def __truediv__(self, other: ComplexValue | Value | float) -> ComplexValue:
        """Divided by the larger part of ``other`` first, so that its square neither overflows nor vanishes.

        A finite number over an infinite one is 0, as in C (ISO/IEC 9899, G.5.1); TensorFlow's kernels give 0 or NaN,
        depending on where in the tensor it stands.
        """
        if not isinstance(other, ComplexValue):
            return ComplexValue(self.real / other, self.imag / other)
        graph = other.real.graph
        bounded = ComplexValue(_within_range(other.real), _within_range(other.imag))
        scale = graph.emit("Max", [graph.emit("Abs", [bounded.real]), graph.emit("Abs", [bounded.imag])])
        unit = bounded.conj() / scale
        size = (unit.real * unit.real + unit.imag * unit.imag) * scale
        return self * unit / size

    def __rtruediv__(self, other: float) -> ComplexValue:
        one = graph_number(self.real, other)
        return ComplexValue(one, one * 0.0) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __matmul__(self, other: ComplexValue) -> ComplexValue:
        real = self.real @ other.real - self.imag @ other.imag
        return ComplexValue(real, self.real @ other.imag + self.imag @ other.real)

    def __neg__(self) -> ComplexValue:
        return ComplexValue(-self.real, -self.imag)

    def conj(self) -> ComplexValue:
        return ComplexValue(self.real, -self.imag)


def _within_range(x: Value) -> Value:
    """``x`` with the largest finite numbers instead of infinities; NaN stays NaN."""
    most = float(np.finfo(x.dtype).max)
    return x.graph.emit("Clip", [x, graph_number(x, -most), graph_number(x, most)])


def each(function: Callable[[Value], Value], x: Any) -> Any:
    """``function`` of a real value, or of the real and of the imaginary part: for linear rearrangements."""
    return ComplexValue(function(x.real), function(x.imag)) if isinstance(x, ComplexValue) else function(x)


def graph_number(like: Value, number: float) -> Value:
    """A scalar of the dtype of ``like``."""
    return like.graph.constant(number, like.dtype)


def conj(x: Any) -> Any:
    """The complex conjugate; a real value is its own."""
    return x.conj() if isinstance(x, ComplexValue) else x


def real_of(x: Any) -> Value:
    """The value whose shape and dtype stand for ``x``."""
    return x.real if isinstance(x, ComplexValue) else x
