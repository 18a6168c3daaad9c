"""Rewrites of the finished graph: only there it is known who reads a value, so that nothing is computed twice.

A rule gets one node, of the model or of a loop or branch in it, and returns a value that takes the place of its only
result, or None. Nodes that nobody reads any more are dropped when the model is written.
"""

from __future__ import annotations

from pullback_export.graph.graph import Graph
from pullback_export.graph.readers import Readers
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.rewrite import Final


def rewrite(root: Graph, rule: Final) -> None:
    """Applies ``rule`` to every live node of ``root`` and of the bodies inside of it, in order."""
    _Replay(root, rule).graph(root)


class _Replay:
    """The nodes once more, with what the rule puts in the place of some."""

    def __init__(self, root: Graph, rule: Final) -> None:
        self.rule = rule
        self.readers = Readers(root)
        self.replaced: dict[int, tuple[Value, Value]] = {}

    def graph(self, graph: Region) -> None:
        """A body is done before the node that it belongs to is back: what leaves it stands before that node."""
        for node in graph.take_nodes():
            if id(node) in self.readers.live:
                self._node(graph, node)
        graph.outputs = [(name, self._now(value) or value) for name, value in graph.outputs]

    def _node(self, graph: Region, node: Node) -> None:
        inputs = [self._now(value) for value in node.inputs]
        redirected = any(old is not new for old, new in zip(node.inputs, inputs, strict=True))
        node.inputs = inputs
        for body in node.bodies():
            self.graph(body)
        value = self.rule(graph, node, self.readers) if len(node.outputs) == 1 else None
        if value is None and redirected and node.op_type == "Reshape":  # of a reshaped value: one of them suffices
            value = graph.emit("Reshape", node.inputs, node.attributes)
        if value is None:
            graph.nodes.append(node)
            return
        before = node.outputs[0]
        value.refine(before.shape)
        self.replaced[id(before)] = before, value
        self.readers.move(before, value)

    def _now(self, value: Value | None) -> Value | None:
        return self.replaced[id(value)][1] if id(value) in self.replaced else value
