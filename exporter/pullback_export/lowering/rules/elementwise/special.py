"""The gamma function's logarithm and derivatives, and the zeta function."""

from __future__ import annotations

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.elementary import in_float64
from pullback_export.lowering.numerics.special import gamma
from pullback_export.lowering.registry import lowers


@lowers("Lgamma")
def lgamma(op: OpContext, x: Value) -> Value:
    """``log|gamma(x)|``; infinite at 0, -1, -2, ..."""
    return in_float64(op, gamma.lgamma, x)


@lowers("Digamma")
def digamma(op: OpContext, x: Value) -> Value:
    """The derivative of ``lgamma``; NaN at 0, -1, -2, ..."""
    return in_float64(op, gamma.digamma, x)


@lowers("Polygamma")
def polygamma(op: OpContext, n: Value, x: Value) -> Value:
    """The ``n``-th derivative of ``digamma``."""
    return in_float64(op, gamma.polygamma, n, x)


@lowers("Zeta")
def zeta(op: OpContext, x: Value, q: Value) -> Value:
    """``1 / q**x + 1 / (q + 1)**x + ...``."""
    return in_float64(op, gamma.zeta, x, q)
