"""Products of a finished graph in the order that costs least, with constant factors inside the weights next to them.

ONNX Runtime computes every elementwise product on its own, and each is a pass over memory. ``(x * c) @ w`` is
``x @ (c[:, None] * w)`` and ``(x @ w) * c`` is ``x @ (w * c)``: products of constants are made once, when the session
opens. Of ``a * b * c`` the smaller factors come first: what all seeds of a Jacobian share is not repeated for each.
Results may change in the last place; nothing overflows that did not before, see :func:`is_safe`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback_export.graph.bounds import (
    inner_axis,
    is_moderate,
    is_safe,
    is_transposed,
    largest,
    weights_of,
)
from pullback_export.graph.dims import Dim, Shape
from pullback_export.graph.operators import LARGEST_CONSTANT, LARGEST_SCALE
from pullback_export.graph.size_arithmetic import broadcast
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import only_reader

Array = np.ndarray[Any, Any]
# A scaled copy of weights takes memory in the session; beyond this size, the product is small beside the matrix.
_LARGEST_WEIGHTS = 2**18
# Rows of a batch, where sizes are compared before they are known.
_NOMINAL = 1000


def into_weights(graph: Region, node: Node) -> Value | None:
    """``(x * c) @ w``, with ``c`` for each column, as ``x @ (c * w)``; also where a reshape to rows comes between."""
    weights, columns = weights_of(node), node.inputs[0]
    if weights is None or columns is None:
        return None
    rows = columns.node if columns.node is not None and columns.node.op_type == "Reshape" else None
    if rows is not None and only_reader(columns) is node and rows.inputs[0] is not None:
        columns = rows.inputs[0]
    else:
        rows = None
    for x, factor in _scaled(columns):
        size = weights.dims[inner_axis(node)]
        if factor.shape[-1:] != (size,) or columns.dims[-1] != size or _too_large(weights, factor):
            continue
        if factor.size == size and x.dims == columns.dims:
            column = factor.reshape(-1) if is_transposed(node) else factor.reshape(-1, 1)
            left = x if rows is None else graph.emit("Reshape", [x, *rows.inputs[1:]], rows.attributes)
            return graph.emit(node.op_type, [left, _product(graph, weights, column), *node.inputs[2:]], node.attributes)
        if rows is not None and len(node.inputs) == 2 and factor.ndim == 3 and factor.shape[1] == 1 and x.rank == 2:
            return _by_seed(graph, node, x, factor, weights)
    return None


def _by_seed(graph: Region, node: Node, x: Value, factor: Array, weights: Value) -> Value | None:
    """``(x * c[s]) @ w`` of every seed ``s``: a matrix for each seed instead of a scaled ``x`` for each."""
    matrix = graph.emit_unfolded("Transpose", [weights], perm=[1, 0]) if is_transposed(node) else weights
    scaled = weights_for_seeds(graph, matrix, factor)
    if scaled is None or node.attributes.get("alpha", 1) != 1:
        return None
    whole = graph.emit("MatMul", [x, scaled])
    return graph.emit("Reshape", [whole, graph.constant(np.array([-1, matrix.dims[1]], np.int64))])


def weights_for_seeds(graph: Region, weights: Value, factor: Array) -> Value | None:
    """``c[s, 0, :, None] * w`` for ``c`` of shape (seeds, 1, rows of ``w``); None where that would be too large."""
    if factor.shape[0] * _elements(weights.dims) > _LARGEST_WEIGHTS or _too_large(weights, factor):
        return None
    return _product(graph, weights, factor.transpose(0, 2, 1))


def in_order(graph: Region, node: Node) -> Value | None:
    """A product of several factors: constants go into weights, the rest is multiplied in the cheapest order."""
    if node.op_type != "Mul" or node.outputs[0].dtype.kind != "f" or _is_inner(node):
        return None
    factors = factors_of(node)
    now = _with_one_constant(graph, _absorbed(graph, factors))
    merged = [value for value in now if value is not None]
    if any(value.shape is None for value in merged):
        return None
    if is_safe(merged):
        pairs, cost = _cheapest(merged)
        return _multiplied(graph, merged, pairs) if cost < _cost(node) else None
    if len(merged) == len(factors):
        return None
    return _in_given_order(graph, node, iter(now))


def _multiplied(graph: Region, factors: list[Value], pairs: list[tuple[int, int]]) -> Value:
    values = list(factors)
    for left, right in pairs:
        values[left] = graph.emit("Mul", [values[left], values.pop(right)])
    return values[0]


def _in_given_order(graph: Region, node: Node, now: Iterator[Value | None]) -> Value | None:
    """The tree of products as it is, with the next of ``now`` for each of its factors; None is omitted."""
    parts = []
    for value in node.inputs:
        inner = _inner(value, node)
        parts.append(next(now) if inner is None else _in_given_order(graph, inner, now))
    left = [part for part in parts if part is not None]
    return graph.emit("Mul", left) if len(left) == 2 else left[0] if left else None


def _is_inner(node: Node) -> bool:
    reader = only_reader(node.outputs[0])
    return reader is not None and reader.op_type == "Mul"


def _inner(value: Value | None, node: Node) -> Node | None:
    """The product that ``value`` is and that only ``node`` reads."""
    product = value.node if value is not None else None
    return product if product is not None and product.op_type == "Mul" and only_reader(value) is node else None


def factors_of(node: Node) -> list[Value]:
    """The factors of a tree of products whose inner results have no other reader."""
    found: list[Value] = []
    for value in node.inputs:
        inner = _inner(value, node)
        if inner is not None:
            found += factors_of(inner)
        elif value is not None:
            found.append(value)
    return found


def _absorbed(graph: Region, factors: list[Value]) -> list[Value | None]:
    """The factors, with None for those constants that went into the weights of a matrix product."""
    values: list[Value | None] = list(factors)
    alone = [only_reader(value) is not None for value in factors]
    for position, constant in enumerate(factors):
        if constant.const is None:
            continue
        for index, value in enumerate(values):
            scaled = _scaled_product(graph, value, constant.const) if value is not None and alone[index] else None
            if scaled is not None:
                values[index], values[position] = scaled, None
                break
    return values


def _with_one_constant(graph: Region, factors: list[Value | None]) -> list[Value | None]:
    """The product of small constants in the place of the first, None in that of the others."""
    found = [
        (index, value.const)
        for index, value in enumerate(factors)
        if value is not None and value.const is not None and is_moderate(value.const)
    ]
    if len(found) < 2:
        return factors
    joined = functools.reduce(np.multiply, [const for _, const in found])
    if joined.size > LARGEST_CONSTANT:
        return factors
    values = [None if index in dict(found) else value for index, value in enumerate(factors)]
    values[found[0][0]] = graph.constant(joined, found[0][1].dtype)
    return values


def _scaled_product(graph: Region, value: Value, factor: Array) -> Value | None:
    """``(x @ w) * c`` with ``c`` in the weights, of a ``value`` that nothing else reads; also of reshaped rows."""
    product = value.node
    if product is not None and product.op_type == "Reshape":
        return _scaled_rows(graph, product, factor)
    weights = weights_of(product)
    if product is None or weights is None or len(product.inputs) > 2 or _too_large(weights, factor):
        return None
    size = weights.dims[1 - inner_axis(product)]
    if factor.size not in (1, size) or factor.shape[-1:] not in ((), (1,), (size,)) or factor.ndim > value.rank:
        return None
    column = factor.reshape(-1, 1) if is_transposed(product) else factor.reshape(-1)
    return graph.emit(product.op_type, [product.inputs[0], _product(graph, weights, column)], product.attributes)


def _scaled_rows(graph: Region, reshape: Node, factor: Array) -> Value | None:
    """The same where the rows of the product are put into order before they are scaled."""
    rows, ordered = reshape.inputs[0], reshape.outputs[0]
    if rows is None or only_reader(rows) is not reshape or (factor.size,) != factor.shape[-1:]:
        return None
    if rows.shape is None or rows.dims[-1:] != ordered.dims[-1:]:
        return None
    scaled = _scaled_product(graph, rows, factor.reshape(-1))
    return graph.emit("Reshape", [scaled, *reshape.inputs[1:]], reshape.attributes) if scaled is not None else None


def _scaled(value: Value) -> list[tuple[Value, Array]]:
    """``(x, c)`` where ``value`` is ``x * c`` and only read once."""
    node = value.node
    if node is None or node.op_type != "Mul" or only_reader(value) is None:
        return []
    left, right = node.inputs
    pairs = ((left, right), (right, left))
    return [
        (x, c.const) for x, c in pairs if x is not None and x.const is None and c is not None and c.const is not None
    ]


def _too_large(weights: Value, factor: Array) -> bool:
    if not factor.size or not all(isinstance(size, int) and size for size in weights.dims):
        return True
    sizes = [largest(weights) or 0.0, float(np.abs(factor).max())]
    if not all(1 / LARGEST_SCALE < size < LARGEST_SCALE for size in sizes):
        return True
    return _elements(weights.dims) > _LARGEST_WEIGHTS


def _product(graph: Region, weights: Value, factor: Array) -> Value:
    """``weights * factor``, made when the session opens: the file would hold the weights twice."""
    return graph.emit_unfolded("Mul", [weights, graph.constant(factor, weights.dtype)])


def _cheapest(factors: list[Value]) -> tuple[list[tuple[int, int]], int]:
    """Which pairs to multiply, smallest result first, and how many elements that computes."""
    shapes = [value.dims for value in factors]
    pairs, total = [], 0
    while len(shapes) > 1:
        choices = [(i, j) for j in range(len(shapes)) for i in range(j)]
        best = min(choices, key=lambda pair: _elements(broadcast(shapes[pair[0]], shapes[pair[1]])))
        shapes[best[0]] = broadcast(shapes[best[0]], shapes.pop(best[1]))
        total += _elements(shapes[best[0]])
        pairs.append(best)
    return pairs, total


def _cost(node: Node) -> int:
    """How many elements the tree of products computes as it stands."""
    inner = [product for value in node.inputs if (product := _inner(value, node)) is not None]
    return _elements(node.outputs[0].dims) + sum(_cost(product) for product in inner)


def _elements(shape: Shape) -> int:
    return int(np.prod([_nominal(size) for size in shape], dtype=float))


def _nominal(size: int | Dim) -> int:
    if isinstance(size, int):
        return size
    return max(1, int(sum(factor * _NOMINAL ** len(names) for names, factor in size.terms)))
