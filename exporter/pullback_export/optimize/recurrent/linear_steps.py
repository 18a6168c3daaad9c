"""Fewer operators in the steps of a loop that only scales and adds its states, as all backward loops do.

The gradient of a GRU's gates is its state times rows that are known beforehand, ``((dh * h) - (dh * g)) * z``, put
beside each other by ``Pad`` and ``Add``. Written as ``concat(dh, dh, dh) * k``, with ``k`` computed for all steps
before the loop, it is two operators; each operator in a step costs half a microsecond or more, whatever its size.
"""

from __future__ import annotations

import dataclasses

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.optimize.recurrent.loop_view import LoopView, loop_of
from pullback_export.optimize.rewrite import made_by, other_operand


@dataclasses.dataclass(frozen=True)
class Scaled:
    """``atom * factor``: a value of a step, and a tensor with a row for each step (None for 1)."""

    atom: Value
    factor: Value | None


# Columns of a value: where a part starts, and what it is; the parts are as wide as their atoms.
Parts = dict[int, Scaled]


def linear_steps(root: Graph) -> None:
    """Rewrites every ``Scan`` of ``root`` and of the graphs inside of it."""
    for node in root.take_nodes():
        loop = loop_of(root, node)
        root.nodes.append(node)
        if loop is not None and len(set(loop.directions)) == 1:
            _Steps(root, loop).apply()
        for body in node.bodies():
            assert isinstance(body, Graph)
            if loop is None or loop.holder is loop.scan:
                linear_steps(body)


class _Steps:
    """The steps of one loop."""

    def __init__(self, graph: Graph, loop: LoopView) -> None:
        self.graph, self.loop = graph, loop
        self.body = loop.body
        self.given = loop.series
        self.joined: dict[tuple[int, ...], Value] = {}

    def apply(self) -> None:
        """What products read first, then what the loop collects."""
        holder = self.graph.nodes.pop()
        for node in list(self.body.nodes):
            if node.op_type in ("Gemm", "MatMul"):
                self._product(node)
        collected = [self._collected(index) for index in range(self.loop.states, len(self.body.outputs))]
        self.graph.nodes.append(holder)
        for old, new, factor in (item for item in collected if item is not None):
            self.graph.place("Mul", [new, factor], {}, [old])

    def _product(self, node: Node) -> None:
        value, matrix = node.inputs[:2]
        if value is None or matrix is None or matrix.graph is self.body:
            return
        found = self._shorter(value)
        if found is None:
            return
        parts, factor = found
        whole = self._beside(parts, node)
        row = self.loop.add_row(factor)
        scaled = Value(self.body, value.dtype, value.shape)
        self.body.place("Mul", [whole, row], {}, [scaled], before=node)
        node.inputs = [scaled, *node.inputs[1:]]

    def _collected(self, index: int) -> tuple[Value, Value, Value] | None:
        """A result of the loop, what the loop gives instead, and what that is to be multiplied by."""
        name, value = self.body.outputs[index]
        position = index - self.loop.states
        if self.loop.output_directions[position] != self.loop.directions[0]:
            return None
        found = self._shorter(value)
        if found is None:
            return None
        parts, factor = found
        old = self.loop.holder.outputs[index]
        outputs = list(self.body.outputs)
        outputs[index] = name, self._beside(parts, None)
        self.body.outputs = outputs
        new = Value(old.graph, old.dtype, old.shape, self.loop.holder)
        self.loop.holder.outputs[index] = new
        return old, new, factor

    def _shorter(self, value: Value) -> tuple[Parts, Value] | None:
        """``value`` as parts beside each other and the tensor of their factors, where that saves operators."""
        mark = self.graph.mark()
        parts = self._parts(value)
        width = value.shape[-1] if value.shape is not None and len(value.shape) == 2 else None
        if parts is not None and isinstance(width, int) and self._fills(parts, width) and self._count(value, parts) > 2:
            factors = [self._whole(item) for _, item in sorted(parts.items(), key=lambda pair: pair[0])]
            return parts, self.graph.emit("Concat", factors, {"axis": 2})
        self.graph.rollback(mark)
        return None

    def _fills(self, parts: Parts, width: int) -> bool:
        """Whether the parts stand one after the other, without a gap."""
        position = 0
        for start, item in sorted(parts.items(), key=lambda pair: pair[0]):
            if start != position:
                return False
            position += _columns(item.atom)
        return position == width and len(parts) > 1

    def _count(self, value: Value, parts: Parts) -> int:
        """Operators between ``value`` and its atoms."""
        atoms = {id(item.atom) for item in parts.values()}
        seen: set[int] = set()
        waiting = [value]
        while waiting:
            item = waiting.pop()
            node = item.node
            if id(item) in atoms or node is None or item.graph is not self.body or id(node) in seen:
                continue
            seen.add(id(node))
            waiting += [operand for operand in node.inputs if operand is not None]
        return len(seen)

    def _whole(self, item: Scaled) -> Value:
        """The factor at its full size (steps, B, columns)."""
        shape = (self.loop.rows[0].dims[0], *item.atom.dims)
        if item.factor is not None and item.factor.shape == shape:
            return item.factor
        factor = self.graph.constant(1, item.atom.dtype) if item.factor is None else item.factor
        return self.graph.emit("Expand", [factor, self.graph.sizes_value(shape)])

    def _beside(self, parts: Parts, before: Node | None) -> Value:
        atoms = [item.atom for _, item in sorted(parts.items(), key=lambda pair: pair[0])]
        key = tuple(map(id, atoms))
        if key not in self.joined:
            rows, columns = atoms[0].dims[0], sum(map(_columns, atoms))
            self.joined[key] = Value(self.body, atoms[0].dtype, (rows, columns))
            self.body.place("Concat", atoms, {"axis": 1}, [self.joined[key]], before=before)
        return self.joined[key]

    def _parts(self, value: Value) -> Parts | None:
        node = value.node
        if value.graph is not self.body or value.shape is None or len(value.shape) != 2:
            return None
        if node is not None and node.op_type == "Concat" and node.attributes.get("axis") in (1, -1):
            return self._side_by_side(node)
        if node is not None and node.op_type == "Pad":
            return self._padded(node)
        if node is not None and node.op_type == "Add":
            left, right = (None if item is None else self._parts(item) for item in node.inputs)
            if left is not None and right is not None and not set(left) & set(right):
                return left | right
        scaled = self._scaled(value)
        return {0: scaled} if isinstance(scaled.atom.dims[-1], int) and scaled.atom.shape == value.shape else None

    def _side_by_side(self, node: Node) -> Parts | None:
        parts: Parts = {}
        start = 0
        for value in node.inputs:
            width = value.shape[-1] if value is not None and value.shape else None
            inner = self._parts(value) if value is not None else None
            if inner is None or not isinstance(width, int):
                return None
            parts |= {start + offset: item for offset, item in inner.items()}
            start += width
        return parts

    def _padded(self, node: Node) -> Parts | None:
        value, pads, *rest = node.inputs
        number = rest[0] if rest else None
        if value is None or pads is None or pads.const is None or node.attributes.get("mode", "constant") != "constant":
            return None
        widths = [int(item) for item in pads.const]
        if (number is not None and number.fill != 0) or len(rest) > 1 or len(widths) != 4 or widths[0] or widths[2]:
            return None
        inner = self._parts(value) if min(widths) >= 0 else None
        return None if inner is None else {widths[1] + offset: item for offset, item in inner.items()}

    def _scaled(self, value: Value) -> Scaled:
        node = made_by(value, "Mul", "Add", "Sub", "Neg") if value.graph is self.body else None
        found: Scaled | None = None
        if node is not None and node.op_type == "Mul":
            found = self._product_with_row(node)
        elif node is not None and node.op_type == "Neg" and node.inputs[0] is not None:
            inner = self._scaled(node.inputs[0])
            one = self.graph.constant(1, value.dtype)
            found = Scaled(inner.atom, self.graph.emit("Neg", [inner.factor or one]))
        elif node is not None:
            found = self._sum(node)
        return found if found is not None and found.atom.shape == value.shape else Scaled(value, None)

    def _product_with_row(self, node: Node) -> Scaled | None:
        for value, row in other_operand(node):
            series = self._known(row)
            if series is not None and value.graph is self.body and self._known(value) is None:
                inner = self._scaled(value)
                factor = series if inner.factor is None else self.graph.emit("Mul", [inner.factor, series])
                return Scaled(inner.atom, factor)
        return None

    def _sum(self, node: Node) -> Scaled | None:
        left, right = node.inputs
        if left is None or right is None or self._known(left) is not None or self._known(right) is not None:
            return None
        first, second = self._scaled(left), self._scaled(right)
        if first.atom is not second.atom or first.factor is None or second.factor is None:
            return None
        return Scaled(first.atom, self.graph.emit(node.op_type, [first.factor, second.factor]))

    def _known(self, value: Value) -> Value | None:
        """The rows of a value that no step computes."""
        if id(value) in self.given:
            return self.given[id(value)]
        return value if value.graph is not self.body else None


def _columns(value: Value) -> int:
    size = value.dims[-1]
    assert isinstance(size, int)
    return size
