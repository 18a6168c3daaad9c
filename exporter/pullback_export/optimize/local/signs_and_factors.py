"""Signs and constant factors: what two ops do with them, one op does.

``a + (-b)`` is ``a - b`` for all floats. A factor that is a power of two rounds nothing, so it may join another one;
a factor per channel in front of a convolution joins the kernel, which is how BatchNormalization costs no time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.operators import LARGEST_CONSTANT, LARGEST_SCALE, REARRANGING
from pullback_export.graph.values import Attributes, Operands, Region, Value
from pullback_export.optimize.rewrite import made_by


def regrouped(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    """The same result with fewer or cheaper ops; None where there are none."""
    rule = _RULES.get(op_type)
    if rule is None or not operands or operands[0] is None or operands[0].dtype.kind != "f":
        return None
    return rule(graph, operands, attributes)


def _operands_of(value: Value | None, op_type: str) -> Operands | None:
    node = made_by(value, op_type)
    return node.inputs if node is not None else None


def _negated(value: Value | None) -> Value | None:
    found = _operands_of(value, "Neg")
    return found[0] if found else None


def _number(value: Value | None) -> np.ndarray[Any, Any] | None:
    """The contents of a small constant."""
    return (
        value.const if value is not None and value.const is not None and value.const.size <= LARGEST_CONSTANT else None
    )


def _exact(factor: np.ndarray[Any, Any]) -> bool:
    """Whether a product with ``factor`` only changes exponents and signs."""
    size = np.abs(factor)
    if not factor.size or not np.isfinite(factor).all() or size.min() < 1 / LARGEST_SCALE or size.max() > LARGEST_SCALE:
        return False
    return bool((np.frexp(size)[0] == 0.5).all())


def _add(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    left, right = operands
    if (source := _negated(right)) is not None:
        return graph.emit("Sub", [left, source])
    if (source := _negated(left)) is not None:
        return graph.emit("Sub", [right, source])
    return None


def _sub(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    source = _negated(operands[1])
    return graph.emit("Add", [operands[0], source]) if source is not None else None


def _neg(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    for value, factor in _factors(operands[0]):
        return graph.emit("Mul", [value, graph.constant(-factor)])
    return None


def _mul(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    left, right = operands
    if left is None or right is None:
        return None
    negatives = _negated(left), _negated(right)
    if negatives[0] is not None and negatives[1] is not None:
        return graph.emit("Mul", list(negatives))
    for value, other in ((left, right), (right, left)):
        factor = _number(other)
        if factor is None or value.const is not None:
            continue
        source = _negated(value)
        if source is not None:
            return graph.emit("Mul", [source, graph.constant(-factor)])
        for inner, first in _factors(value):
            joined = np.multiply(first, factor) if _exact(first) or _exact(factor) else None
            if joined is not None and joined.size <= LARGEST_CONSTANT and np.isfinite(joined).all():
                return graph.emit("Mul", [inner, graph.constant(joined.astype(first.dtype))])
    return None


def _factors(value: Value | None) -> list[tuple[Value, np.ndarray[Any, Any]]]:
    """``(x, c)`` where ``value`` is ``x * c`` with a small constant."""
    pair = _operands_of(value, "Mul") or [None, None]
    return [
        (x, c) for x, c in ((pair[0], _number(pair[1])), (pair[1], _number(pair[0]))) if x is not None and c is not None
    ]


def _div(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    value, divisor = operands[0], _number(operands[1])
    if divisor is None:
        return None
    if _exact(divisor):
        return graph.emit("Mul", [value, graph.constant((1 / divisor).astype(divisor.dtype))])
    source = _negated(value)
    return graph.emit("Div", [source, graph.constant(-divisor)]) if source is not None else None


def _conv(op_type: str, channel_axis: int) -> Callable[[Region, Operands, Attributes], Value | None]:
    """``conv(x * c, w)``, ``c`` per channel, is ``conv(x, w * c)``: a product that is made once, with the session."""

    def rule(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
        kernel, groups = operands[1], attributes.get("group", 1)
        if kernel is None or not _constant(kernel) or not all(isinstance(size, int) for size in kernel.dims):
            return None
        shape: list[int] = [1] * kernel.rank
        if channel_axis == 0:
            shape[0] = -1
        elif groups == 1 or kernel.dims[0] == groups:
            shape[:2] = [groups, -1]
        else:
            return None
        for value, factor in _factors(operands[0]):
            if value.rank == kernel.rank and _is_per_channel(factor, kernel.rank):
                scaled = graph.emit("Mul", [kernel, graph.constant(factor.reshape(shape))])
                return graph.emit(op_type, [value, scaled, *operands[2:]], attributes)
        return None

    return rule


def _is_per_channel(factor: np.ndarray[Any, Any], rank: int) -> bool:
    sizes = (1,) * (rank - factor.ndim) + factor.shape
    return len(sizes) == rank and factor.size == sizes[1] > 1


def _constant(value: Value | None) -> bool:
    """Whether ``value`` is a constant, or a rearranged one."""
    if value is None or value.const is not None:
        return True
    node = value.node
    return (
        node is not None and (node.op_type == "Mul" or node.op_type in REARRANGING) and all(map(_constant, node.inputs))
    )


_RULES: dict[str, Callable[[Region, Operands, Attributes], Value | None]] = {
    "Add": _add,
    "Sub": _sub,
    "Neg": _neg,
    "Mul": _mul,
    "Div": _div,
    "Conv": _conv("Conv", 1),
    "ConvTranspose": _conv("ConvTranspose", 0),
}
