"""What a node of the file is there for: its ``doc_string``, which viewers such as Netron show. Nothing reads it."""

from __future__ import annotations

from collections.abc import Mapping

from pullback.manifest import METADATA_FUNCTION, function_from_json

from pullback_export.graph.values import Node, Region, Value

LONGEST = 120  # characters of an origin; of a longer one the end, which names the layer, is kept


class Notes:
    """``functional/hidden: value`` for each node of ``graph``: where it comes from, and what needs it.

    *value*: an output of the model cannot do without it. *derivative*: derivatives alone need it. The file's metadata
    tell which outputs are which; without them that part is omitted.
    """

    def __init__(self, graph: Region, metadata: Mapping[str, str]) -> None:
        self._knows = METADATA_FUNCTION in metadata
        derivatives: set[str] = set()
        if self._knows:
            derivatives = {item.name for item in function_from_json(metadata[METADATA_FUNCTION]).derivatives}
        self._of_values = _needed([value for name, value in graph.outputs if name not in derivatives])

    def of(self, node: Node, around: Node | None) -> str:
        """The note of a node; ``around`` is the outermost loop or branch that it stands in."""
        role = ""
        if self._knows:
            role = "value" if (around or node) in self._of_values else "derivative"
        return ": ".join(filter(None, (node.origin[-LONGEST:], role)))


def _needed(values: list[Value]) -> set[Node]:
    found: set[Node] = set()
    open_values = values
    while open_values:
        node = open_values.pop().node
        if node is not None and node not in found:
            found.add(node)
            open_values += node.reads()
    return found
