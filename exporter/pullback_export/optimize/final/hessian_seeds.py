"""The last step of a Hessian: seeds that only scale a term are moved out of the per-seed loop.

Where the first layer of a network is linear, a part of every row of the Hessian is ``(h * c[s]) @ w`` with the constant
``c[s]`` of seed ``s``: a product of matrices whose weights are known, instead of a product and a sum for each seed.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pullback_export.graph.bounds import inner_axis, is_transposed, weights_of
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.final.products import weights_for_seeds
from pullback_export.optimize.rewrite import only_reader, other_operand

# With more columns the product of matrices takes longer than the steps that it saves.
_MOST_COLUMNS = 16


@dataclasses.dataclass(frozen=True)
class _Sum:
    """``(c[s] * h + g) * d``: ``c`` of shape (seeds, 1, columns), ``h`` and ``d`` (None: 1) of (rows, columns)."""

    seeds: Value
    h: Value
    g: Value
    d: Value | None


def seeds_apart(graph: Region, node: Node) -> Value | None:
    """``((c[s] * h + g) * d) @ w`` as ``(h * d) @ (c[s] * w) + (g * d) @ w``."""
    weights, columns = weights_of(node), node.inputs[0]
    rows = columns.node if columns is not None else None
    if weights is None or rows is None or rows.op_type != "Reshape" or only_reader(columns) is not node:
        return None
    found = _sum(rows.inputs[0], rows) if len(node.inputs) == 2 else None
    count = weights.dims[1 - inner_axis(node)]
    if found is None or found.seeds.const is None or not isinstance(count, int) or count > _MOST_COLUMNS:
        return None
    matrix = graph.emit_unfolded("Transpose", [weights], perm=[1, 0]) if is_transposed(node) else weights
    scaled = weights_for_seeds(graph, matrix, found.seeds.const)
    if scaled is None or node.attributes.get("alpha", 1) != 1:
        return None
    h, g = (part if found.d is None else graph.emit("Mul", [part, found.d]) for part in (found.h, found.g))
    first = graph.emit("MatMul", [h, scaled])
    start = graph.emit("Reshape", [first, graph.constant(np.array([-1, count], np.int64))])
    rest = graph.emit("Reshape", [g, *rows.inputs[1:]], rows.attributes)
    return graph.emit("Gemm", [rest, weights, start], node.attributes)


def _sum(value: Value | None, reader: Node) -> _Sum | None:
    """The sum that ``value`` is, which only ``reader`` reads."""
    node = value.node if value is not None else None
    if value is None or node is None or only_reader(value) is not reader or value.shape is None:
        return None
    if node.op_type == "Add":
        return _terms(node, None)
    for inner, d in other_operand(node) if node.op_type == "Mul" else ():
        total = inner.node if inner is not None and only_reader(inner) is node else None
        if total is not None and total.op_type == "Add" and d is not None and d.shape == value.shape[1:]:
            return _terms(total, d)
    return None


def _terms(node: Node, d: Value | None) -> _Sum | None:
    for scaled, g in other_operand(node):
        product = scaled.node if scaled is not None and only_reader(scaled) is node else None
        if product is None or product.op_type != "Mul" or g is None or g.shape != node.outputs[0].shape:
            continue
        for seeds, h in other_operand(product):
            if seeds is None or h is None or seeds.const is None or h.shape is None or len(h.shape) != 2:
                continue
            if len(seeds.const.shape) == 3 and seeds.const.shape[1:] == (1, h.shape[1]):
                return _Sum(seeds, h, g, d)
    return None
