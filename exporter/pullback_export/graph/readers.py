"""Who reads which value, among the nodes that are alive."""

from __future__ import annotations

from pullback_export.graph.graph import Graph
from pullback_export.graph.pruning import prune
from pullback_export.graph.values import Node, Region, Value


class Readers:
    """Who reads what among the live nodes of a graph."""

    def __init__(self, root: Graph) -> None:
        self.live = prune(root)
        self._readers: dict[int, list[Node | None]] = {}
        self._graph(root)

    def only(self, value: Value | None) -> Node | None:
        """The node that reads ``value``, where it alone does and reads it once; results of a graph have a reader."""
        found = self._readers.get(id(value), [])
        return found[0] if len(found) == 1 else None

    def all(self, value: Value) -> list[Node | None]:
        """The nodes that read ``value``, and None for each time that it is a result."""
        return self._readers.get(id(value), [])

    def move(self, old: Value, new: Value) -> None:
        """``new`` is read by those who read ``old``."""
        self._readers[id(new)] = self._readers.get(id(old), [])

    def _graph(self, graph: Region) -> None:
        for node in graph.nodes:
            if id(node) not in self.live:
                continue
            for value in node.inputs:
                self._readers.setdefault(id(value), []).append(node)
            for body in node.bodies():
                self._graph(body)
        for _, value in graph.outputs:
            self._readers.setdefault(id(value), []).append(None)
