"""How large values and constants can be, and which constant matrix a product multiplies by."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.operators import BOUNDED_BY_ONE, LARGEST_CONSTANT, LARGEST_SCALE, REARRANGING
from pullback_export.graph.values import Array, Node, Value


def is_moderate(factor: Array) -> bool:
    """Whether a constant factor is small in number and of a size that any place of a product can bear."""
    if not 0 < factor.size <= LARGEST_CONSTANT:
        return False
    size = np.abs(factor)
    return bool((size > 1 / LARGEST_SCALE).all() and size.max() < LARGEST_SCALE)


def weights_of(node: Node | None) -> Value | None:
    """The constant matrix on the right of a product."""
    if node is None or node.op_type not in ("MatMul", "Gemm") or node.attributes.get("transA", 0):
        return None
    weights = node.inputs[1]
    if weights is None or weights.dtype.kind != "f" or weights.shape is None or weights.rank != 2:
        return None
    return weights if largest(weights) is not None else None


def largest(value: Value | None) -> float | None:
    """The largest size of a constant that may have been rearranged or scaled; None for anything else."""
    if value is None:
        return None
    if value.const is not None:
        return _largest(value.const) if value.const.size else None
    node = value.node
    if node is None or node.op_type not in ("Mul", "Reshape", "Transpose"):
        return None
    sizes = [largest(item) for item in (node.inputs if node.op_type == "Mul" else node.inputs[:1])]
    return None if None in sizes else float(np.prod([size for size in sizes if size is not None]))


def is_transposed(node: Node) -> bool:
    """Whether the weights of a product are used transposed."""
    return bool(node.attributes.get("transB", 0))


def inner_axis(node: Node) -> int:
    """The axis of the weights that is summed over."""
    return 1 if is_transposed(node) else 0


def is_safe(factors: list[Value]) -> bool:
    """Whether any order of the product is as good: all factors but one are known to be bounded.

    Then no intermediate result is larger than the one unbounded factor times a constant. What underflows is below
    the rounding errors that bounded factors such as ``1 - tanh(x)**2`` have anyway.
    """
    return sum(bound(value) > LARGEST_SCALE for value in factors) <= 1


def bound(value: Value | None, depth: int = 12) -> float:
    """A number that the size of no element exceeds; infinity where none is known."""
    if value is None or depth == 0:
        return np.inf
    if value.const is not None:
        return _largest(value.const) if value.const.size else 0.0
    node = value.node
    if node is None:
        return np.inf
    if node.op_type in BOUNDED_BY_ONE or (node.op_type == "Cast" and _is_flag(node.inputs[0])):
        return 1.0
    if node.op_type == "Exp" and _is_minus_square(node.inputs[0]):
        return 1.0
    if node.op_type in REARRANGING or node.op_type == "Neg":
        return bound(node.inputs[0], depth - 1)
    bounds = [bound(item, depth - 1) for item in node.inputs] if node.op_type in ("Add", "Sub", "Mul") else []
    if not bounds:
        return np.inf
    if node.op_type == "Mul" and 0.0 in bounds:
        return 0.0  # of finite factors, however large; of others the product is no number
    return float(np.prod(bounds) if node.op_type == "Mul" else np.sum(bounds))


def _largest(array: Array) -> float:
    """The largest size of an element of real numbers, without a copy of the array; NaN where one is."""
    return max(float(array.max()), -float(array.min()))


def _is_minus_square(value: Value | None) -> bool:
    square = (
        value.node.inputs[0] if value is not None and value.node is not None and value.node.op_type == "Neg" else None
    )
    product = square.node if square is not None else None
    return product is not None and product.op_type == "Mul" and product.inputs[0] is product.inputs[1]


def _is_flag(value: Value | None) -> bool:
    return value is not None and value.dtype == bool
