"""Drops what is not used: nodes, and states, rows and results of loops and branches.

A forward loop collects whatever its backward loop might want; what the backward loop did not want in the end is found
here, where the whole graph is known.
"""

from __future__ import annotations

import dataclasses

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value

_LOOPS = ("Loop", "Scan")


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """Which inputs and outputs of a loop belong to which input and output of its body, all by position."""

    states: int
    first_state: int
    """Position of the first state among the inputs of the node, and of the body."""
    first_result: int
    """Position of the first state among the outputs of the body."""


def prune(root: Graph) -> None:
    """Removes unused states and results of loops and branches below ``root``.

    A state that only its own next value reads is unused, although it has a live reader.
    """
    marker = _Marker()
    marker.graph(root)
    for _, value in root.outputs:
        marker.value(value)
    marker.run()
    for node in marker.nodes:
        if node.op_type in _LOOPS:
            _shrink_loop(node, marker.values)
        elif node.op_type == "If":
            _shrink_branches(node, marker.values)


def parts_of(node: Node) -> _Parts:
    body: Graph = node.attributes["body"]
    if node.op_type == "Loop":
        return _Parts(len(body.inputs) - 2, 2, 1)
    return _Parts(len(body.inputs) - int(node.attributes["num_scan_inputs"]), 0, 0)


class _Marker:
    def __init__(self) -> None:
        self.values: set[int] = set()
        self.nodes: dict[Node, None] = {}
        self._keep: list[Value] = []
        self._stack: list[Value] = []
        self._arguments: dict[int, tuple[Node, int]] = {}

    def graph(self, graph: Graph) -> None:
        """Notes whose argument each input of a loop's body is."""
        for node in graph.nodes:
            for item in node.attributes.values():
                if isinstance(item, Graph):
                    if node.op_type in _LOOPS:
                        for position, (_, value) in enumerate(item.inputs):
                            self._arguments[id(value)] = node, position
                    self.graph(item)

    def value(self, value: Value | None) -> None:
        if value is not None and id(value) not in self.values:
            self.values.add(id(value))
            self._keep.append(value)
            self._stack.append(value)

    def run(self) -> None:
        while self._stack:
            value = self._stack.pop()
            if id(value) in self._arguments:
                self._argument(*self._arguments[id(value)])
            node = value.node
            if node is None:
                continue
            if node.op_type in _LOOPS:
                self._loop(node, _position(node.outputs, value))
            elif node.op_type == "If":
                position = _position(node.outputs, value)
                self.value(node.inputs[0])
                for branch in ("then_branch", "else_branch"):
                    self.value(node.attributes[branch].outputs[position][1])
            elif node not in self.nodes:
                for operand in node.inputs:
                    self.value(operand)
                self._inner(node)
            self.nodes[node] = None

    def _inner(self, node: Node) -> None:
        for item in node.attributes.values():
            if isinstance(item, Graph):
                for _, value in item.outputs:
                    self.value(value)

    def _loop(self, node: Node, position: int) -> None:
        """A result of a loop needs the same result of its body, and a state where it started."""
        parts, body = parts_of(node), node.attributes["body"]
        if node not in self.nodes and node.op_type == "Loop":
            self.value(node.inputs[0])
            self.value(node.inputs[1])
            self.value(body.outputs[0][1])
        if node not in self.nodes and node.op_type == "Scan":  # some row tells how often it runs
            self.value(node.inputs[parts.states])
            self._keep_input(body.inputs[parts.states][1])
        self.value(body.outputs[parts.first_result + position][1])
        if position < parts.states:
            self.value(node.inputs[parts.first_state + position])
            self._keep_input(body.inputs[parts.first_state + position][1])

    def _keep_input(self, value: Value) -> None:
        if id(value) not in self.values:
            self.values.add(id(value))
            self._keep.append(value)

    def _argument(self, node: Node, position: int) -> None:
        """An input of a body that is used needs what is handed to it, and for a state also its next value."""
        parts, body = parts_of(node), node.attributes["body"]
        if node.op_type == "Loop" and position < 2:
            return
        self.value(node.inputs[position])
        state = position - parts.first_state
        if state < parts.states:
            self.value(body.outputs[parts.first_result + state][1])
            self.value(node.outputs[state])


def _position(values: list[Value], value: Value) -> int:
    return next(index for index, item in enumerate(values) if item is value)


def _shrink_loop(node: Node, used: set[int]) -> None:
    parts, body = parts_of(node), node.attributes["body"]
    live = _live_states(node, parts, used)
    fixed, first = parts.first_state, parts.first_result
    rows = [index for index in range(parts.states, len(node.outputs)) if id(node.outputs[index]) in used]
    slices = [
        index
        for index in range(parts.first_state + parts.states, len(body.inputs))
        if id(body.inputs[index][1]) in used
    ]
    kept_inputs = [*range(fixed), *(fixed + state for state in live), *slices]
    results = [*live, *rows]
    if node.op_type == "Scan":
        directions = node.attributes.get("scan_input_directions")
        if directions:
            node.attributes["scan_input_directions"] = [directions[index - parts.states] for index in slices]
        directions = node.attributes.get("scan_output_directions")
        if directions:
            node.attributes["scan_output_directions"] = [directions[index - parts.states] for index in rows]
            if not rows:
                del node.attributes["scan_output_directions"]
        node.attributes["num_scan_inputs"] = len(slices)
    node.inputs = [node.inputs[index] for index in kept_inputs]
    body.inputs = [body.inputs[index] for index in kept_inputs]
    body.outputs = [*body.outputs[:first], *(body.outputs[first + index] for index in results)]
    node.outputs = [node.outputs[index] for index in results]


def _live_states(node: Node, parts: _Parts, used: set[int]) -> list[int]:
    body: Graph = node.attributes["body"]
    return [
        state
        for state in range(parts.states)
        if id(node.outputs[state]) in used or id(body.inputs[parts.first_state + state][1]) in used
    ]


def _shrink_branches(node: Node, used: set[int]) -> None:
    kept = [index for index, value in enumerate(node.outputs) if id(value) in used]
    for name in ("then_branch", "else_branch"):
        branch: Graph = node.attributes[name]
        branch.outputs = [branch.outputs[index] for index in kept]
    node.outputs = [node.outputs[index] for index in kept]
