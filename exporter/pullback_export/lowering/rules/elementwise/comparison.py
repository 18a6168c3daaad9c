"""Comparisons, logic and selection."""

from __future__ import annotations

from typing import Any

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, real_of
from pullback_export.lowering.numerics import complex_elementary
from pullback_export.lowering.numerics.dictionaries import equal_strings
from pullback_export.lowering.registry import lowers
from pullback_export.lowering.texts import are_texts


def _equal(op: OpContext, x: Any, y: Any) -> Value:
    if isinstance(x, ComplexValue):
        return x.real.equals(y.real) & x.imag.equals(y.imag)
    if are_texts(x):
        return equal_strings(op, x, y)
    result: Value = x.equals(y)
    return result


@lowers("Equal")
def equal(op: OpContext, x: Any, y: Any) -> Value:
    """``x == y``; NaN equals nothing."""
    return _equal(op, x, y)


@lowers("NotEqual")
def not_equal(op: OpContext, x: Any, y: Any) -> Value:
    """``not x == y``."""
    return ~_equal(op, x, y)


@lowers("Less")
def less(op: OpContext, x: Value, y: Value) -> Value:
    """``x < y``."""
    return x < y


@lowers("LessEqual")
def less_equal(op: OpContext, x: Value, y: Value) -> Value:
    """``x <= y``."""
    return x <= y


@lowers("Greater")
def greater(op: OpContext, x: Value, y: Value) -> Value:
    """``x > y``."""
    return x > y


@lowers("GreaterEqual")
def greater_equal(op: OpContext, x: Value, y: Value) -> Value:
    """``x >= y``."""
    return x >= y


@lowers("ApproximateEqual")
def approximate_equal(op: OpContext, x: Value, y: Value) -> Value:
    """``|x - y| < tolerance``."""
    return op.Abs(x - y) < float(op.attr("tolerance"))


@lowers("LogicalAnd")
def logical_and(op: OpContext, x: Value, y: Value) -> Value:
    """``x and y``."""
    return x & y


@lowers("LogicalOr")
def logical_or(op: OpContext, x: Value, y: Value) -> Value:
    """``x or y``."""
    return x | y


@lowers("LogicalNot")
def logical_not(op: OpContext, x: Value) -> Value:
    """``not x``."""
    return ~x


@lowers("IsNan")
def is_nan(op: OpContext, x: Value) -> Value:
    """Whether ``x`` is NaN."""
    return op.IsNaN(x)


@lowers("IsInf")
def is_inf(op: OpContext, x: Value) -> Value:
    """Whether ``x`` is infinite, of either sign."""
    return op.IsInf(x)


@lowers("IsFinite")
def is_finite(op: OpContext, x: Value) -> Value:
    """Whether ``x`` is neither infinite nor NaN, for both of which ``x - x`` is NaN."""
    return (x - x).equals(0)


@lowers("SelectV2")
def select(op: OpContext, condition: Value, x: Any, y: Any) -> Any:
    """``x`` where ``condition`` holds, else ``y``, broadcast."""
    if isinstance(x, ComplexValue):
        return complex_elementary.where(op, condition, x, y)
    return op.where(condition, x, y)


@lowers("Select")
def select_rows(op: OpContext, condition: Value, x: Any, y: Any) -> Any:
    """``x`` where ``condition`` holds, else ``y``; a vector of conditions chooses whole rows."""
    rank = real_of(x).rank
    if condition.rank == 1 and rank > 1:
        condition = op.reshape(condition, [condition.dims[0], *[1] * (rank - 1)])
    return select(op, condition, x, y)
