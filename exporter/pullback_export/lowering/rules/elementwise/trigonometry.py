"""Trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from typing import Any

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.numerics import complex_elementary, elementary
from pullback_export.lowering.registry import lowers


@lowers("Sin")
def sin(op: OpContext, x: Any) -> Any:
    """``sin(x)``."""
    return complex_elementary.sin(op, x) if isinstance(x, ComplexValue) else op.Sin(x)


@lowers("Cos")
def cos(op: OpContext, x: Any) -> Any:
    """``cos(x)``."""
    return complex_elementary.cos(op, x) if isinstance(x, ComplexValue) else op.Cos(x)


@lowers("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")
def by_name(op: OpContext, x: Any) -> Any:
    """The function that the op is named after; NaN outside of its domain."""
    functions = complex_elementary if isinstance(x, ComplexValue) else elementary
    return getattr(functions, op.type.lower())(op, x)


@lowers("Atan2")
def atan2(op: OpContext, y: Value, x: Value) -> Value:
    """The angle of the point (x, y) in (-pi, pi]."""
    return elementary.atan2(op, y, x)
