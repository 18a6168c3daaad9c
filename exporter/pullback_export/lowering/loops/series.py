"""Work of a loop's body that needs no earlier iteration, done for all iterations at once outside of the loop.

A value that depends on the iteration only through rows of tensors from outside is a *series*: a tensor whose first axis
is the iteration. Input projections of recurrent layers, the factors of their gates' derivatives and whole mapped
functions become series; only what is truly recurrent stays in the loop.
"""

from __future__ import annotations

import dataclasses

from pullback_export.graph.dims import Size
from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import count_up
from pullback_export.lowering.loops.induction import affine, inside, size_of
from pullback_export.lowering.loops.series_rules import LoopView, rule_of


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """Row ``k`` of ``rows`` belongs to iteration ``k``; with ``backward`` to iteration ``count - 1 - k``."""

    rows: Value
    backward: bool


class SeriesFinder:
    """Finds the series of a loop ``body`` that runs ``count`` times. ``op`` writes outside of the loop."""

    def __init__(self, op: OpContext, body: Graph, iteration: Value, count: Value) -> None:
        self.op = op
        self.body = body
        self.iteration = iteration
        self.count = count
        self.steps: Size = size_of(count)
        self.series: dict[Value, Series] = {iteration: Series(count_up(op, count), False)}

    def lift(self, node: Node) -> bool:
        """Does the work of ``node`` for all iterations, if that is possible."""
        if any(isinstance(item, Graph) for item in node.attributes.values()):
            return False
        operands = [item for item in node.inputs if item is not None]
        varying = [item for item in operands if inside(item, self.body)]
        if not varying or any(self.find(item) is None for item in varying):
            return False
        rule = rule_of(node)
        if rule is None or any(item.shape is None for item in [*operands, *node.outputs]):
            return False
        if node.op_type == "Gather" and node.inputs[0] is not None and not inside(node.inputs[0], self.body):
            rows = self._rows_of(node)
            if rows is None:
                return False
            self.series[node.outputs[0]] = rows
            return True
        found = [self.find(item) for item in varying]
        backward = all(item.backward for item in found if item is not None)
        values = [
            None if item is None else self.rows(item, backward) if inside(item, self.body) else item
            for item in node.inputs
        ]
        lifted = rule(LoopView(self.op, self.body, self.count), node, values)
        if lifted is None:
            return False
        for mine, result in zip(node.outputs, lifted, strict=True):
            self._set_steps(result, mine)
            self.series[mine] = Series(result, backward)
        return True

    def is_lifted(self, node: Node) -> bool:
        return all(value in self.series for value in node.outputs)

    def is_fresh(self, value: Value) -> bool:
        """Whether a value is only known inside of the iteration."""
        return inside(value, self.body) and self.find(value) is None

    def reassociate(self, node: Node) -> None:
        """``(x * a) * b`` as ``x * (a * b)``, where only ``x`` needs the loop. Sums likewise."""
        if node.op_type not in ("Mul", "Add") or node.outputs[0].dtype.kind != "f":
            return
        for position in (0, 1):
            inner, factor = node.inputs[position], node.inputs[1 - position]
            if inner is None or factor is None or not self.is_fresh(inner) or self.is_fresh(factor):
                continue
            below = inner.node
            if below is None or below.op_type != node.op_type or inner.graph is not self.body:
                continue
            fresh = [item for item in below.inputs if item is not None and self.is_fresh(item)]
            steady = [item for item in below.inputs if item is not None and not self.is_fresh(item)]
            if len(fresh) == 1 and len(steady) == 1:
                joined = self.body.emit(node.op_type, [steady[0], factor])
                if joined.node is not None and inside(joined, self.body) and not self.is_lifted(joined.node):
                    self.lift(joined.node)
                if not self.is_fresh(joined):
                    node.inputs = [fresh[0], joined]
                return

    def could_lift(self, node: Node, given: set[Value]) -> bool:
        """Whether :meth:`lift` would work once there are series of the values ``given``; writes nothing."""
        mark = self.op.graph.mark()
        for value in given:
            if value.shape is None:
                return False
            self.series[value] = Series(Value(self.op.graph, value.dtype, (self.steps, *value.shape)), False)
        possible = self.lift(node)
        for value in (*given, *node.outputs):
            self.series.pop(value, None)
        self.op.graph.rollback(mark)
        return possible

    def rows(self, value: Value, backward: bool) -> Value:
        """The series of ``value`` in iteration order, or the other way round."""
        series = self.find(value)
        if series is None:
            raise KeyError(value)
        if series.backward == backward or self.steps == 1:
            return series.rows
        return self.reversed(series.rows)

    def reversed(self, rows: Value) -> Value:
        if self.steps == 1:
            return rows
        return self.op.Slice(rows, [-1], [-(2**62)], [0], [-1])

    def find(self, value: Value) -> Series | None:
        """The series of a value, if it has one."""
        return self.series.get(value)

    def _set_steps(self, rows: Value, element: Value) -> None:
        if rows.node is not None and rows.shape is not None and element.shape is not None:
            rows.refine(
                tuple(
                    old if isinstance(old, int) else new
                    for old, new in zip(rows.shape, (self.steps, *element.shape), strict=True)
                )
            )

    def _rows_of(self, node: Node) -> Series | None:
        """The rows that ``Gather`` reads one by one from a tensor that is made outside of the loop."""
        data, index = node.inputs[0], node.inputs[1]
        assert data is not None and index is not None
        op = self.op
        place = affine(op, index, self.iteration)
        rows: Value
        if node.attributes.get("axis", 0) != 0:
            return None
        if place is None or index.shape != () or abs(place.step) != 1:
            rows = op.Gather(data, self.rows(index, False), axis=0)
            return Series(rows, False)
        first = place.start if place.step == 1 else place.start - self.count + 1
        if data.dims[0] == self.steps and _is_number(first, 0):
            rows = data
        else:
            begin, end = op.Reshape(first, [1]), op.Reshape(first + self.count, [1])
            rows = op.Slice(data, begin, end, [0])
            rows.refine((self.steps, *data.dims[1:]))
        return Series(rows, place.step == -1)


def _is_number(value: Value, number: int) -> bool:
    return value.sizes is not None and bool(value.sizes.item() == number)
