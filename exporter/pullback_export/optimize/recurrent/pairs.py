"""Two loops of equal steps, as the directions of a layer have backwards, as one whose states are those of both.

Of few rows an operator in a step takes a microsecond, whatever its size: one loop has half of them. All that a step
computes is as many blocks of columns as it was, each the block of the first loop and then that of the second; weights
have zeros where a block of one meets a block of the other, which for many rows takes longer than it saves. What is not
finite would reach the other loop through these zeros: then two loops compute once more.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.optimize.recurrent.bodies import moved, place_copy
from pullback_export.optimize.recurrent.loop_view import LoopView, loop_of
from pullback_export.optimize.recurrent.series import all_finite, at_most

# Measured with 32 units, 100 steps: 0.8 of the time of value and gradient for one row, 0.96 for 2, 1.0 for 4.
_MOST_ROWS = 2
_LARGEST = 64
_OPERATORS = ("Add", "Concat", "Gemm", "Mul", "Sub")


def pairs(root: Graph) -> None:
    """Rewrites loops of ``root`` that stand side by side; those of loops and branches inside stay."""
    for first in [node for node in root.nodes if node.op_type == "Scan"]:
        one = _candidate(root, first)
        position = next((index for index, node in enumerate(root.nodes) if node is first), None)
        if one is None or position is None:
            continue
        later = _readers(root.nodes[position:])
        for second in [node for node in root.nodes[position + 1 :] if node.op_type == "Scan" and node not in later]:
            other = _candidate(root, second)
            if other is not None and _joined(root, one, other, later):
                break


def _candidate(graph: Graph, node: Node) -> LoopView | None:
    """The loop, if its states are as wide as each other, and all that it has are blocks of that width."""
    loop = loop_of(graph, node)
    if loop is None or not loop.states or len({*loop.directions, *loop.output_directions}) != 1:
        return None
    width = loop.initial[0].dims[-1] if loop.initial[0].shape else None
    nodes = [item for item in loop.body.nodes if item.live]
    made = [value for item in nodes for value in item.outputs]
    steps = loop.rows[0].dims[0] if loop.rows[0].shape else None
    arguments = [value for _, value in loop.body.inputs]
    if not isinstance(width, int) or width > _LARGEST or not isinstance(steps, int) or steps < 1:
        return None
    if any(item.op_type not in _OPERATORS for item in nodes):
        return None
    if any(value.shape is None or len(value.shape) != 2 for value in (*made, *arguments)):
        return None
    if any(value.dims[1] != width for value in arguments[: loop.states]):
        return None
    return loop if all(_blocks(value, width) for value in made) else None


def _blocks(value: Value, width: int) -> int:
    """How many blocks of ``width`` columns it has; 0 where that is no whole number."""
    columns = value.dims[-1]
    return columns // width if isinstance(columns, int) and columns % width == 0 else 0


def _readers(nodes: list[Node]) -> set[Node]:
    """The first one, and those that depend on it."""
    made = {id(value) for value in nodes[0].outputs}
    found = {nodes[0]}
    for node in nodes[1:]:
        if any(id(value) in made for value in node.reads()):
            made.update(map(id, node.outputs))
            found.add(node)
    return found


def _joined(graph: Graph, one: LoopView, other: LoopView, later: set[Node]) -> bool:
    """Writes one loop in the place of both, if they compute the same in each step."""
    kinds = [[(len(item.body.inputs), item.states, item.directions[0], item.rows[0].dims[0])] for item in (one, other)]
    rows = one.initial[0].dims[0]
    if kinds[0] != kinds[1] or other.initial[0].dims != one.initial[0].dims or not _few(rows):
        return False
    last = next(index for index, node in enumerate(graph.nodes) if node is other.scan)
    behind = [node for node in graph.nodes[:last] if node in later] + graph.nodes[last + 1 :]
    before = [node for node in graph.nodes[:last] if node not in later]
    nodes = graph.take_nodes()
    graph.nodes = before
    mark = graph.mark()
    some, none = Graph(graph), Graph(graph)
    if not _write(some, one, other):
        graph.rollback(mark)
        graph.nodes = nodes
        return False
    condition = at_most(graph, one.rows[0], _MOST_ROWS)
    outputs = [*one.scan.outputs, *other.scan.outputs]
    for scan in (one.scan, other.scan):
        moved(scan, none)
        none.nodes.append(scan)
        scan.outputs = [Value(none, value.dtype, value.shape, scan) for value in scan.outputs]
    none.outputs = [("result", value) for value in (*one.scan.outputs, *other.scan.outputs)]
    graph.place("If", [condition], {"then_branch": some, "else_branch": none}, outputs)
    graph.nodes += [node for node in behind if node is not one.scan]
    return True


def _write(graph: Graph, one: LoopView, other: LoopView) -> bool:
    """Fills ``graph`` with the loop of both, and with both where a result of that one is not finite."""
    pair, some, none = _Pair(graph, one, other), Graph(graph), Graph(graph)
    with graph.writing():
        whole = pair.whole()
        finite = None if whole is None else all_finite(graph, whole)
    if whole is None or finite is None:
        return False
    with some.writing():
        halves = [pair.apart(value) for value in whole]
    results = [half[index] for index in (0, 1) for half in halves]
    some.outputs = [("result", value) for value in results]
    copies = [place_copy(none, loop.scan, {}) for loop in (one, other)]
    none.outputs = [("result", value) for node in copies for value in node.outputs]
    outputs = [Value(graph, value.dtype, value.shape) for value in results]
    graph.place("If", [finite], {"then_branch": some, "else_branch": none}, outputs)
    graph.outputs = [("result", value) for value in outputs]
    return True


def _few(rows: object) -> bool:
    """Whether there may be few."""
    return not isinstance(rows, int) or rows <= _MOST_ROWS


class _Pair:
    """The loop of both, in ``graph``."""

    def __init__(self, graph: Graph, one: LoopView, other: LoopView) -> None:
        self.graph, self.one, self.other = graph, one, other
        width = one.initial[0].dims[1]
        assert isinstance(width, int)
        self.width, self.body = width, Graph(graph)
        self.known: dict[tuple[int, int], Value | None] = {}
        self.rows: list[tuple[Value, Value]] = []
        for (_, mine), (_, theirs) in zip(one.body.inputs[: one.states], other.body.inputs[: one.states], strict=True):
            self.known[id(mine), id(theirs)] = self._value(1)
        self.states = list(self.known.values())

    def _value(self, blocks: int) -> Value:
        like = self.one.initial[0]
        return Value(self.body, like.dtype, (like.dims[0], 2 * blocks * self.width))

    def whole(self) -> list[Value] | None:
        """What the loop of both gives; None where their steps differ."""
        wanted = zip(self.one.body.outputs, self.other.body.outputs, strict=True)
        made = [self._of(mine, theirs) for (_, mine), (_, theirs) in wanted]
        outputs = [value for value in made if value is not None]
        if len(outputs) < len(made) or len(self.one.scan.outputs) != len(self.other.scan.outputs):
            return None
        arguments = [value for value in self.states if value is not None]
        self.body.inputs = [("state", value) for value in arguments] + [("row", row) for row, _ in self.rows]
        self.body.outputs = [("result", value) for value in outputs]
        starts = [
            self.graph.emit("Concat", pair, {"axis": 1})
            for pair in zip(self.one.initial, self.other.initial, strict=True)
        ]
        direction = self.one.directions[0]
        attributes = {
            "body": self.body,
            "num_scan_inputs": len(self.rows),
            "scan_input_directions": [direction] * len(self.rows),
        }
        if len(outputs) > len(starts):  # an attribute of no numbers has no type
            attributes["scan_output_directions"] = [direction] * (len(outputs) - len(starts))
        steps = self.one.rows[0].dims[0]
        shapes = [value.dims if k < len(starts) else (steps, *value.dims) for k, value in enumerate(outputs)]
        whole = [Value(self.graph, value.dtype, shape) for value, shape in zip(outputs, shapes, strict=True)]
        self.graph.place("Scan", [*starts, *(series for _, series in self.rows)], attributes, whole)
        return whole

    def _of(self, mine: Value | None, theirs: Value | None) -> Value | None:
        """What both are, as one value of a step."""
        if mine is None or theirs is None:
            return None
        key = id(mine), id(theirs)
        if key not in self.known:
            self.known[key] = self._made(mine, theirs)
        return self.known[key]

    def _made(self, mine: Value, theirs: Value) -> Value | None:
        one, other = mine.node, theirs.node
        if one is None or other is None or mine.graph is not self.one.body or theirs.graph is not self.other.body:
            return None
        same = one.op_type == other.op_type and one.attributes == other.attributes
        if not same or len(one.inputs) != len(other.inputs) or mine.dims != theirs.dims:
            return None
        result = self._value(_blocks(mine, self.width))
        if one.op_type == "Gemm":
            operands = self._of_product(one, other)
        else:
            blocks = 0 if one.op_type == "Concat" else _blocks(mine, self.width)
            operands = [self._operand(*pair, blocks) for pair in zip(one.inputs, other.inputs, strict=True)]
        if any(value is None for value in operands):
            return None
        self.body.place(one.op_type, operands, one.attributes, [result])
        return result

    def _operand(self, mine: Value | None, theirs: Value | None, blocks: int) -> Value | None:
        """An operand of an elementwise operator: of so many blocks, or of as many as it has."""
        if mine is None or theirs is None:
            return None
        series = self.one.series.get(id(mine)), self.other.series.get(id(theirs))
        if series[0] is None or series[1] is None:
            found = self._of(mine, theirs)
            return found if found is None or found.dims[1] == 2 * self.width * blocks or not blocks else None
        blocks = blocks or _blocks(mine, self.width)
        return self._row(series[0], series[1], blocks) if blocks else None

    def _row(self, mine: Value, theirs: Value, blocks: int) -> Value | None:
        """The rows of both loops, beside each other block by block."""
        columns = blocks * self.width
        one, other = self._wide(mine, columns), self._wide(theirs, columns)
        if one is None or other is None:
            return None
        if blocks > 1:
            sizes = self.graph.constant([0, 0, blocks, self.width], np.int64)
            one, other = (self.graph.emit("Reshape", [value, sizes]) for value in (one, other))
        joined = self.graph.emit("Concat", [one, other], {"axis": one.rank - 1})
        if blocks > 1:
            joined = self.graph.emit("Reshape", [joined, self.graph.constant([0, 0, 2 * columns], np.int64)])
        known = next((row for row, series in self.rows if series is joined), None)
        if known is None:
            known = self._value(blocks)
            self.rows.append((known, joined))
        return known

    def _wide(self, series: Value, columns: int) -> Value | None:
        if series.shape is None or series.dtype.kind != "f" or series.dims[2] not in (1, columns):
            return None
        sizes = self.graph.constant([1, 1, columns], np.int64)
        return series if series.dims[2] == columns else self.graph.emit("Expand", [series, sizes])

    def _of_product(self, one: Node, other: Node) -> list[Value | None]:
        """Operands of a ``Gemm`` whose weights are those of both, in blocks with zeros between them."""
        matrices = [value for node in (one, other) for value in node.inputs[1:2] if value is not None]
        shapes = {value.shape if value.const is not None else None for value in matrices}
        plain = all(one.attributes.get(key, 1) == 1 for key in ("alpha", "beta")) and not one.attributes.get(
            "transA", 0
        )
        if not plain or None in shapes or len(shapes) > 1 or not all(_blocks(value, self.width) for value in matrices):
            return [None]
        blocks = _blocks(one.outputs[0], self.width)
        found = [self._operand(one.inputs[0], other.inputs[0], 0), self._interleaved(matrices)]
        return found + [self._operand(*pair, blocks) for pair in zip(one.inputs[2:], other.inputs[2:], strict=True)]

    def _interleaved(self, matrices: list[Value]) -> Value:
        """Blocks of rows and columns of both in turn, put together when the session opens."""
        width, graph = self.width, self.graph
        rows, columns = (int(str(size)) // width for size in matrices[0].dims)
        sizes = graph.constant([rows, width, columns, width], np.int64)
        parts = []
        for index, matrix in enumerate(matrices):
            ends = [0, width, 0, width], [0] * 4
            pads = graph.constant([*ends[1 - index], *ends[index]], np.int64)
            parts.append(graph.emit_unfolded("Pad", [graph.emit_unfolded("Reshape", [matrix, sizes]), pads]))
        whole = graph.constant([2 * rows * width, 2 * columns * width], np.int64)
        return graph.emit_unfolded("Reshape", [graph.emit_unfolded("Add", parts), whole])

    def apart(self, value: Value) -> list[Value]:
        """What of a result belongs to the first loop, and what to the second."""
        blocks = value.dims[-1] // (2 * self.width)
        if blocks == 1:
            return self.graph.emit_many("Split", [value, self._two_widths()], {"axis": -1}, 2)
        leading = [0] * (value.rank - 1)
        sizes = self.graph.constant([*leading, blocks, 2 * self.width], np.int64)
        halves = self.graph.emit_many(
            "Split", [self.graph.emit("Reshape", [value, sizes]), self._two_widths()], {"axis": -1}, 2
        )
        back = self.graph.constant([*leading, blocks * self.width], np.int64)
        return [self.graph.emit("Reshape", [half, back]) for half in halves]

    def _two_widths(self) -> Value:
        return self.graph.constant([self.width] * 2, np.int64)
