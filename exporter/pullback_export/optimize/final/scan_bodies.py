"""Fewer operators in each step of a ``Scan``: ONNX Runtime takes about a microsecond for each, whatever its size."""

from __future__ import annotations

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.final.matmul_add import joined_sum
from pullback_export.optimize.rewrite import made_by, only_reader, other_operand


def tighten(root: Graph) -> None:
    """Rewrites the body of every ``Scan`` in ``root``; what no step reads any more is dropped with the dead nodes."""
    _graph(root)


def _graph(graph: Region) -> None:
    for node in graph.take_nodes():
        for body in node.bodies():
            _graph(body)
        if node.op_type == "Scan":
            scan = _Scan(graph, node)
            scan.start_with_what_is_zero_later()
            scan.join_products()
            scan.join_sums()
            scan.drop_zero_states()
            scan.join_added_states()
            graph.nodes.append(node)
            scan.join_held_states()
            scan.drop_equal_states()
        else:
            graph.nodes.append(node)


class _Scan:
    """One ``Scan`` of ``graph``, whose nodes so far are those that stand before it."""

    def __init__(self, graph: Region, node: Node) -> None:
        self.graph, self.node = graph, node
        self.body: Region = node.attributes["body"]
        self.states = len(self.body.inputs) - int(node.attributes["num_scan_inputs"])

    def start_with_what_is_zero_later(self) -> None:
        """``s + t`` with states ``s`` and ``t``, where ``t`` is zero after the first step: ``s`` starts with the sum.

        The gradient of a recurrent layer's last output is such a ``t``.
        """
        for later in range(self.states):
            argument, following = self.body.inputs[later][1], self.body.outputs[later][1]
            reader = only_reader(argument)
            if following.fill != 0 or following.graph is self.body or self.node.outputs[later].is_read:
                continue
            if reader is None or reader.op_type != "Add":
                continue
            other = next((value for value in reader.inputs if value is not None and value is not argument), None)
            kept = self._state_of(other)
            if kept is None or other is None or only_reader(other) is not reader or other.shape != argument.shape:
                continue
            starts = [self.node.inputs[state] for state in (kept, later)]
            inputs = list(self.node.inputs)
            inputs[kept] = self.graph.emit("Add", starts)
            self.node.inputs = inputs
            reader.outputs[0].replace_uses(other)

    def _state_of(self, value: Value | None) -> int | None:
        arguments = [argument for _, argument in self.body.inputs[: self.states]]
        return next((index for index, argument in enumerate(arguments) if argument is value), None)

    def drop_zero_states(self) -> None:
        """States that start with zero and become zero: no step adds them to anything."""
        for state in reversed(range(self.states)):
            start, argument = self.node.inputs[state], self.body.inputs[state][1]
            following = self.body.outputs[state][1]
            if start is None or start.fill != 0 or following.fill != 0 or start.shape != argument.shape:
                continue
            for reader in argument.uses():
                if isinstance(reader, Node) and reader.op_type == "Add":
                    other = next((value for value in reader.inputs if value is not argument), None)
                    if other is not None and other.shape == argument.shape:
                        reader.outputs[0].replace_uses(other)
            argument.replace_uses(start)
            self._drop(state, start)

    def join_added_states(self) -> None:
        """States that a mask holds and of which each step takes the sum are one, which starts with their sum.

        The gradient of a masked layer's last output waits in such a state for the last step that counts, where those of
        earlier outputs join it.
        """
        for state in reversed(range(self.states)):
            found = self._added(state) if not self.node.outputs[state].is_read else None
            if found is None:
                continue
            kept, waiting, (half, both), total = found
            inputs = list(self.node.inputs)
            inputs[kept] = self.graph.emit("Add", [self.node.inputs[kept], self.node.inputs[state]])
            self.node.inputs = inputs
            argument, sum_with_row = self.body.inputs[kept][1], waiting.node
            if sum_with_row is None:
                total.replace_uses(both)
            else:
                reader = next(
                    node for node in argument.uses() if isinstance(node, Node) and node.outputs[0] is not both
                )
                sum_with_row.replace(self.body.inputs[state][1], argument)
                reader.replace(argument, waiting)
                total.replace_uses(half)
            start = self.node.inputs[state]
            assert start is not None
            self._drop(state, start)

    def _added(self, state: int) -> tuple[int, Value, tuple[Value, Value], Value] | None:
        """Another state, what waits in ``state``, what counts of that and of the other, and the sum of the latter.

        If what else becomes of both is what does not count of ``state`` in itself, and of the other as a summand of
        what it becomes.
        """
        waiting = self._waiting(state)
        halves, following = _halves(waiting), self.body.outputs[state][1]
        adder = only_reader(halves[0]) if halves is not None and halves[1] is following else None
        if halves is None or adder is None or adder.op_type != "Add":
            return None
        for kept in range(self.states):
            both = _halves(self.body.inputs[kept][1]) if kept != state and not self.node.outputs[kept].is_read else None
            if both is None or only_reader(both[0]) is not adder or both[0].shape != halves[0].shape:
                continue
            if _mask(both[0]) is _mask(halves[0]) and self._is_summand(both[1], kept):
                return kept, waiting, (halves[0], both[0]), adder.outputs[0]
        return None

    def _waiting(self, state: int) -> Value:
        """A state, or its sum with a row where a step reads nothing else of it."""
        argument = self.body.inputs[state][1]
        reader = only_reader(argument)
        if reader is None or reader.op_type != "Add":
            return argument
        rows = [value for _, value in self.body.inputs[self.states :]]
        return reader.outputs[0] if any(value is row for value in reader.inputs for row in rows) else argument

    def _is_summand(self, value: Value, state: int) -> bool:
        """Whether what ``state`` becomes is ``value`` and something else, and nothing else reads either."""
        following = self.body.outputs[state][1]
        while value is not following:
            reader = only_reader(value)
            if reader is None or not (reader.op_type == "Add" or _is_added(value, reader)):
                return False
            value = reader.outputs[0]
        return following.uses() == [self.body]

    def join_products(self) -> None:
        """``concat(a * r, b * s, ...)`` with rows ``r``, ``s``, ... as ``concat(a, b, ...) * concat(r, s, ...)``.

        The rows are joined once, before the loop.
        """
        for node in list(self.body.nodes):
            found = self._products(node) if node.op_type == "Concat" else None
            if found is None:
                continue
            values, rows = zip(*found, strict=True)
            whole = node.outputs[0]
            result = Value(self.body, whole.dtype, whole.shape)
            joined = self.body.place("Concat", values, node.attributes, [result], before=node)
            node.op_type, node.attributes = "Mul", {}
            node.inputs = [result, self._row([*rows], int(joined.attributes["axis"]), whole)]

    def _products(self, node: Node) -> list[tuple[Value, int]] | None:
        """Value and position among the rows for each product that ``node`` joins, all of which run the same way."""
        found = []
        for value in node.inputs:
            product = value.node if value is not None and only_reader(value) is node else None
            pair = self._scaled_by_row(product) if product is not None and product.op_type == "Mul" else None
            if pair is None or node.attributes["axis"] < 0:
                return None
            found.append(pair)
        directions = self._directions()
        return found if len({directions[row] for _, row in found}) == 1 else None

    def _scaled_by_row(self, product: Node) -> tuple[Value, int] | None:
        rows = [argument for _, argument in self.body.inputs[self.states :]]
        for value, row in other_operand(product):
            position = next((index for index, argument in enumerate(rows) if argument is row), None)
            if position is None or value is None or row is None or value.shape is None:
                continue
            if value.graph is self.body and value.shape == row.shape == product.outputs[0].shape:
                return value, position
        return None

    def _directions(self) -> list[int]:
        count = int(self.node.attributes["num_scan_inputs"])
        return list(self.node.attributes.get("scan_input_directions", [0] * count))

    def _row(self, positions: list[int], axis: int, like: Value) -> Value:
        """A new row input: those at ``positions`` joined along ``axis`` of a step."""
        directions = self._directions()
        series = [self.node.inputs[self.states + position] for position in positions]
        argument = Value(self.body, like.dtype, like.shape)
        self.body.inputs.append(("row", argument))
        self.node.inputs = [*self.node.inputs, self.graph.emit("Concat", series, {"axis": axis + 1})]
        self.node.attributes["scan_input_directions"] = [*directions, directions[positions[0]]]
        self.node.attributes["num_scan_inputs"] = len(directions) + 1
        return argument

    def join_sums(self) -> None:
        """``a @ b + c`` as one ``Gemm``."""
        for node in self.body.nodes:
            inputs = joined_sum(node)
            if inputs is not None:
                node.op_type, (node.inputs, node.attributes) = "Gemm", inputs

    def join_held_states(self) -> None:
        """States that start alike and become ``where(mask, new, state)`` with the same ``mask`` and ``new`` are one.

        Keras keeps the output of a masked layer beside its hidden state.
        """
        arguments = [argument for _, argument in self.body.inputs[: self.states]]
        seen: list[tuple[int, Value, Value]] = []
        for state in reversed(range(self.states)):
            held = held_by(self.body.outputs[state][1], arguments[state])
            if held is None:
                continue
            same = next((other for other, *both in seen if both[0] is held[0] and both[1] is held[1]), None)
            if same is None or not _start_alike(self.node.inputs[state], self.node.inputs[same]):
                seen.append((state, *held))
                continue
            old, new = self.body.outputs[state][1], self.body.outputs[same][1]
            old.replace_uses(new)
            self.body.outputs = [(name, new if value is old else value) for name, value in self.body.outputs]
            arguments[state].replace_uses(arguments[same])

    def drop_equal_states(self) -> None:
        """States that no step reads and that end as another one does."""
        for state in reversed(range(self.states)):
            following = self.body.outputs[state][1]
            others = (other for other in range(state + 1, self.states) if self.body.outputs[other][1] is following)
            same = next(others, None)
            if same is not None and not self.body.inputs[state][1].is_read:
                self._drop(state, self.node.outputs[same])

    def _drop(self, state: int, same: Value) -> None:
        final = self.node.outputs.pop(state)
        del self.body.inputs[state]
        self.node.inputs = [*self.node.inputs[:state], *self.node.inputs[state + 1 :]]
        self.body.outputs = [*self.body.outputs[:state], *self.body.outputs[state + 1 :]]
        self.states -= 1
        self.graph.place("Identity", [same], {}, [final])


def _halves(value: Value) -> tuple[Value, Value] | None:
    """``where(mask, value, 0)`` and ``where(mask, 0, value)``, where nothing else reads the value."""
    readers = [reader for reader in value.uses() if isinstance(reader, Node) and reader.op_type == "Where"]
    if len(readers) != 2 or len(value.uses()) != 2:
        return None
    counts = next((node for node in readers if node.inputs[1] is value and _is_zero(node.inputs[2])), None)
    other = next((node for node in readers if node.inputs[2] is value and _is_zero(node.inputs[1])), None)
    if counts is None or other is None or counts.inputs[0] is not other.inputs[0]:
        return None
    return counts.outputs[0], other.outputs[0]


def _is_added(value: Value, product: Node) -> bool:
    return product.op_type == "Gemm" and [item is value for item in product.inputs] == [False, False, True]


def _mask(value: Value) -> Value | None:
    return value.node.inputs[0] if value.node is not None else None


def _is_zero(value: Value | None) -> bool:
    return value is not None and value.fill == 0


def held_by(following: Value, state: Value) -> tuple[Value, Value] | None:
    """``mask`` and ``new`` where a state becomes ``where(mask, new, state)``."""
    node = made_by(following, "Where")
    if node is None or node.inputs[2] is not state or node.inputs[0] is None or node.inputs[1] is None:
        return None
    return node.inputs[0], node.inputs[1]


def _start_alike(one: Value | None, other: Value | None) -> bool:
    if one is None or other is None or one is other:
        return one is other
    return one.fill is not None and one.fill == other.fill and (one.shape, one.dtype) == (other.shape, other.dtype)
