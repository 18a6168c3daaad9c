"""Masks of backward loops as factors that the rows of the loop take over.

Where a step does not count, the backward step of a masked layer hands on the gradients of its states, and all else is
zero: a ``Where`` or two for each term. Of numbers that are finite, ``where(mask, x, 0)`` is ``x * mask``, which is
computed for all steps at once where ``x`` is scaled by a row anyway; an LSTM's step has 7 operators instead of 14.

Zero times a number that is not finite is not zero. Such a number reaches a result of the loop, whatever it is scaled by
or added to, and then the loop as it was computes once more.
"""

from __future__ import annotations

import dataclasses

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.optimize.recurrent.all_steps import AllSteps
from pullback_export.optimize.recurrent.bodies import moved, place_copy
from pullback_export.optimize.recurrent.loop_view import LoopView, loop_of
from pullback_export.optimize.recurrent.series import all_finite
from pullback_export.optimize.rewrite import made_by, other_operand

# What has a result that is not finite where an operand is not.
_CARRIES = ("Add", "Concat", "Gemm", "Identity", "MatMul", "Mul", "Neg", "Pad", "Sub")


def masked_steps(root: Graph) -> None:
    """Rewrites every ``Scan`` of ``root`` and of the graphs inside of it that a mask holds."""
    for node in root.take_nodes():
        loop = loop_of(root, node)
        if loop is not None and _rewritten(root, loop):
            continue
        root.nodes.append(node)
        for body in node.bodies():
            assert isinstance(body, Graph)
            if loop is None or loop.holder is loop.scan:
                masked_steps(body)


def _rewritten(graph: Graph, loop: LoopView) -> bool:
    """Writes what takes the place of the loop, where that has fewer operators in a step."""
    results = loop.holder.outputs
    if len(set(loop.directions)) != 1 or any(value.dtype.kind != "f" for value in results):
        return False
    mark = graph.mark()
    holder = place_copy(graph, loop.holder, {})
    copy = loop_of(graph, holder)
    mask = None if copy is None else _mask_of(copy)
    graph.nodes.pop()
    if copy is None or mask is None or not _Steps(graph, copy, mask).apply():
        graph.rollback(mark)
        return False
    graph.nodes.append(holder)
    _unless_it_overflows(graph, holder, loop.holder)
    return True


def _mask_of(loop: LoopView) -> Value | None:
    """The row that says which of the batch count, where a step asks one row only."""
    asked = [node.inputs[0] for node in loop.body.nodes if node.op_type == "Where"]
    rows = [value for _, value in loop.body.inputs[loop.states :] if any(value is mask for mask in asked)]
    return rows[0] if len(rows) == 1 and rows[0].shape is not None and rows[0].shape[1:] == (1,) else None


def _unless_it_overflows(graph: Graph, short: Node, long: Node) -> None:
    """The results of the loop ``short`` in the place of those of ``long``, if all of them are finite."""
    finite = all_finite(graph, short.outputs)
    some, none, results = Graph(graph), Graph(graph), long.outputs
    some.outputs = [("result", value) for value in short.outputs]
    moved(long, none)
    none.nodes.append(long)
    long.outputs = [Value(none, value.dtype, value.shape, long) for value in results]
    none.outputs = [("result", value) for value in long.outputs]
    graph.place("If", [finite], {"then_branch": some, "else_branch": none}, results)


@dataclasses.dataclass(frozen=True)
class Term:
    """``atom * factor``, with a factor for all steps (None for 1); where ``side`` is 1 only of what counts, and zero
    elsewhere; where it is -1 the other way round."""

    atom: Value
    factor: Value | None = None
    side: int = 0


class _Steps:
    """The steps of one loop, whose body becomes another one."""

    def __init__(self, graph: Graph, loop: LoopView, mask: Value) -> None:
        self.graph, self.loop, self.body, self.mask = graph, loop, loop.body, mask
        self.series = AllSteps(graph, loop.body, dict(loop.series))
        self.arguments = {id(rows): argument for argument, rows in self._rows()}
        self.terms: dict[int, Term] = {}
        self.scaled: dict[tuple[int, int, int], Value] = {}
        self.held: dict[int, Value] = {}
        """By the id of a value, what it is where a step does not count."""
        self.varying = {id(value) for _, value in self.body.inputs[: loop.states]}
        for node in self.body.nodes:
            if any(id(value) in self.varying for value in node.reads()):
                self.varying.update(map(id, node.outputs))

    def _rows(self) -> list[tuple[Value, Value]]:
        arguments = [value for _, value in self.body.inputs[self.loop.states :]]
        return list(zip(arguments, self.loop.rows, strict=True))

    def apply(self) -> bool:
        """Whether there are fewer operators now, all of which hand on what is not finite."""
        before = len(self._needed())
        outputs = [(name, self._operand(value)) for name, value in self.body.outputs]
        self.body.outputs = [(name, value) for name, value in outputs if value is not None]
        self.body.nodes = self._needed()
        self.loop.drop_unread_rows()
        varying = [node for node in self.body.nodes if any(id(value) in self.varying for value in node.outputs)]
        return len(self.body.nodes) < before and all(node.op_type in _CARRIES for node in varying)

    def _needed(self) -> list[Node]:
        """The nodes that lead to a result of the body, in order."""
        needed: set[int] = set()
        waiting = [value for _, value in self.body.outputs]
        while waiting:
            value = waiting.pop()
            if value.node is not None and value.graph is self.body and id(value.node) not in needed:
                needed.add(id(value.node))
                waiting += value.node.reads()
        return [node for node in self.body.nodes if id(node) in needed]

    def _term(self, value: Value) -> Term:
        if id(value) not in self.terms:
            node = value.node
            rule = _RULES.get(node.op_type) if node is not None else None
            found = rule(self, node) if rule is not None and node is not None else None
            if found is None:
                found = Term(value) if node is None else self._as_it_was(node, value)
            self.terms[id(value)] = found
        return self.terms[id(value)]

    def _varies(self, value: Value | None) -> bool:
        return value is not None and id(value) in self.varying

    def _where(self, node: Node) -> Term | None:
        mask, new, other = node.inputs
        for side, value, zero in ((1, new, other), (-1, other, new)):
            if mask is self.mask and value is not None and self._varies(value) and zero is not None and zero.fill == 0:
                term = self._term(value)
                if term.side in (0, side) and term.atom.shape == node.outputs[0].shape:
                    return dataclasses.replace(term, side=side)
        return None

    def _product(self, node: Node) -> Term | None:
        for value, row in other_operand(node):
            series = None if self._varies(row) or not self._varies(value) else self.series.of(row)
            if series is not None:
                term = self._term(value)
                factor = series if term.factor is None else self.graph.emit("Mul", [term.factor, series])
                return Term(term.atom, factor, term.side) if term.atom.shape == node.outputs[0].shape else None
        return None

    def _sum(self, node: Node) -> Term | None:
        left, right = node.inputs
        assert left is not None and right is not None
        if self._varies(left) and self._varies(right):
            return self._of_both(node, self._term(left), self._term(right))
        for value, row in other_operand(node):
            if self._varies(value) and value.shape == row.shape and self._is_zero_elsewhere(row):
                return self._beside_row(self._term(value), row)
        return None

    def _of_both(self, node: Node, one: Term, other: Term) -> Term | None:
        if one.atom is other.atom and one.side == other.side:
            factors = [self._factor(one), self._factor(other)]
            return Term(one.atom, self.graph.emit("Add", factors), one.side)
        if one.atom.shape != node.outputs[0].shape or other.atom.shape != node.outputs[0].shape:
            return None
        if one.side == other.side == 1:
            return self._together(one, other) if one.factor is None else self._together(other, one)
        counts, other = (one, other) if one.side == 1 else (other, one)
        if (counts.side, other.side) == (1, -1) and self._root(counts.atom) is self._root(other.atom):
            factors = [self._factor(counts), self._factor(other)]
            return Term(counts.atom, self.graph.emit("Where", [self.series.of(self.mask), *factors]))
        return None

    def _together(self, one: Term, other: Term) -> Term:
        """Of two terms that are zero where a step does not count, a sum that is ``one`` there."""
        atom = self._place("Add", [self._value(dataclasses.replace(one, side=0)), self._value(other)], one.atom)
        if one.factor is None:
            self.held[id(atom)] = one.atom
        return Term(atom, None, 1)

    def _beside_row(self, term: Term, row: Value) -> Term | None:
        known = self._known(row)
        if term.side != 1:
            return None
        atom = self._place("Add", [self._value(dataclasses.replace(term, side=0)), known], term.atom)
        if term.factor is None:
            self.held[id(atom)] = term.atom
        return Term(atom, None, 1)

    def _is_zero_elsewhere(self, row: Value) -> bool:
        node = made_by(row, "Where")
        return node is not None and node.inputs[0] is self.mask and getattr(node.inputs[2], "fill", None) == 0

    def _side_by_side(self, node: Node) -> Term | None:
        if node.attributes.get("axis") not in (1, -1) or not all(map(self._varies, node.inputs)):
            return None
        terms = [self._term(value) for value in node.inputs if value is not None]
        if len({term.side for term in terms}) > 1 or any(term.factor is not None for term in terms):
            return None
        return Term(self._place("Concat", [term.atom for term in terms], node.outputs[0], axis=1), None, terms[0].side)

    def _same(self, node: Node) -> Term | None:
        return self._term(node.inputs[0]) if node.inputs[0] is not None and self._varies(node.inputs[0]) else None

    def _as_it_was(self, node: Node, value: Value) -> Term:
        """The node with the operands that there are now."""
        inputs = [self._operand(item) for item in node.inputs]
        if any(new is not old for new, old in zip(inputs, node.inputs, strict=True)):
            outputs = [Value(self.body, item.dtype, item.shape) for item in node.outputs]
            self.body.place(node.op_type, inputs, node.attributes, outputs)
            self.varying.update(map(id, outputs))
            for old, new in zip(node.outputs, outputs, strict=True):
                self.terms[id(old)] = Term(new)
            return self.terms[id(value)]
        return Term(value)

    def _operand(self, value: Value | None) -> Value | None:
        if value is None or not self._varies(value):
            return value
        return self._value(self._term(value))

    def _root(self, value: Value) -> Value:
        while id(value) in self.held:
            value = self.held[id(value)]
        return value

    def _value(self, term: Term) -> Value:
        """The term as a value of the body."""
        if term.factor is None and not term.side:
            return term.atom
        key = id(term.atom), id(term.factor), term.side
        if key not in self.scaled:
            series = self._whole_factor(term)
            row = self._row(series) if series.shape is not None and len(series.shape) == 3 else series
            self.scaled[key] = self._place("Mul", [term.atom, row], term.atom)
        return self.scaled[key]

    def _whole_factor(self, term: Term) -> Value:
        if not term.side:
            return self._factor(term)
        mask = self.series.of(self.mask)
        assert mask is not None
        counts = mask if term.side == 1 else self.graph.emit("Not", [mask])
        number = self.graph.emit("Cast", [counts], {"to": term.atom.dtype})
        return number if term.factor is None else self.graph.emit("Mul", [term.factor, number])

    def _factor(self, term: Term) -> Value:
        return self.graph.constant(1, term.atom.dtype) if term.factor is None else term.factor

    def _known(self, value: Value) -> Value:
        """What no state changes: a row that is computed for all steps before the loop."""
        series = self.series.of(value)
        return value if series is None or series.shape is None or len(series.shape) != 3 else self._row(series)

    def _row(self, series: Value) -> Value:
        if id(series) not in self.arguments:
            self.arguments[id(series)] = self.loop.add_row(series)
        return self.arguments[id(series)]

    def _place(self, op_type: str, inputs: list[Value], like: Value, **attributes: int) -> Value:
        result = Value(self.body, like.dtype, like.shape)
        self.body.place(op_type, inputs, attributes, [result])
        self.varying.add(id(result))
        return result


_RULES = {
    "Add": _Steps._sum,
    "Concat": _Steps._side_by_side,
    "Identity": _Steps._same,
    "Mul": _Steps._product,
    "Where": _Steps._where,
}
