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

    def add_row(self, series: Value) -> Value:
        """One more tensor whose rows the steps read, in the order of the others; the row in the body."""
        row, directions = Value(self.body, series.dtype, series.dims[1:]), self.directions
        self.body.inputs.append(("row", row))
        self.scan.inputs = [*self.scan.inputs, series]
        self.scan.attributes["scan_input_directions"] = [*directions, directions[0]]
        self.scan.attributes["num_scan_inputs"] = len(directions) + 1
        return row

    def drop_unread_rows(self) -> None:
        """Some row stays, and says how often the loop runs."""
        read = {id(value) for node in self.body.nodes for value in node.reads()}
        read |= {id(value) for _, value in self.body.outputs}
        states, scan = self.states, self.scan
        rows = list(zip(self.body.inputs[states:], self.rows, self.directions, strict=True))
        kept = [row for row in rows if id(row[0][1]) in read] or rows[:1]
        self.body.inputs = [*self.body.inputs[:states], *(argument for argument, _, _ in kept)]
        scan.inputs = [*scan.inputs[:states], *(series for _, series, _ in kept)]
        scan.attributes["scan_input_directions"] = [direction for _, _, direction in kept]
        scan.attributes["num_scan_inputs"] = len(kept)


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
