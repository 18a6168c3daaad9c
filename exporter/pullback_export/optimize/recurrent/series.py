"""Tensors whose first axis is the step: shifted by a step, turned around, and the loop that sums an LSTM's cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value

_END = 2**62

# What the operators around the loops over chunks take, in small operators of a step; measured with 48 and 64 units.
_COST_OF_CHUNKS = 200


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


def rows_of_sums(graph: Graph, kept: Value, added: Value, first: Value, reverse: bool, contracts: bool) -> Value:
    """``c = kept * c + added`` for all steps, from ``c = first``: rows like those of ``kept``.

    The loop collects the products: of the sums, which are its state, a step would have to make a copy. ``contracts``:
    no number of ``kept`` is larger than 1 in size, so that products of several are finite.
    """
    steps = kept.dims[0]
    length = _length_of_chunk(steps) if isinstance(steps, int) and contracts else None
    if length is not None:
        return graph.emit("Add", [_products_in_chunks(graph, kept, added, first, reverse, length), added])
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


def _length_of_chunk(steps: int) -> int | None:
    """How many steps a chunk has, where chunks are faster: 5 operators for each of its steps and 2 for each chunk."""
    lengths = [length for length in range(2, steps // 2 + 1) if steps % length == 0]
    least = min(lengths, key=lambda length: 5 * length + 2 * (steps // length), default=1)
    return least if 5 * least + 2 * (steps // least) + _COST_OF_CHUNKS < 2 * steps and least > 1 else None


def _products_in_chunks(graph: Graph, kept: Value, added: Value, first: Value, reverse: bool, length: int) -> Value:
    """The products of ``rows_of_sums``, for all chunks of ``length`` steps at once.

    Where a chunk ends is linear in where it starts: a loop over the steps of a chunk gives factor and summand, one over
    the chunks their starts, and a third one the products: 90 small operators for 200 steps, not 400.
    """
    steps = kept.dims[0]
    assert isinstance(steps, int)
    chunked = graph.sizes_value((steps // length, length, *first.dims))
    by_step = [
        graph.emit("Transpose", [graph.emit("Reshape", [rows, chunked])], {"perm": [1, 0, 2, 3]})
        for rows in (kept, added)
    ]
    factor, summand = _whole_chunks(graph, by_step[0], by_step[1], reverse)
    ends = graph.emit("Add", [_products(graph, factor, summand, first, reverse), summand])
    products = _products(graph, by_step[0], by_step[1], before(graph, ends, first, reverse), reverse)
    in_order = graph.emit("Transpose", [products], {"perm": [1, 0, 2, 3]})
    return graph.emit("Reshape", [in_order, graph.sizes_value(kept.dims)])


def _whole_chunks(graph: Graph, kept: Value, added: Value, reverse: bool) -> tuple[Value, Value]:
    """What the steps of ``kept`` and ``added`` (length, chunks, B, H) multiply by and add together, (chunks, B, H)."""
    shape = kept.dims[1:]
    sizes = graph.sizes_value(shape)
    starts = [graph.emit("Expand", [graph.constant(number, kept.dtype), sizes]) for number in (1, 0)]
    body = Graph(graph)
    factor, total, scale, summand = (Value(body, kept.dtype, shape) for _ in range(4))
    body.inputs = [("state", factor), ("state", total), ("row", scale), ("row", summand)]
    results = [Value(body, kept.dtype, shape) for _ in range(3)]
    body.place("Mul", [factor, scale], {}, results[:1])
    body.place("Mul", [total, scale], {}, results[2:])
    body.place("Add", [results[2], summand], {}, results[1:2])
    body.outputs = [("state", value) for value in results[:2]]
    attributes = {"body": body, "num_scan_inputs": 2, "scan_input_directions": [int(reverse)] * 2}
    factors, totals = Value(graph, kept.dtype, shape), Value(graph, kept.dtype, shape)
    graph.place("Scan", [*starts, kept, added], attributes, [factors, totals])
    return factors, totals


def at_most(graph: Graph, x: Value, most: int) -> Value:
    """Whether ``x`` (T, B, I) has at most so many rows."""
    rows = graph.emit("Gather", [graph.emit("Shape", [x], {"start": 1, "end": 2}), graph.constant(0, np.int64)])
    return graph.emit("LessOrEqual", [rows, graph.constant(most, np.int64)])


def all_finite(graph: Graph, values: Sequence[Value]) -> Value:
    """Whether no number of ``values`` is infinite or none; also not where their sum is infinite."""
    total, *others = (graph.emit("ReduceSum", [value], {"keepdims": 0}) for value in values)
    for other in others:
        total = graph.emit("Add", [total, other])
    return graph.emit("Less", [graph.emit("Abs", [total]), graph.constant(np.inf, total.dtype)])
