"""The uses that the graph keeps are those that one counts, after any sequence of edits and in any exported network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pullback_export.graph.dims import Dim
from pullback_export.graph.graph import Graph
from pullback_export.graph.uses import Reader
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize import pipeline
from pullback_export.optimize.final import engine

from tests.error_rates.subjects import NETWORKS, NetworkSubject
from tests.exporter.optimize.test_counts import exported

FLOAT = np.dtype(np.float32)


def counted(root: Graph) -> tuple[Counter[tuple[Value, Reader]], set[Node]]:
    """Every use of a value by a live reader, and the live nodes, found by a search from the results."""
    uses: Counter[tuple[Value, Reader]] = Counter()
    nodes: set[Node] = set()
    open_ones: list[Reader] = [root]
    while open_ones:
        reader = open_ones.pop()
        if isinstance(reader, Node):
            if reader in nodes:
                continue
            nodes.add(reader)
            open_ones += reader.bodies()
            read = [value for value in reader.inputs if value is not None]
        else:
            assert isinstance(reader, Region)
            read = [value for _, value in reader.outputs]
        uses.update((value, reader) for value in read)
        open_ones += [value.node for value in read if value.node is not None]
    return uses, nodes


def kept(values: set[Value]) -> Counter[tuple[Value, Reader]]:
    return Counter((value, reader) for value in values for reader in value.uses())


def all_nodes(graph: Region) -> list[Node]:
    return [node for outer in graph.nodes for node in (outer, *(n for body in outer.bodies() for n in all_nodes(body)))]


def check(root: Graph, *more: Value) -> None:
    """``more``: values beside those that the nodes of ``root`` read or make."""
    uses, live = counted(root)
    found = all_nodes(root)
    values = {value for node in found for value in (*node.outputs, *node.reads())} | {value for value, _ in uses}
    assert kept(values | set(more)) == uses
    assert {node for node in (*found, *live) if node.live} == live


class Edits:
    """A graph with a branch in it, and every way in which a reader or maker can change."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.draw = draw
        self.root = Graph()
        self.values = [self.root.input(name, FLOAT, (Dim.atom("B"), 3)) for name in "xy"]
        self.inner: list[Value] = []
        self.body: Graph | None = None

    def pick(self) -> Value:
        return self.values[self.draw(len(self.values))]

    def node(self) -> None:
        made = self.root.emit(("Add", "Mul", "Sub")[self.draw(3)], [self.pick(), self.pick()])
        if not any(made is value for value in self.values):  # the same node again is the same value
            self.values.append(made)

    def results(self) -> None:
        self.root.outputs = [(f"y{index}", self.pick()) for index in range(self.draw(3))]

    def inputs(self) -> None:
        """Values only ever read earlier ones: a graph has no cycles."""
        place = 2 + self.draw(max(1, len(self.values) - 2))
        node = self.values[place].node if place < len(self.values) else None
        if node is not None and node.op_type != "If":
            node.inputs = [self.values[self.draw(place)] for _ in range(2)]

    def replaced(self) -> None:
        place = 1 + self.draw(len(self.values) - 1)
        self.values[place].replace_uses(self.values[self.draw(place)])

    def remade(self) -> None:
        """Another node makes a value, such as the Identity that takes the place of a state."""
        place = 2 + self.draw(max(1, len(self.values) - 2))
        if place < len(self.values):
            self.root.place("Identity", [self.values[self.draw(place)]], {}, [self.values[place]])

    def branch(self) -> None:
        predicate = self.root.emit("Greater", [self.pick(), self.pick()])
        sides = Graph(self.root), Graph(self.root)
        for side in sides:
            inner = Value(side, FLOAT, (Dim.atom("B"), 3))
            side.place("Tanh", [self.pick()], {}, [inner])
            side.outputs = [("result", inner)]
        result = Value(self.root, FLOAT, (Dim.atom("B"), 3))
        self.root.place("If", [predicate], {"then_branch": sides[0], "else_branch": sides[1]}, [result])
        self.values.append(result)
        self.body = sides[0]

    def branch_results(self) -> None:
        if self.body is not None:
            last = self.body.nodes[-1].outputs[0]
            self.body.outputs = [("result", last)] * (1 + self.draw(2))


EDITS = (
    Edits.node,
    Edits.node,
    Edits.results,
    Edits.inputs,
    Edits.replaced,
    Edits.remade,
    Edits.branch,
    Edits.branch_results,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_uses_follow_every_edit(data: st.DataObject) -> None:
    edits = Edits(lambda count: data.draw(st.integers(0, count - 1)))
    for _ in range(data.draw(st.integers(5, 25))):
        data.draw(st.sampled_from(EDITS))(edits)
        check(edits.root, *edits.values)


def test_a_node_without_readers_is_no_use() -> None:
    graph = Graph()
    x = graph.input("x", FLOAT, (3,))
    square = x * x
    assert x.uses() == []
    graph.outputs = [("y", square)]
    assert x.uses() == [square.node, square.node]
    assert square.uses() == [graph]
    graph.outputs = []
    assert not x.is_read


def test_a_long_chain_needs_no_recursion() -> None:
    graph = Graph()
    value = x = graph.input("x", FLOAT, (3,))
    for _ in range(20_000):
        value = graph.emit("Tanh", [value])
    graph.outputs = [("y", value)]
    assert len(x.uses()) == 1
    graph.outputs = []
    assert x.uses() == []


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_uses_are_right_after_every_rewrite(network: NetworkSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rewrite finds them as they are, in loops and branches too."""
    checked = []

    def rewrite(root: Graph, rule: object) -> None:
        check(root)
        engine.rewrite(root, rule)  # type: ignore[arg-type]
        check(root)
        checked.append(rule)

    monkeypatch.setattr(pipeline, "rewrite", rewrite)
    exported(network.build(), network.request)
    assert len(checked) >= len(pipeline.FINAL)
