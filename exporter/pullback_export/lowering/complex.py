"""Complex tensors as pairs of real ones: ONNX operators have no complex dtype."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from pullback_export.lowering.graph import Value


@dataclasses.dataclass(frozen=True)
class ComplexValue:
    """``real + i imag``, two values of one shape and dtype (float32 for complex64, float64 for complex128)."""

    real: Value
    imag: Value

    def __add__(self, other: ComplexValue) -> ComplexValue:
        return ComplexValue(self.real + other.real, self.imag + other.imag)

    def __sub__(self, other: ComplexValue) -> ComplexValue:
        return ComplexValue(self.real - other.real, self.imag - other.imag)

    def __mul__(self, other: ComplexValue) -> ComplexValue:
        real = self.real * other.real - self.imag * other.imag
        return ComplexValue(real, self.real * other.imag + self.imag * other.real)

    def __matmul__(self, other: ComplexValue) -> ComplexValue:
        real = self.real @ other.real - self.imag @ other.imag
        return ComplexValue(real, self.real @ other.imag + self.imag @ other.real)

    def __neg__(self) -> ComplexValue:
        return ComplexValue(-self.real, -self.imag)

    def conj(self) -> ComplexValue:
        return ComplexValue(self.real, -self.imag)


def each(function: Callable[[Value], Value], x: Any) -> Any:
    """``function`` of a real value, or of the real and of the imaginary part: for linear rearrangements."""
    return ComplexValue(function(x.real), function(x.imag)) if isinstance(x, ComplexValue) else function(x)


def real_of(x: Any) -> Value:
    """The value whose shape and dtype stand for ``x``."""
    return x.real if isinstance(x, ComplexValue) else x
