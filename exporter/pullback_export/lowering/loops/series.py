"""Work of a loop's body that needs no earlier iteration, done for all iterations at once outside of the loop.

A value that depends on the iteration only through rows of tensors from outside is a *series*: a tensor whose first axis
is the iteration. Input projections of recurrent layers, the factors of their gates' derivatives and whole mapped
functions become series; only what is truly recurrent stays in the loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.tensor_lists import count_up
from pullback_export.lowering.loops.induction import affine, inside, size_of

_ELEMENTWISE = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Mod",
    "Where",
    "Equal",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "And",
    "Or",
    "Xor",
    "Not",
    "Neg",
    "Abs",
    "Sqrt",
    "Reciprocal",
    "Exp",
    "Log",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Tanh",
    "Sigmoid",
    "Relu",
    "Elu",
    "Selu",
    "LeakyRelu",
    "Softplus",
    "Softsign",
    "Erf",
    "Clip",
    "Cast",
    "IsNaN",
    "IsInf",
    "Identity",
    "HardSigmoid",
    "HardSwish",
    "ThresholdedRelu",
    "Celu",
    "Gelu",
    "Mish",
}
_REDUCTIONS = {
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceLogSum",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """Row ``k`` of ``rows`` belongs to iteration ``k``; with ``backward`` to iteration ``count - 1 - k``."""

    rows: Value
    backward: bool


class Batcher:
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
        rule = _rule(node)
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
        lifted = rule(self, node, values)
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
            rows.shape = tuple(
                old if isinstance(old, int) else new
                for old, new in zip(rows.shape, (self.steps, *element.shape), strict=True)
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
            rows.shape = (self.steps, *data.dims[1:])
        return Series(rows, place.step == -1)


Rule = Callable[[Batcher, Node, list[Value | None]], "list[Value] | None"]


def _is_number(value: Value, number: int) -> bool:
    return value.sizes is not None and bool(value.sizes.item() == number)


def _rule(node: Node) -> Rule | None:
    if node.op_type in _ELEMENTWISE:
        return _elementwise
    if node.op_type in _REDUCTIONS:
        return _reduction
    return _RULES.get(node.op_type)


def _again(batcher: Batcher, node: Node, operands: list[Value | None], attributes: dict[str, Any]) -> list[Value]:
    return batcher.op.graph.emit_many(node.op_type, operands, attributes, len(node.outputs))


def _varies(batcher: Batcher, value: Value | None) -> bool:
    return value is not None and inside(value, batcher.body)


def _aligned(batcher: Batcher, node: Node, operands: list[Value | None], rank: int) -> list[Value | None]:
    """Series get axes of size 1 after the first one, so that they broadcast as their elements do."""
    result: list[Value | None] = []
    for mine, rows in zip(node.inputs, operands, strict=True):
        if rows is not None and mine is not None and _varies(batcher, mine) and mine.rank < rank:
            axes = list(range(1, 1 + rank - mine.rank))
            rows = batcher.op.Unsqueeze(rows, axes)
        result.append(rows)
    return result


def _elementwise(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value]:
    return _again(batcher, node, _aligned(batcher, node, operands, node.outputs[0].rank), dict(node.attributes))


def _fixed_axes(node: Node, rank: int) -> list[int] | None:
    """Axes of the op, counted from 0; from an input where it has one, else from the attribute."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        constant = node.inputs[1].const
        return None if constant is None else [int(axis) % rank for axis in constant.ravel()]
    axes = node.attributes.get("axes")
    return list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]


def _reduction(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    source = node.inputs[0]
    assert source is not None
    if source.rank == 0 or (len(node.inputs) > 1 and _varies(batcher, node.inputs[1])):
        return None
    axes = _fixed_axes(node, source.rank)
    if axes is None or (not axes and not node.attributes.get("noop_with_empty_axes")):
        return None
    moved = batcher.op.const([axis + 1 for axis in axes], np.int64)
    return _again(batcher, node, [operands[0], moved], {k: v for k, v in node.attributes.items() if k != "axes"})


def _unsqueeze(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    if _varies(batcher, node.inputs[1]):
        return None
    rank = node.outputs[0].rank if node.op_type == "Unsqueeze" else node.inputs[0].rank  # type: ignore[union-attr]
    axes = _fixed_axes(node, rank)
    if axes is None:
        return None
    moved = batcher.op.const([axis + 1 for axis in axes], np.int64)
    return _again(batcher, node, [operands[0], moved], dict(node.attributes))


def _matmul(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    left, right = node.inputs
    assert left is not None and right is not None
    if left.rank < 2 or right.rank < 2:
        return None
    return _again(batcher, node, _aligned(batcher, node, operands, node.outputs[0].rank), {})


def _gemm(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """As transposes and ``MatMul``: ``Gemm`` has no leading axes."""
    op, attributes = batcher.op, node.attributes
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return None
    factors = []
    for value, name in zip(operands[:2], ("transA", "transB"), strict=True):
        assert value is not None
        axes = list(range(value.rank))
        factors.append(op.transpose(value, [*axes[:-2], axes[-1], axes[-2]]) if attributes.get(name) else value)
    product = factors[0] @ factors[1]
    if len(operands) < 3 or operands[2] is None:
        return [product]
    bias, mine = operands[2], node.inputs[2]
    assert mine is not None
    if _varies(batcher, mine) and mine.rank < 2:
        bias = op.Unsqueeze(bias, list(range(1, 3 - mine.rank)))
    return [product + bias]


def _moved_axis(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """Ops with one ``axis``, whose operands after the first are settings."""
    if any(_varies(batcher, item) for item in node.inputs[1:]):
        return None
    rank = node.inputs[0].rank  # type: ignore[union-attr]
    default = -1 if node.op_type in ("Softmax", "LogSoftmax", "TopK") else 0
    axis = node.attributes.get("axis", default) % rank
    return _again(batcher, node, operands, {**node.attributes, "axis": axis + 1})


def _concat(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """Operands that are the same in each iteration are repeated."""
    op = batcher.op
    axis = node.attributes["axis"] % node.outputs[0].rank
    parts = []
    for mine, rows in zip(node.inputs, operands, strict=True):
        assert rows is not None
        if not _varies(batcher, mine):
            target = op.Concat(op.Reshape(batcher.count, [1]), op.shape_of(rows), axis=0)
            rows = op.Expand(op.Unsqueeze(rows, [0]), target)
        parts.append(rows)
    return _again(batcher, node, list(parts), {"axis": axis + 1})


def _transpose(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value]:
    perm = node.attributes["perm"]
    return _again(batcher, node, operands, {"perm": [0, *[axis + 1 for axis in perm]]})


def _reshape(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    target = node.inputs[1]
    assert target is not None
    if _varies(batcher, target):
        return None
    if target.const is not None and not node.attributes.get("allowzero"):
        sizes = [0, *target.const.tolist()]
        return _again(batcher, node, [operands[0], batcher.op.const(sizes, np.int64)], {})
    shape = batcher.op.Concat(batcher.op.Reshape(batcher.count, [1]), batcher.op.cast(target, np.int64), axis=0)
    return _again(batcher, node, [operands[0], shape], dict(node.attributes))


def _expand(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    target = node.inputs[1]
    assert target is not None
    if _varies(batcher, target):
        return None
    shape = batcher.op.Concat(batcher.op.Reshape(batcher.count, [1]), batcher.op.cast(target, np.int64), axis=0)
    aligned = _aligned(batcher, node, operands, node.outputs[0].rank)
    return _again(batcher, node, [aligned[0], shape], {})


def _slice(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    if any(_varies(batcher, item) for item in node.inputs[1:]):
        return None
    rank = node.inputs[0].rank  # type: ignore[union-attr]
    axes = node.inputs[3].const if len(node.inputs) > 3 and node.inputs[3] is not None else np.arange(rank)
    if axes is None:
        return None
    moved = batcher.op.const([int(axis) % rank + 1 for axis in axes], np.int64)
    operands = operands + [None] * (4 - len(operands))
    operands[3] = moved
    return _again(batcher, node, operands, {})


def _gather(batcher: Batcher, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """From a series at fixed places; the other way round is :meth:`Batcher._rows_of`."""
    if _varies(batcher, node.inputs[1]):
        return None
    axis = node.attributes.get("axis", 0) % node.inputs[0].rank  # type: ignore[union-attr]
    return _again(batcher, node, operands, {"axis": axis + 1})


_RULES: dict[str, Rule] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Concat": _concat,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Expand": _expand,
    "Slice": _slice,
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _unsqueeze,
    **dict.fromkeys(("Split", "Softmax", "LogSoftmax", "ArgMax", "ArgMin"), _moved_axis),
}
