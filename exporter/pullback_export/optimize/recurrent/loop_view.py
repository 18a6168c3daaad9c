"""A loop as the rewrites of recurrent layers see it: a ``Scan``, or an ``If`` around one that no rows would fail."""

from __future__ import annotations

import dataclasses

from pullback_export.graph.values import Node, Region, Value


@dataclasses.dataclass(frozen=True)
class LoopView:
    """``holder`` gives the results of ``scan`` in the graph around it, and may be the ``scan`` itself."""

    graph: Region
    holder: Node
    scan: Node

    @property
    def body(self) -> Region:
        body: Region = self.scan.attributes["body"]
        return body

    @property
    def states(self) -> int:
        return len(self.body.inputs) - int(self.scan.attributes["num_scan_inputs"])

    @property
    def initial(self) -> list[Value]:
        return [value for value in self.scan.inputs[: self.states] if value is not None]

    @property
    def rows(self) -> list[Value]:
        """The tensors whose rows the steps read."""
        return [value for value in self.scan.inputs[self.states :] if value is not None]

    @property
    def series(self) -> dict[int, Value]:
        """By the id of a row of the body, the tensor that it is a row of."""
        arguments = [value for _, value in self.body.inputs[self.states :]]
        return {id(argument): rows for argument, rows in zip(arguments, self.rows, strict=True)}

    @property
    def directions(self) -> list[int]:
        """Of the rows that are read: 1 where the last one comes first."""
        return list(self.scan.attributes.get("scan_input_directions", [0] * len(self.rows)))

    @property
    def output_directions(self) -> list[int]:
        """Of the rows that are collected."""
        count = len(self.scan.outputs) - self.states
        return list(self.scan.attributes.get("scan_output_directions", [0] * count))


def loop_of(graph: Region, node: Node) -> LoopView | None:
    """``node`` of ``graph`` as a loop, if it is one."""
    if node.op_type == "Scan":
        return LoopView(graph, node, node)
    if node.op_type != "If":
        return None
    branch: Region = node.attributes["then_branch"]
    scan = branch.nodes[-1] if branch.nodes else None
    if scan is None or scan.op_type != "Scan" or len(branch.nodes) > 1 or len(scan.outputs) != len(node.outputs):
        return None
    given = [value for _, value in branch.outputs]
    return LoopView(graph, node, scan) if all(a is b for a, b in zip(given, scan.outputs, strict=True)) else None
