"""Sums of products with a common factor: it is multiplied once, after the sum.

The derivative of gelu by its input is ``g * a + g * b`` and that of swish ``g * s * (1 + x * t)``, as TensorFlow writes
them. ``g * (a + b)`` is one product less, and where ``g`` has an axis of seeds, all that is inside of the brackets is
computed once for all of them. Results may change in the last place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from pullback_export.graph.bounds import bound, is_moderate, is_safe
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.final.products import factors_of
from pullback_export.optimize.rewrite import only_reader, other_operand


def factor_taken_out(graph: Region, node: Node) -> Value | None:
    """``c * g * a + d * g * b`` with numbers ``c`` and ``d`` as ``g * (c * (a + d / c * b))``.

    Only where ``a`` and ``b`` have no more than one unbounded factor each: their products do not overflow where those
    with ``g`` did not.
    """
    if node.op_type != "Add" or node.outputs[0].dtype.kind != "f":
        return None
    terms = [_factors(value, node) for value in node.inputs]
    common = next((item for item in terms[0] if item.const is None and any(item is other for other in terms[1])), None)
    if common is None:
        return None
    rest = [_without(term, common) for term in terms]
    numbers = [[item for item in term if _is_number(item)] for term in rest]
    others = [[item for item in term if not _is_number(item)] for term in rest]
    if not all(term and is_safe(term) for term in others):
        return None
    scales = [float(np.prod([item.const.item() for item in found if item.const is not None])) for found in numbers]
    products = [functools.reduce(Value.__mul__, term) for term in others]
    total = products[0] + _scaled(products[1], scales[1] / scales[0])
    if total.shape is None or node.outputs[0].shape is None:
        return None
    return common * _scaled(total, scales[0])


def _scaled(value: Value, number: float) -> Value:
    return value if number == 1 else value * number


def _is_number(value: Value) -> bool:
    return value.const is not None and value.const.size == 1 and value.rank == 0 and is_moderate(value.const)


def _without(values: Sequence[Value], one: Value) -> list[Value]:
    index = next(index for index, value in enumerate(values) if value is one)
    return [*values[:index], *values[index + 1 :]]


def _factors(value: Value | None, node: Node) -> list[Value]:
    """The factors of a term that only ``node`` reads."""
    product = value.node if value is not None else None
    if value is None or product is None or product.op_type != "Mul" or only_reader(value) is not node:
        return []
    return factors_of(product)


def from_known_product(graph: Region, node: Node) -> Value | None:
    """``s * (1 + x * t)`` as ``s + y * t`` where ``y = s * x`` is known anyway, and ``s`` is bounded."""
    if node.op_type != "Mul":
        return None
    for s, brackets in other_operand(node):
        if s is None or bound(s) > 1 or brackets is None or only_reader(brackets) is not node:
            continue
        product = _one_and(brackets)
        if product is None or only_reader(product.outputs[0]) is not brackets.node:
            continue
        for x, t in other_operand(product):
            y = _known_product(graph, s, x)
            if y is not None and t is not None and y.shape == node.outputs[0].shape:
                return s + y * t
    return None


def _one_and(value: Value) -> Node | None:
    """The product ``p`` where ``value`` is ``1 + p``."""
    node = value.node
    if node is None or node.op_type != "Add":
        return None
    for one, product in other_operand(node):
        if one is None or one.const is None or one.const.size != 1 or one.const.item() != 1 or product is None:
            continue
        if product.node is not None and product.node.op_type == "Mul":
            return product.node
    return None


def _known_product(graph: Region, left: Value, right: Value | None) -> Value | None:
    """``left * right`` where a node of ``graph`` that stands before has it."""
    if right is None:
        return None
    operands = {id(left), id(right)}
    products = {node for node in left.uses() if isinstance(node, Node) and node.op_type == "Mul"}
    found = {node for node in products if {id(value) for value in node.inputs} == operands}
    return next((node.outputs[0] for node in graph.nodes if node in found), None) if found else None
