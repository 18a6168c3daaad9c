"""Writes a converted loop as ONNX: ``Scan`` where the number of iterations is known beforehand, else ``Loop``.

``Scan`` hands each iteration its rows of the inputs and collects rows of the outputs without copies, in either
direction. It refuses to run zero times, so a free number of iterations puts it into an ``If``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback_export.graph.dims import Dim, Size
from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.loops.induction import inside, size_of
from pullback_export.lowering.loops.placement import State, in_order, loose_or_outer, recomputable, sinkable
from pullback_export.lowering.loops.results import as_given, give, no_rows, of_its_sizes
from pullback_export.lowering.loops.series import Series, SeriesFinder


class LoopWriter:
    """The body of one loop, its states, and the series that are wanted of it. ``op`` writes outside of the loop."""

    def __init__(self, op: OpContext, body: Graph, iteration: Value) -> None:
        self.op = op
        self.body = body
        self.iteration = iteration
        self.states: list[State] = []
        self.promised: dict[Value, Series] = {}
        self.repeated: set[Value] = set()  # computed in the loop, and once more outside
        self.steps: Size = 0

    def add_state(self, argument: Value, initial: Value, following: Value, loose: bool) -> Value:
        """Declares a state; returns its value after the loop. ``loose``: its sizes change on the way."""
        shape = argument.shape
        if loose and shape is not None:
            shape = tuple(
                size
                if isinstance(size, int)
                else self.op.graph.fresh_size("last")
                if _born_in(size, argument)
                else size
                for size in shape
            )
        final = Value(self.op.graph, argument.dtype, shape)
        self.states.append(State(argument, initial, following, final, loose))
        return final

    def _promise(self, value: Value, backward: bool) -> Series:
        """The rows that the loop is going to collect of ``value``."""
        if value not in self.promised:
            shape = None if value.shape is None else (self.steps, *value.shape)
            self.promised[value] = Series(Value(self.op.graph, value.dtype, shape), backward)
        return self.promised[value]

    def write_counted(self, count: Value, requests: list[tuple[Value, bool]]) -> Callable[[Value, bool], Value]:
        """A loop of ``count`` iterations; the result gives the series of a requested value, in either order."""
        self.steps = size_of(count)
        finder = SeriesFinder(self.op, self.body, self.iteration, count)
        wanted = [value for value, _ in requests]
        for node in self._live(wanted):
            if not finder.lift(node):
                finder.reassociate(node)
        rest = [node for node in self._live(wanted) if not finder.is_lifted(node)]
        loose = any(state.loose for state in self.states)
        backward = bool(requests) and not loose and all(reverse for _, reverse in requests)
        late = sinkable(rest, self.states, finder)
        place = len(self.op.graph.nodes)
        collected = self._collect(rest, late, wanted, finder, backward)
        after = self.op.graph.nodes[place:]
        del self.op.graph.nodes[place:]
        early = [node for node in rest if node not in late]
        if self.states or collected:
            self._write_counted(early, collected, finder, backward, count)
        tail = self.op.graph.nodes[place:] + after
        self.op.graph.nodes[place:] = in_order(tail)
        return finder.rows

    def _collect(
        self, rest: list[Node], late: set[Node], wanted: list[Value], finder: SeriesFinder, backward: bool
    ) -> list[Value]:
        """Promises the series that the loop has to collect, and does the ``late`` work on them."""
        needed = [value for value in wanted if value not in finder.series]
        made_late = {value for node in late for value in node.outputs}
        for node in rest:
            if node in late:
                needed += [v for v in node.inputs if v is not None and inside(v, self.body) and v not in finder.series]
        candidates = [value for value in dict.fromkeys(needed) if value not in made_late]
        before = {state.argument: state for state in self.states if not loose_or_outer(state, self.body, finder)}
        shifted = [before[value] for value in candidates if value in before]
        candidates = [value for value in candidates if value not in before]
        candidates = list(dict.fromkeys(candidates + [state.following for state in shifted]))
        collected, again = recomputable(candidates, finder)
        for value in collected:
            finder.series[value] = self._promise(value, backward)
        for node in [*again, *(node for node in rest if node in late)]:
            if node in again:
                self.repeated.update(node.outputs)
        for state in shifted:
            if state.following in collected:
                self._shift(state, finder)
        for node in rest:
            if (node in late or node in again) and not finder.lift(node):
                raise AssertionError(f"{node.op_type} could not be moved out of its loop")
        for state in shifted:
            if state.following not in collected:
                self._shift(state, finder)
        return collected

    def _shift(self, state: State, finder: SeriesFinder) -> None:
        """What a state was before each iteration: its first value, then what it was after the iteration before."""
        op, found = self.op, finder.find(state.following)
        assert found is not None
        count = op.sizes([self.steps])
        first = op.Slice(op.Unsqueeze(state.initial, [0]), [0], count, [0])
        if found.backward:
            rows = op.Concat(op.Slice(found.rows, [1], [2**31 - 1], [0]), first, axis=0)
        else:
            rows = op.Concat(first, op.Slice(found.rows, [0], [-1], [0]), axis=0)
        rows.refine(found.rows.shape)
        finder.series[state.argument] = Series(rows, found.backward)
        self.repeated.add(state.argument)

    def _live(self, wanted: list[Value]) -> list[Node]:
        """The nodes of the body that lead to a state or to a wanted series."""
        live: set[int] = set()
        stack = [*wanted, *(state.following for state in self.states)]
        while stack:
            node = stack.pop().node
            if node is not None and id(node) not in live:
                live.add(id(node))
                stack.extend(node.reads())
        return [node for node in self.body.nodes if id(node) in live]

    def _write_counted(
        self, nodes: list[Node], collected: list[Value], finder: SeriesFinder, backward: bool, count: Value
    ) -> None:
        body = self.body
        slices: dict[Value, Value] = {}

        def read(value: Value) -> Value:
            if (
                value in self.promised
                or value in self.repeated
                or not inside(value, body)
                or finder.find(value) is None
            ):
                return value
            if value not in slices:
                slices[value] = Value(body, value.dtype, value.shape)
            return slices[value]

        following = [read(state.following) for state in self.states]
        for node in nodes:
            node.replace_inputs(read)
        body.nodes = nodes
        body.outputs = [*(("state", value) for value in following), *(("row", value) for value in collected)]
        finals = [state.final for state in self.states] + [self.promised[value].rows for value in collected]
        if any(state.loose for state in self.states):
            self._write_loop(slices, finder, finals, count)
            return
        node = self._scan_node(slices, finder, backward, len(collected))
        if _positive(self.steps):
            give(self.op.graph, node, finals)
        else:
            self._write_unless_empty(node, finals, count)

    def _scan_node(self, slices: dict[Value, Value], finder: SeriesFinder, backward: bool, collected: int) -> Node:
        if not slices:
            slices = {self.iteration: Value(self.body, np.dtype(np.int64), ())}
        series = [finder.find(value) for value in slices]
        self.body.inputs = [("state", state.argument) for state in self.states]
        self.body.inputs += [("row", value) for value in slices.values()]
        attributes = {
            "body": self.body,
            "num_scan_inputs": len(slices),
            "scan_input_directions": [int(item.backward) for item in series if item is not None],
        }
        if collected:
            attributes["scan_output_directions"] = [int(backward)] * collected
        rows = [item.rows for item in series if item is not None]
        return Node("Scan", [*(state.initial for state in self.states), *rows], attributes)

    def _write_loop(self, slices: dict[Value, Value], finder: SeriesFinder, finals: list[Value], count: Value) -> None:
        """States that change their sizes need ``Loop``; rows are then picked by the number of the iteration."""
        body = self.body
        picks: list[Node] = []
        for value, row in slices.items():
            if value is self.iteration:
                picks.append(Node("Identity", [self.iteration], {}))
            else:
                picks.append(Node("Gather", [finder.rows(value, False), self.iteration], {"axis": 0}))
            picks[-1].make([row])
        body.nodes = picks + body.nodes
        go_on = Value(body, np.dtype(bool), ())
        true = self.op.const(np.bool_(True))
        body.inputs = [("iteration", self.iteration), ("go_on", go_on)]
        body.inputs += [("state", state.argument) for state in self.states]
        body.outputs = [("go_on", true), *body.outputs]
        give(
            self.op.graph,
            Node("Loop", [count, true, *(state.initial for state in self.states)], {"body": body}),
            finals,
        )

    def _write_unless_empty(self, node: Node, finals: list[Value], count: Value) -> None:
        graph = self.op.graph
        condition = count > 0
        some, none = Graph(graph), Graph(graph)
        results = [Value(some, final.dtype, final.shape) for final in finals]
        give(some, node, results)
        self.body.parent = some
        some.outputs = [("result", value) for value in results]
        nothing = [state.initial for state in self.states]
        for final in finals[len(self.states) :]:
            nothing.append(no_rows(none, final))
        none.outputs = [("result", value) for value in nothing]
        give(graph, Node("If", [condition], {"then_branch": some, "else_branch": none}), finals)

    def write_open(
        self, limit: Value | None, initial: Value, following: Value, requests: list[tuple[Value, bool]]
    ) -> tuple[Callable[[Value, bool], Value], Value]:
        """A loop that asks a condition after each iteration; also returns how often it ran."""
        op, body = self.op, self.body
        argument = Value(body, np.dtype(np.int64), ())
        zero = op.const(np.int64(0))
        count = self.add_state(argument, zero, self.iteration + 1, False)
        steps = self.steps = op.graph.fresh_size("steps")
        collected = list(dict.fromkeys(value for value, _ in requests))
        for value in collected:
            self._promise(value, False)
        go_on = Value(body, np.dtype(bool), ())
        body.inputs = [("iteration", self.iteration), ("go_on", go_on)]
        body.inputs += [("state", state.argument) for state in self.states]
        states = (("state", state.following) for state in self.states)
        body.outputs = [("go_on", following), *states, *(("row", value) for value in collected)]
        node = Node("Loop", [limit, initial, *(state.initial for state in self.states)], {"body": body})
        raw = [as_given(op.graph, self.promised[value].rows) for value in collected]
        give(op.graph, node, [state.final for state in self.states] + raw)
        op.graph.name_size(count, steps)
        for value, given in zip(collected, raw, strict=True):
            of_its_sizes(op.graph, given, self.promised[value].rows)

        def rows(value: Value, backward: bool) -> Value:
            found = self.promised[value].rows
            return op.Slice(found, [-1], [-(2**62)], [0], [-1]) if backward else found

        return rows, count


def _positive(size: Size) -> bool:
    if isinstance(size, int):
        return size > 0
    terms = dict(size.terms)
    return all(factor > 0 for factor in terms.values()) and terms.get((), 0) > 0


def _born_in(size: Size, argument: Value) -> bool:
    """Whether a size is one that the loop's argument brought in itself."""
    return isinstance(size, Dim) and str(size).startswith("varying")
