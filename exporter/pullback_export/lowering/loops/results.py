"""The results of a loop, which were promised before there was a node to make them."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value


def give(graph: Graph, node: Node, results: list[Value]) -> None:
    """Puts a node into a graph, with results that were promised before."""
    node.make(results)
    graph.nodes.append(node)


def as_given(graph: Graph, rows: Value) -> Value:
    """What a ``Loop`` gives for ``rows``: after no iteration ONNX Runtime takes free sizes of a row for 0.

    (``LoopImpl::Execute`` in ``onnxruntime/core/providers/cpu/controlflow/loop.cc``.)
    """
    steps, *sizes = rows.dims
    if all(isinstance(size, int) for size in sizes) or not all(graph.knows_size(size) for size in sizes):
        return rows
    free = [size if isinstance(size, int) else graph.fresh_size("row") for size in sizes]
    return Value(graph, rows.dtype, (steps, *free))


def of_its_sizes(graph: Graph, given: Value, rows: Value) -> None:
    """Writes ``rows`` as ``given`` with the sizes that it has after iterations.

    Each is stated: a 0 for a size that is there and one free size become ``[0, -1]`` in ONNX Runtime's
    ``ReshapeFusion``, which cannot be where there are no rows.
    """
    if given is not rows:
        graph.place("Reshape", [given, graph.sizes_value(rows.dims)], {"allowzero": 1}, [rows])


def no_rows(graph: Graph, like: Value) -> Value:
    """No rows of the shape that ``like`` has; sizes that are only known inside of the loop are 0."""
    sizes: list[Value] = [graph.constant(np.zeros(1, np.int64))]
    for size in like.dims[1:]:
        sizes.append(graph.sizes_value([size if graph.knows_size(size) else 0]))
    return graph.emit("Expand", [graph.constant(np.zeros((), like.dtype)), graph.emit("Concat", sizes, {"axis": 0})])
