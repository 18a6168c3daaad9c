"""Rewrites of one node that are always exact: each returns the value that the node would have computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback_export.graph.dims import Dim, Shape
from pullback_export.graph.operators import BROADCASTING, SAME_FOR_ONE
from pullback_export.graph.size_arithmetic import broadcast
from pullback_export.graph.values import Attributes, Operands, Region, Value
from pullback_export.optimize.local.reshapes import RESHAPING
from pullback_export.optimize.rewrite import made_by


def shrunk(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    """Drops an ``Expand``, or leading axes of size 1, before an op that broadcasts; the others fix the shape."""
    if op_type not in BROADCASTING or any(value is None or value.shape is None for value in operands):
        return None
    result = list(operands)
    changed = True
    while changed:
        changed = False
        for index, value in enumerate(result):
            source = _unbroadcast(value)
            if source is None:
                continue
            others: Shape = ()
            for at, other in enumerate(result):
                if at != index and other is not None:
                    others = broadcast(others, other.dims)
            assert value is not None
            if broadcast(others, source.dims) == broadcast(others, value.dims):
                result[index], changed = source, True
    same = all(old is new for old, new in zip(operands, result, strict=True))
    return None if same else graph.emit(op_type, result, attributes)


def _unbroadcast(value: Value | None) -> Value | None:
    """What ``value`` only repeats, or gives more axes."""
    if value is None or value.node is None or value.node.op_type not in ("Expand", "Reshape", "Unsqueeze"):
        return None
    source = value.node.inputs[0]
    if source is None or source.shape is None:
        return None
    return source if value.node.op_type == "Expand" or _leads_with_ones(value, source) else None


def _leads_with_ones(value: Value, source: Value) -> bool:
    """Whether ``value`` is ``source`` with axes of size 1 in front, which broadcasting brings anyway."""
    extra = value.rank - source.rank
    return extra > 0 and value.dims == (1,) * extra + source.dims


def simplify(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    rule = _RULES.get(op_type)
    return rule(graph, operands, attributes) if rule is not None else None


def _identity(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    return operands[0]


def _cast(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    value = operands[0]
    assert value is not None
    if value.dtype == np.dtype(attributes["to"]):
        return value
    if np.dtype(attributes["to"]) == np.int64 and value.sizes is not None and value.rank == 1 and value.const is None:
        try:  # TensorFlow's int32 shape arithmetic, read from the axes again
            return graph.sizes_value(list(value.sizes))
        except KeyError:
            return None
    return None


def _neutral(number: float, either_side: bool) -> Callable[..., Value | None]:
    """``x op number`` is ``x`` where the shape stays that of ``x``; else ``x`` expanded."""

    def rule(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
        left, right = operands
        assert left is not None and right is not None
        if right.fill == number:
            return _as_broadcast(graph, left, right)
        if either_side and left.fill == number:
            return _as_broadcast(graph, right, left)
        return None

    return rule


def _as_broadcast(graph: Region, value: Value, other: Value) -> Value | None:
    if value.shape is None or other.shape is None:
        return None
    shape = broadcast(value.shape, other.shape)
    if shape == value.shape:
        return value
    if any(isinstance(size, Dim) and size.is_undecided for size in shape):
        return None
    try:
        return graph.emit("Expand", [value, graph.sizes_value(shape)])
    except KeyError:
        return None


def _reduce(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    value = operands[0]
    axes = operands[1] if len(operands) > 1 else None
    assert value is not None
    if axes is not None and axes.const is not None and axes.const.size == 0 and attributes.get("noop_with_empty_axes"):
        return value
    if axes is None or axes.const is None or value.shape is None or axes.const.size == 0:
        return None
    if all(value.shape[int(axis)] == 1 for axis in axes.const.ravel()):
        return value if attributes.get("keepdims", 1) else graph.emit("Squeeze", [value, axes])
    return None


def _only_operand(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    return operands[0] if len(operands) == 1 else None


def _concat(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    if len(operands) == 1:
        return operands[0]
    first = operands[0]
    if first is None or first.shape is None:
        return None
    axis = attributes["axis"] % first.rank
    kept = [value for value in operands if value is not None and (value.shape is None or value.shape[axis] != 0)]
    return graph.emit("Concat", kept, attributes) if 0 < len(kept) < len(operands) else None


def _slice(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    value = operands[0]
    if value is None or value.shape is None or any(item is None or item.sizes is None for item in operands[1:]):
        return None
    starts, ends = (list(item.sizes) for item in operands[1:3] if item is not None and item.sizes is not None)
    axes = (
        operands[3].const.tolist()
        if len(operands) > 3 and operands[3] is not None and operands[3].const is not None
        else list(range(len(starts)))
    )
    steps = (
        list(operands[4].sizes)
        if len(operands) > 4 and operands[4] is not None and operands[4].sizes is not None
        else [1] * len(starts)
    )
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = value.shape[axis]
        whole = end == size or (isinstance(end, int) and (end >= 2**31 - 1 or (isinstance(size, int) and end >= size)))
        if start != 0 or step != 1 or not whole:
            return None
    return value


def _pad(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    """No padding is the tensor itself. ``axes`` are written out: ONNX Runtime's transpose optimiser ignores them."""
    value, pads = operands[0], operands[1]
    if pads is not None and pads.const is not None and not pads.const.any():
        return value
    axes = operands[3] if len(operands) > 3 else None
    if axes is None or axes.const is None or value is None or value.shape is None or pads is None:
        return None
    count, rank = axes.const.size, value.rank
    places = np.full(2 * rank, 2 * count)
    for position, axis in enumerate(axes.const.tolist()):
        places[axis % rank], places[rank + axis % rank] = position, count + position
    padded = graph.emit("Concat", [pads, graph.constant([0], pads.dtype)], {"axis": 0})
    every = graph.emit("Gather", [padded, graph.constant(places)], {"axis": 0})
    return graph.emit("Pad", [value, every, operands[2]], attributes)


def _neg(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    inner = made_by(operands[0], "Neg")
    return inner.inputs[0] if inner is not None else None


def _and(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    """``0 < y and y < c`` of a ``y`` that is not negative: a cast to bool takes half the time of the first comparison.

    The cast says for NaN that it is not 0, the other comparison that it is not below ``c``.
    """
    for above, below in (operands, operands[::-1]):
        left, right = made_by(above, "Greater"), made_by(below, "Less")
        if left is None or right is None or left.inputs[0] is not right.inputs[0]:
            continue
        y, zero = left.inputs
        if zero is not None and zero.fill == 0 and _is_not_negative(y):
            return graph.emit("And", [graph.emit("Cast", [y], {"to": np.dtype(bool)}), below])
    return None


def _is_not_negative(value: Value | None) -> bool:
    """Whether no element is below 0; NaN may be among them."""
    node = made_by(value, "Relu", "Clip")
    if node is None or node.op_type == "Relu":
        return node is not None
    least = node.inputs[1] if len(node.inputs) > 1 else None
    return least is not None and least.const is not None and least.const.size == 1 and least.const.item() >= 0


_RULES: dict[str, Callable[..., Value | None]] = {
    "Identity": _identity,
    "And": _and,
    "Cast": _cast,
    "Add": _neutral(0.0, either_side=True),
    "Sub": _neutral(0.0, either_side=False),
    "Mul": _neutral(1.0, either_side=True),
    "Div": _neutral(1.0, either_side=False),
    **RESHAPING,
    **dict.fromkeys(SAME_FOR_ONE, _reduce),
    "Concat": _concat,
    "Sum": _only_operand,
    "Max": _only_operand,
    "Min": _only_operand,
    "Slice": _slice,
    "Pad": _pad,
    "Neg": _neg,
}
