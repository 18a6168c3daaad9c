"""Products of a finished graph in the order that costs least, with constant factors inside the weights next to them.

ONNX Runtime computes every elementwise product on its own, and each is a walk through memory. ``(x * c) @ w`` is
``x @ (c[:, None] * w)`` and ``(x @ w) * c`` is ``x @ (w * c)``: products of constants are made once, when the session
opens. Of ``a * b * c`` the smaller factors come first: what all seeds of a Jacobian share is not repeated for each.
Results may change in the last place; nothing overflows that did not before, see :func:`is_safe`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback_export.graph.dims import Dim, Shape, broadcast
from pullback_export.graph.graph import Graph, Node, Value
from pullback_export.optimize.final.engine import Readers

Array = np.ndarray[Any, Any]
# A scaled copy of weights takes memory in the session; beyond this size, the product is small beside the matrix.
_LARGEST_WEIGHTS = 2**18
_LARGEST_FACTOR = 4096
# Rows of a batch, where sizes are compared before they are known.
_NOMINAL = 1000
# Constants beyond these could overflow or underflow in another place of a product.
_LARGEST_SCALE = 2.0**20
_BOUNDED_BY_ONE = {"Cos", "Erf", "HardSigmoid", "Sigmoid", "Sign", "Sin", "Softmax", "Softsign", "Tanh"}
_REARRANGING = {"Expand", "Gather", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"}


def into_weights(graph: Graph, node: Node, readers: Readers) -> Value | None:
    """``(x * c) @ w``, with ``c`` for each column, as ``x @ (c * w)``; also where a reshape to rows comes between."""
    weights, columns = weights_of(node), node.inputs[0]
    if weights is None or columns is None:
        return None
    rows = columns.node if columns.node is not None and columns.node.op_type == "Reshape" else None
    if rows is not None and readers.only(columns) is node and rows.inputs[0] is not None:
        columns = rows.inputs[0]
    else:
        rows = None
    for x, factor in _scaled(columns, readers):
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


def _by_seed(graph: Graph, node: Node, x: Value, factor: Array, weights: Value) -> Value | None:
    """``(x * c[s]) @ w`` of every seed ``s``: a matrix for each seed instead of a scaled ``x`` for each."""
    matrix = graph.emit_unfolded("Transpose", [weights], perm=[1, 0]) if is_transposed(node) else weights
    scaled = weights_for_seeds(graph, matrix, factor)
    if scaled is None or node.attributes.get("alpha", 1) != 1:
        return None
    whole = graph.emit("MatMul", [x, scaled])
    return graph.emit("Reshape", [whole, graph.constant(np.array([-1, matrix.dims[1]], np.int64))])


def weights_for_seeds(graph: Graph, weights: Value, factor: Array) -> Value | None:
    """``c[s, 0, :, None] * w`` for ``c`` of shape (seeds, 1, rows of ``w``); None where that would be too large."""
    if factor.shape[0] * _elements(weights.dims) > _LARGEST_WEIGHTS or _too_large(weights, factor):
        return None
    return _product(graph, weights, factor.transpose(0, 2, 1))


def in_order(graph: Graph, node: Node, readers: Readers) -> Value | None:
    """A product of several factors: constants go into weights, the rest is multiplied in the cheapest order."""
    if node.op_type != "Mul" or node.outputs[0].dtype.kind != "f" or _is_inner(node, readers):
        return None
    factors = factors_of(node, readers)
    now = _with_one_constant(graph, _absorbed(graph, factors, readers))
    merged = [value for value in now if value is not None]
    if any(value.shape is None for value in merged):
        return None
    if is_safe(merged):
        pairs, cost = _cheapest(merged)
        return _multiplied(graph, merged, pairs) if cost < _cost(node, readers) else None
    if len(merged) == len(factors):
        return None
    return _in_given_order(graph, node, readers, iter(now))


def _multiplied(graph: Graph, factors: list[Value], pairs: list[tuple[int, int]]) -> Value:
    values = list(factors)
    for left, right in pairs:
        values[left] = graph.emit("Mul", [values[left], values.pop(right)])
    return values[0]


def _in_given_order(graph: Graph, node: Node, readers: Readers, now: Iterator[Value | None]) -> Value | None:
    """The tree of products as it is, with the next of ``now`` for each of its factors; None is left out."""
    parts = []
    for value in node.inputs:
        inner = _inner(value, node, readers)
        parts.append(next(now) if inner is None else _in_given_order(graph, inner, readers, now))
    left = [part for part in parts if part is not None]
    return graph.emit("Mul", left) if len(left) == 2 else left[0] if left else None


def _is_inner(node: Node, readers: Readers) -> bool:
    reader = readers.only(node.outputs[0])
    return reader is not None and reader.op_type == "Mul"


def _inner(value: Value | None, node: Node, readers: Readers) -> Node | None:
    """The product that ``value`` is and that only ``node`` reads."""
    product = value.node if value is not None else None
    return product if product is not None and product.op_type == "Mul" and readers.only(value) is node else None


def factors_of(node: Node, readers: Readers) -> list[Value]:
    """The factors of a tree of products whose inner results nobody else reads."""
    found: list[Value] = []
    for value in node.inputs:
        inner = _inner(value, node, readers)
        if inner is not None:
            found += factors_of(inner, readers)
        elif value is not None:
            found.append(value)
    return found


def _absorbed(graph: Graph, factors: list[Value], readers: Readers) -> list[Value | None]:
    """The factors, with None for those constants that went into the weights of a matrix product."""
    values: list[Value | None] = list(factors)
    for position, constant in enumerate(factors):
        if constant.const is None:
            continue
        for index, value in enumerate(values):
            scaled = _scaled_product(graph, value, constant.const, readers) if value is not None else None
            if scaled is not None and value is not None:
                values[index], values[position] = scaled, None
                readers.move(value, scaled)
                break
    return values


def _with_one_constant(graph: Graph, factors: list[Value | None]) -> list[Value | None]:
    """The product of small constants in the place of the first, None in that of the others."""
    found = [
        (index, value.const)
        for index, value in enumerate(factors)
        if value is not None and value.const is not None and is_moderate(value.const)
    ]
    if len(found) < 2:
        return factors
    joined = functools.reduce(np.multiply, [const for _, const in found])
    if joined.size > _LARGEST_FACTOR:
        return factors
    values = [None if index in dict(found) else value for index, value in enumerate(factors)]
    values[found[0][0]] = graph.constant(joined, found[0][1].dtype)
    return values


def is_moderate(factor: Array) -> bool:
    size = np.abs(factor)
    return 0 < factor.size <= _LARGEST_FACTOR and bool(
        (size > 1 / _LARGEST_SCALE).all() and size.max() < _LARGEST_SCALE
    )


def _scaled_product(graph: Graph, value: Value, factor: Array, readers: Readers) -> Value | None:
    """``(x @ w) * c`` with ``c`` in the weights."""
    product = value.node
    weights = weights_of(product) if product is not None and readers.only(value) is not None else None
    if product is None or weights is None or len(product.inputs) > 2 or _too_large(weights, factor):
        return None
    size = weights.dims[1 - inner_axis(product)]
    if factor.size not in (1, size) or factor.shape[-1:] not in ((), (1,), (size,)) or factor.ndim > value.rank:
        return None
    column = factor.reshape(-1, 1) if is_transposed(product) else factor.reshape(-1)
    return graph.emit(product.op_type, [product.inputs[0], _product(graph, weights, column)], product.attributes)


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
        return float(np.abs(value.const).max()) if value.const.size else None
    node = value.node
    if node is None or node.op_type not in ("Mul", "Reshape", "Transpose"):
        return None
    sizes = [largest(item) for item in (node.inputs if node.op_type == "Mul" else node.inputs[:1])]
    return None if None in sizes else float(np.prod([size for size in sizes if size is not None]))


def is_transposed(node: Node) -> bool:
    return bool(node.attributes.get("transB", 0))


def inner_axis(node: Node) -> int:
    """The axis of the weights that is summed over."""
    return 1 if is_transposed(node) else 0


def _scaled(value: Value, readers: Readers) -> list[tuple[Value, Array]]:
    """``(x, c)`` where ``value`` is ``x * c`` and only read once."""
    node = value.node
    if node is None or node.op_type != "Mul" or readers.only(value) is None:
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
    if not all(1 / _LARGEST_SCALE < size < _LARGEST_SCALE for size in sizes):
        return True
    return _elements(weights.dims) > _LARGEST_WEIGHTS


def _product(graph: Graph, weights: Value, factor: Array) -> Value:
    """``weights * factor``, made when the session opens: the file would hold the weights twice."""
    return graph.emit_unfolded("Mul", [weights, graph.constant(factor, weights.dtype)])


def is_safe(factors: list[Value]) -> bool:
    """Whether any order of the product is as good: all factors but one are known to be bounded.

    Then no intermediate result is larger than the one unbounded factor times a constant. What underflows is below
    the rounding errors that bounded factors such as ``1 - tanh(x)**2`` have anyway.
    """
    return sum(bound(value) > _LARGEST_SCALE for value in factors) <= 1


def bound(value: Value | None, depth: int = 12) -> float:
    """A number that the size of no element exceeds; infinity where none is known."""
    if value is None or depth == 0:
        return np.inf
    if value.const is not None:
        return float(np.abs(value.const).max()) if value.const.size else 0.0
    node = value.node
    if node is None:
        return np.inf
    if node.op_type in _BOUNDED_BY_ONE or (node.op_type == "Cast" and _is_flag(node.inputs[0])):
        return 1.0
    if node.op_type == "Exp" and _is_minus_square(node.inputs[0]):
        return 1.0
    if node.op_type in _REARRANGING or node.op_type == "Neg":
        return bound(node.inputs[0], depth - 1)
    bounds = [bound(item, depth - 1) for item in node.inputs] if node.op_type in ("Add", "Sub", "Mul") else []
    if not bounds:
        return np.inf
    return float(np.prod(bounds) if node.op_type == "Mul" else np.sum(bounds))


def _is_minus_square(value: Value | None) -> bool:
    square = (
        value.node.inputs[0] if value is not None and value.node is not None and value.node.op_type == "Neg" else None
    )
    product = square.node if square is not None else None
    return product is not None and product.op_type == "Mul" and product.inputs[0] is product.inputs[1]


def _is_flag(value: Value | None) -> bool:
    return value is not None and value.dtype == bool


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


def _cost(node: Node, readers: Readers) -> int:
    """How many elements the tree of products computes as it stands."""
    inner = [product for value in node.inputs if (product := _inner(value, node, readers)) is not None]
    return _elements(node.outputs[0].dims) + sum(_cost(product, readers) for product in inner)


def _elements(shape: Shape) -> int:
    return int(np.prod([_nominal(size) for size in shape], dtype=float))


def _nominal(size: int | Dim) -> int:
    if isinstance(size, int):
        return size
    return max(1, int(sum(factor * _NOMINAL ** len(names) for names, factor in size.terms)))
