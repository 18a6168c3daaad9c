"""Rewrites of the finished graph: only there it is known who reads a value, so that nothing is computed twice.

A rule gets one node, of the model or of a loop or branch in it, and returns a value that takes the place of its only
result, or None. Nodes without readers are dropped when the model is written.
"""

from __future__ import annotations

from pullback_export.graph.graph import Graph
from pullback_export.graph.uses import Reader
from pullback_export.graph.values import Node, Region
from pullback_export.optimize.rewrite import Final


def rewrite(root: Graph, rule: Final) -> None:
    """Applies ``rule`` to every live node of ``root`` and of the bodies inside of it, in order."""
    _Replay(rule).graph(root)


class _Replay:
    """The nodes once more, with what the rule puts in the place of some."""

    def __init__(self, rule: Final) -> None:
        self.rule = rule
        self.redirected: set[Reader] = set()

    def graph(self, graph: Region) -> None:
        """A body is done before the node that it belongs to is back: what leaves it stands before that node."""
        for node in graph.take_nodes():
            if node.live:
                self._node(graph, node)

    def _node(self, graph: Region, node: Node) -> None:
        for body in node.bodies():
            self.graph(body)
        graph.root.origin = node.origin
        value = self.rule(graph, node) if len(node.outputs) == 1 else None
        if value is None and node in self.redirected and node.op_type == "Reshape":  # of a reshaped value: one suffices
            value = graph.emit("Reshape", node.inputs, node.attributes)
        graph.root.origin = ""
        if value is None:
            graph.put_back(node)
            return
        before = node.outputs[0]
        value.refine(before.shape)
        self.redirected.update(before.uses())
        before.replace_uses(value)
