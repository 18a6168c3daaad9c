"""Exponentials, logarithms and roots."""

from __future__ import annotations

from typing import Any

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, conj
from pullback_export.lowering.numerics import complex_elementary, elementary
from pullback_export.lowering.numerics.elementary import zero_where
from pullback_export.lowering.registry import lowers


@lowers("Exp")
def exp(op: OpContext, x: Any) -> Any:
    """``exp(x)``."""
    return complex_elementary.exp(op, x) if isinstance(x, ComplexValue) else op.Exp(x)


@lowers("Expm1")
def expm1(op: OpContext, x: Any) -> Any:
    """``exp(x) - 1``, exact near 0."""
    return complex_elementary.expm1(op, x) if isinstance(x, ComplexValue) else elementary.expm1(op, x)


@lowers("Log")
def log(op: OpContext, x: Any) -> Any:
    """``log(x)``; -inf at 0, NaN below."""
    return complex_elementary.log(op, x) if isinstance(x, ComplexValue) else op.Log(x)


@lowers("Log1p")
def log1p(op: OpContext, x: Any) -> Any:
    """``log(1 + x)``, exact near 0; -inf at -1, NaN below."""
    return complex_elementary.log1p(op, x) if isinstance(x, ComplexValue) else elementary.log1p(op, x)


@lowers("Xlogy")
def xlogy(op: OpContext, x: Any, y: Any) -> Any:
    """``x log(y)``, and 0 where ``x`` is 0."""
    return zero_where(op, x, x * log(op, y))


@lowers("Xlog1py")
def xlog1py(op: OpContext, x: Any, y: Any) -> Any:
    """``x log(1 + y)``, and 0 where ``x`` is 0."""
    return zero_where(op, x, x * log1p(op, y))


@lowers("Sqrt")
def sqrt(op: OpContext, x: Any) -> Any:
    """``sqrt(x)``; NaN below 0."""
    return complex_elementary.sqrt(op, x) if isinstance(x, ComplexValue) else op.Sqrt(x)


@lowers("SqrtGrad")
def sqrt_grad(op: OpContext, y: Any, dy: Any) -> Any:
    """``dx = dy / (2 conj(y))``; 0 where ``dy`` is 0, even at ``y = 0``."""
    return zero_where(op, dy, dy * 0.5 / conj(y))


@lowers("Rsqrt")
def rsqrt(op: OpContext, x: Any) -> Any:
    """``1 / sqrt(x)``."""
    return 1.0 / sqrt(op, x)


@lowers("RsqrtGrad")
def rsqrt_grad(op: OpContext, y: Any, dy: Any) -> Any:
    """``dx = -dy conj(y)**3 / 2``; 0 where ``dy`` is 0, even if ``y`` is infinite."""
    root = conj(y)
    return zero_where(op, dy, dy * -0.5 * (root * root * root))
