"""Tensors whose first axis is the step: shifted by a step, turned around, and the loop that sums an LSTM's cell."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value

_END = 2**62


def before(graph: Graph, rows: Value, first: Value, reverse: bool) -> Value:
    """The state before each step, where ``rows`` (steps, B, H) has those after it and ``first`` (B, H) starts.

    ``reverse``: the last row belongs to the first step.
    """
    start = graph.emit("Unsqueeze", [first, graph.constant([0], np.int64)])
    steps = rows.dims[0]
    if isinstance(steps, int) and steps > 0:
        others = _cut(graph, rows, reverse)
        result = graph.emit("Concat", [others, start] if reverse else [start, others], {"axis": 0})
    else:  # of no rows none is left
        result = _cut(graph, graph.emit("Concat", [rows, start] if reverse else [start, rows], {"axis": 0}), reverse)
    result.refine(rows.shape)
    return result


def _cut(graph: Graph, rows: Value, first: bool) -> Value:
    """Without the first row, or without the last one."""
    bounds = ([1], [_END]) if first else ([0], [-1])
    return graph.emit("Slice", [rows, *(graph.constant(item, np.int64) for item in (*bounds, [0]))])


def turned(graph: Graph, rows: Value) -> Value:
    """The last row first."""
    bounds = ([-1], [-_END], [0], [-1])
    return graph.emit("Slice", [rows, *(graph.constant(item, np.int64) for item in bounds)])


def rows_of_sums(graph: Graph, kept: Value, added: Value, first: Value, reverse: bool) -> Value:
    """``c = kept * c + added`` for all steps, from ``c = first``: rows like those of ``kept``.

    The loop collects the products: of the sums, which are its state, a step would have to make a copy.
    """
    steps = kept.dims[0]
    if isinstance(steps, int) and steps > 0:
        return graph.emit("Add", [_products(graph, kept, added, first, reverse), added])
    some, none = Graph(graph), Graph(graph)
    products = _products(some, kept, added, first, reverse)
    some.outputs, none.outputs = [("result", products)], [("result", kept)]
    number = graph.emit("Shape", [kept], {"start": 0, "end": 1})
    condition = graph.emit("Greater", [number, graph.constant([0], np.int64)])
    condition = graph.emit("Reshape", [condition, graph.constant(np.zeros(0, np.int64))])
    whole = Value(graph, kept.dtype, kept.shape)
    graph.place("If", [condition], {"then_branch": some, "else_branch": none}, [whole])
    return graph.emit("Add", [whole, added])


def _products(graph: Graph, kept: Value, added: Value, first: Value, reverse: bool) -> Value:
    body = Graph(graph)
    state, factor, summand = (Value(body, first.dtype, first.shape) for _ in range(3))
    body.inputs = [("state", state), ("row", factor), ("row", summand)]
    product, total = Value(body, first.dtype, first.shape), Value(body, first.dtype, first.shape)
    body.place("Mul", [state, factor], {}, [product])
    body.place("Add", [product, summand], {}, [total])
    body.outputs = [("state", total), ("row", product)]
    attributes = {
        "body": body,
        "num_scan_inputs": 2,
        "scan_input_directions": [int(reverse)] * 2,
        "scan_output_directions": [int(reverse)],
    }
    final, rows = Value(graph, first.dtype, first.shape), Value(graph, kept.dtype, kept.shape)
    graph.place("Scan", [first, kept, added], attributes, [final, rows])
    return rows


def moved(node: Node, graph: Graph) -> None:
    """Takes the bodies of ``node`` along to ``graph``, deeper inside."""
    for body in node.bodies():
        assert isinstance(body, Graph)
        body.parent, body.depth = graph, graph.depth + 1
        for inner in body.nodes:
            moved(inner, body)
