"""Complex numbers and their parts, and casts between dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.size_arithmetic import broadcast
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, conj
from pullback_export.lowering.numerics import complex_elementary
from pullback_export.lowering.registry import lowers
from pullback_export.precision import check_dtype


@lowers("Complex")
def make_complex(op: OpContext, real: Value, imag: Value) -> ComplexValue:
    """``real + i imag``, broadcast."""
    shape = broadcast(real.dims, imag.dims)
    wide_real = real if real.dims == shape else op.expand_to(real, imag)
    return ComplexValue(wide_real, imag if imag.dims == shape else op.expand_to(imag, real))


@lowers("Real")
def real(op: OpContext, z: ComplexValue) -> Value:
    """The real part."""
    return z.real


@lowers("Imag")
def imag(op: OpContext, z: ComplexValue) -> Value:
    """The imaginary part."""
    return z.imag


@lowers("Conj")
def conjugate(op: OpContext, z: Any) -> Any:
    """``real - i imag``; a real tensor is its own."""
    return conj(z)


@lowers("ComplexAbs")
def complex_abs(op: OpContext, z: ComplexValue) -> Value:
    """``|z|``."""
    return complex_elementary.absolute(op, z)


@lowers("Angle")
def angle(op: OpContext, z: ComplexValue) -> Value:
    """The argument of ``z`` in (-pi, pi]."""
    return complex_elementary.angle(op, z)


@lowers("Cast")
def cast(op: OpContext, x: Any) -> Any:
    """``x`` in another dtype: float to integer truncates, complex to real drops the imaginary part."""
    check_dtype(op.tf_op.outputs[0].dtype)
    dtype = op.output_dtype()
    if dtype.kind != "c":
        return op.cast(x.real if isinstance(x, ComplexValue) else x, dtype)
    part = np.dtype(np.float32 if dtype == np.complex64 else np.float64)
    if isinstance(x, ComplexValue):
        return ComplexValue(op.cast(x.real, part), op.cast(x.imag, part))
    return ComplexValue(op.cast(x, part), op.full_like(x, 0, part))
