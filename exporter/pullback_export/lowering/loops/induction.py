"""Whole numbers that change by a fixed step in each iteration of a loop, and how often such a loop runs."""

from __future__ import annotations

import dataclasses

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Region, Value
from pullback_export.lowering.context import OpContext

_UNBOUNDED = 2**31 - 1
_SAME = ("Identity", "Reshape", "Squeeze", "Unsqueeze")
_FLIPPED = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual", "Greater": "Less", "GreaterOrEqual": "LessOrEqual"}
_OPPOSITE = {"Less": "GreaterOrEqual", "LessOrEqual": "Greater", "Greater": "LessOrEqual", "GreaterOrEqual": "Less"}


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """``start + step * variable``; ``start`` is an int64 scalar from outside of the loop."""

    start: Value
    step: int


def inside(value: Value, body: Region) -> bool:
    """Whether a value is made in ``body`` or in a graph inside of it."""
    graph: Region | None = value.graph
    while graph is not None:
        if graph is body:
            return value.const is None
        graph = graph.parent
    return False


def affine(op: OpContext, value: Value, variable: Value) -> Affine | None:
    """``value`` as an affine function of ``variable``, a scalar input of a loop's body."""
    body = variable.graph
    if value is variable:
        return Affine(op.const(np.int64(0)), 1)
    if value.dtype.kind not in "iu" or (value.shape is not None and any(size != 1 for size in value.shape)):
        return None
    if not inside(value, body):
        return Affine(_scalar(op, value), 0)
    node = value.node
    if node is None or value.graph is not body:
        return None
    parts = [affine(op, item, variable) for item in node.inputs if item is not None]
    if node.op_type == "Cast" or node.op_type in _SAME:
        return parts[0]
    if any(part is None for part in parts) or not parts:
        return None
    first, second = parts[0], parts[-1]
    assert first is not None and second is not None
    if node.op_type == "Neg":
        return Affine(-first.start, -first.step)
    if node.op_type == "Add":
        return Affine(first.start + second.start, first.step + second.step)
    if node.op_type == "Sub":
        return Affine(first.start - second.start, first.step - second.step)
    if node.op_type == "Mul":
        for one, factor in ((first, second), (second, first)):
            if factor.step == 0 and factor.start.const is not None:
                number = int(factor.start.const.item())
                return Affine(one.start * number, one.step * number)
    return None


def _scalar(op: OpContext, value: Value) -> Value:
    value = op.cast(value, np.int64)
    return value if value.shape == () else op.Reshape(value, np.zeros(0, np.int64))


def conjuncts(value: Value) -> list[Value]:
    """The conditions that all hold where ``value`` does."""
    node = value.node
    if node is not None and node.op_type in (*_SAME, "Cast") and node.inputs[0] is not None:
        return conjuncts(node.inputs[0]) if node.inputs[0].dtype == bool else [value]
    if node is not None and node.op_type == "And":
        return [part for item in node.inputs if item is not None for part in conjuncts(item)]
    return [value]


def iterations_while(op: OpContext, condition: Value, variable: Value) -> Value | None:
    """For how many ``variable = 0, 1, ...`` a comparison holds; None where that cannot be told in advance."""
    node, opposite = condition.node, False
    while node is not None and node.op_type == "Not" and node.inputs[0] is not None:
        node, opposite = node.inputs[0].node, not opposite
    if node is None or node.op_type not in _OPPOSITE:
        return None
    kind = _OPPOSITE[node.op_type] if opposite else node.op_type
    left, right = (affine(op, item, variable) if item is not None else None for item in node.inputs)
    if left is None or right is None:
        return None
    if left.step - right.step < 0:
        left, right, kind = right, left, _FLIPPED[kind]
    step = left.step - right.step
    if step <= 0 or kind not in ("Less", "LessOrEqual"):
        return None
    room = right.start - left.start + (1 if kind == "LessOrEqual" else 0)
    if room.const is not None:
        return op.const(np.int64(max(-(-int(room.const.item()) // step), 0)))
    if step != 1:
        room = (room + (step - 1)) / step
    return op.Max(room, 0)


def unbounded(count: Value) -> bool:
    """A limit that is only there because TensorFlow wants one."""
    return count.const is not None and int(count.const.item()) >= _UNBOUNDED


def smallest(op: OpContext, counts: list[Value]) -> Value:
    """The least of several numbers of iterations."""
    least = counts[0]
    for count in counts[1:]:
        if count is not least and not _equal(count, least):
            least = op.Min(least, count)
    return least


def _equal(a: Value, b: Value) -> bool:
    return a.sizes is not None and b.sizes is not None and bool(a.sizes.item() == b.sizes.item())


def size_of(number: Value, hint: str = "steps") -> Size:
    """A number of iterations as the size of an axis."""
    if number.sizes is None:
        number.graph.name_size(number, number.graph.fresh_size(hint))
    assert number.sizes is not None
    size: Size = number.sizes.item()
    return size
