"""Nodes of loops and branches with the graphs inside of them, moved or copied to another graph."""

from __future__ import annotations

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value


def moved(node: Node, graph: Graph) -> None:
    """Takes the bodies of ``node`` along to ``graph``, deeper inside."""
    for body in node.bodies():
        assert isinstance(body, Graph)
        body.parent, body.depth = graph, graph.depth + 1
        for inner in body.nodes:
            moved(inner, body)


def copy_into(graph: Graph, source: Graph, copies: dict[int, Value] | None = None) -> None:
    """Gives ``graph``, which is empty, the inputs, nodes and outputs of ``source``; both read the same values outside.

    ``copies``: by the id of a value of the graphs around ``source`` that are being copied, its copy.
    """
    copies = {} if copies is None else copies
    graph.inputs = [(name, _copied(value, graph, copies)) for name, value in source.inputs]
    for node in source.nodes:
        place_copy(graph, node, copies)
    graph.outputs = [(name, copies.get(id(value), value)) for name, value in source.outputs]


def place_copy(graph: Graph, node: Node, copies: dict[int, Value]) -> Node:
    """A copy of ``node`` with its bodies as the last node of ``graph``; ``copies`` as for :func:`copy_into`."""
    inputs = [None if value is None else copies.get(id(value), value) for value in node.inputs]
    attributes = dict(node.attributes)
    for key, body in attributes.items():
        if isinstance(body, Graph):
            attributes[key] = Graph(graph, body.hoists)
            copy_into(attributes[key], body, copies)
    results = [_copied(value, graph, copies) for value in node.outputs]
    made = graph.place(node.op_type, inputs, attributes, results)
    made.origin = node.origin
    return made


def _copied(value: Value, graph: Graph, copies: dict[int, Value]) -> Value:
    copy = Value(graph, value.dtype, value.shape)
    copy.fill = value.fill
    copies[id(value)] = copy
    return copy
