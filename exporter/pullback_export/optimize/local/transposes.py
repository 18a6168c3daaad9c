"""Moves a ``Transpose`` or ``Reshape`` behind the ops that read it, where it meets another one and both vanish.

TensorFlow's convolutions are channels last and ONNX's channels first: each would bring two transposes. Between two
convolutions there are only elementwise ops, reductions and joins, which work in any layout. What is moved is the
order of the elements in memory, never a number: every rewrite is exact for all values and sizes.
"""

from __future__ import annotations

from collections.abc import Callable

from pullback_export.graph.dims import Shape
from pullback_export.graph.operators import ELEMENTWISE, LARGEST_CONSTANT, REDUCTIONS
from pullback_export.graph.shapes import inference
from pullback_export.graph.size_arithmetic import broadcast
from pullback_export.graph.values import Attributes, Operands, Region, Value


def after_rearrangement(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    """The node's result computed in the layout of its operands' sources, then rearranged; None where it cannot be."""
    rule = _RULES.get(op_type)
    if rule is None or not operands or not any(map(_is_rearranged, operands)):
        return None
    return rule(graph, op_type, operands, attributes)


def _is_rearranged(value: Value | None) -> bool:
    return _made_by(value, "Transpose") or _made_by(value, "Reshape")


def _made_by(value: Value | None, op_type: str) -> bool:
    if value is None or value.node is None or value.node.op_type != op_type or value.dtype.kind not in "fb":
        return False
    source = value.node.inputs[0]
    return source is not None and source.const is None and source.shape is not None and value.shape is not None


def _source(value: Value) -> Value:
    assert value.node is not None and value.node.inputs[0] is not None
    return value.node.inputs[0]


def _elementwise(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    if any(value is not None and value.shape is None for value in operands):
        return None
    through = (
        _elementwise_transposed if any(_made_by(value, "Transpose") for value in operands) else _elementwise_reshaped
    )
    return through(graph, op_type, operands, attributes)


def _permutation(operands: Operands) -> list[int] | None:
    """The one permutation of all transposed operands."""
    found: list[list[int]] = [
        value.node.attributes["perm"]
        for value in operands
        if value is not None and value.node is not None and _made_by(value, "Transpose")
    ]
    return found[0] if found and all(perm == found[0] for perm in found) else None


def _elementwise_transposed(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    perm = _permutation(operands)
    if perm is None or any(value is not None and value.rank > len(perm) for value in operands):
        return None
    moved: list[Value | None] = []
    for value in operands:
        before = None if value is None else _before_transpose(graph, value, perm)
        if before is None and value is not None:
            return None
        moved.append(before)
    return graph.emit("Transpose", [graph.emit(op_type, moved, attributes)], {"perm": perm})


def _before_transpose(graph: Region, value: Value, perm: list[int]) -> Value | None:
    """The value whose transpose by ``perm`` broadcasts as ``value`` does, where it costs nothing; else None."""
    if _made_by(value, "Transpose"):
        return _source(value)
    if value.rank == 0:
        return value
    sizes: Shape = (1,) * (len(perm) - value.rank) + value.dims
    inverse = [perm.index(axis) for axis in range(len(perm))]
    moving = [axis for axis in inverse if sizes[axis] != 1]
    if value.const is None and (moving != sorted(moving) or sum(not isinstance(size, int) for size in sizes) > 1):
        return None
    if value.const is not None and value.const.size > LARGEST_CONSTANT:
        return None
    whole = graph.emit("Reshape", [value, graph.sizes_value(sizes)]) if value.rank < len(perm) else value
    return graph.emit("Transpose", [whole], {"perm": inverse})


def _elementwise_reshaped(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    first = next(value for value in operands if _made_by(value, "Reshape"))
    assert first is not None and first.node is not None
    source, shape = _source(first), first.dims
    if source.graph is not first.graph:
        return None
    kept = _equal_trailing(source.dims, shape)
    moved: list[Value | None] = []
    for value in operands:
        if (
            value is not None
            and _made_by(value, "Reshape")
            and value.dims == shape
            and _source(value).dims == source.dims
        ):
            moved.append(_source(value))
        else:
            narrow = None if value is None else _without_leading_ones(graph, value)
            if narrow is not None and (narrow.rank > kept or broadcast(shape, narrow.dims) != shape):
                return None
            moved.append(narrow)
    return graph.emit("Reshape", [graph.emit(op_type, moved, attributes), first.node.inputs[1]], first.node.attributes)


def _without_leading_ones(graph: Region, value: Value) -> Value:
    if value.const is None or value.const.size > LARGEST_CONSTANT:
        return value
    extra = next((axis for axis, size in enumerate(value.dims) if size != 1), value.rank)
    return graph.constant(value.const.reshape(value.const.shape[extra:])) if extra else value


def _equal_trailing(left: Shape, right: Shape) -> int:
    count = 0
    while count < min(len(left), len(right)) and left[-1 - count] == right[-1 - count]:
        count += 1
    return count


def _reduce(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    value, axes = operands[0], operands[1] if len(operands) > 1 else None
    if value is None or axes is None or axes.const is None or axes.const.size == 0 or not _made_by(value, "Transpose"):
        return None
    perm = _permutation([value])
    assert perm is not None
    reduced = [int(axis) % len(perm) for axis in axes.const.ravel()]
    places = sorted(perm[axis] for axis in reduced)
    total = graph.emit(op_type, [_source(value), graph.constant(places, axes.dtype)], attributes)
    if attributes.get("keepdims", 1):
        return graph.emit("Transpose", [total], {"perm": perm})
    left = [perm[axis] for axis in range(len(perm)) if axis not in reduced]
    return graph.emit("Transpose", [total], {"perm": [sorted(left).index(axis) for axis in left]}) if left else total


def _pad(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    value, pads = operands[0], operands[1]
    if len(operands) > 3 or value is None or pads is None or pads.const is None or not _made_by(value, "Transpose"):
        return None
    perm = _permutation([value])
    assert perm is not None
    rank = len(perm)
    inverse = [perm.index(axis) for axis in range(rank)]
    moved = pads.const[[*inverse, *[rank + axis for axis in inverse]]]
    padded = graph.emit("Pad", [_source(value), graph.constant(moved), *operands[2:]], attributes)
    return graph.emit("Transpose", [padded], {"perm": perm})


def _concat(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    perm = _permutation(operands)
    if perm is None or not all(_made_by(value, "Transpose") for value in operands):
        return None
    axis = perm[attributes["axis"] % len(perm)]
    sources = [_source(value) for value in operands if value is not None]
    return graph.emit("Transpose", [graph.emit("Concat", sources, {"axis": axis})], {"perm": perm})


def _slice(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    value, axes = operands[0], operands[3] if len(operands) > 3 else None
    if value is None or axes is None or axes.const is None or not _made_by(value, "Transpose"):
        return None
    perm = _permutation([value])
    assert perm is not None
    places = graph.constant([perm[int(axis) % len(perm)] for axis in axes.const], axes.dtype)
    part = graph.emit("Slice", [_source(value), *operands[1:3], places, *operands[4:]], attributes)
    return graph.emit("Transpose", [part], {"perm": perm})


def _reshape(graph: Region, op_type: str, operands: Operands, attributes: Attributes) -> Value | None:
    """Axes that are split or joined one group at a time are so before the transpose too, if a group stays together."""
    value = operands[0]
    if value is None or not _made_by(value, "Transpose") or value.shape is None:
        return None
    ((_, shape),) = inference.infer(graph.fresh_size, op_type, operands, attributes, 1)
    groups = _groups(value.dims, shape) if shape is not None and 0 not in shape else None
    if shape is None or groups is None:
        return None
    perm = value.node.attributes["perm"] if value.node is not None else []
    if any(perm[axis + 1] != perm[axis] + 1 for axes, _ in groups for axis in axes[:-1]):
        return None
    groups.sort(key=lambda group: perm[group[0][0]])
    order = [axis for _, axes in groups for axis in axes]
    sizes = [shape[axis] for axis in order]
    if sum(not isinstance(size, int) for size in sizes) > 1:
        return None
    before = graph.emit(
        "Reshape", [_source(value), graph.sizes_value([s if isinstance(s, int) else -1 for s in sizes])]
    )
    return graph.emit("Transpose", [before], {"perm": [order.index(axis) for axis in range(len(order))]})


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Axes of ``old`` and ``new`` in groups of equal size, in order; None where the shapes do not divide so."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        axes, others, left, right = [i], [j], old[i], new[j]
        while left != right:
            if isinstance(left, int) and isinstance(right, int) and left < right and i + 1 < len(old):
                i += 1
                axes, left = [*axes, i], left * old[i]
            elif isinstance(left, int) and isinstance(right, int) and left > right and j + 1 < len(new):
                j += 1
                others, right = [*others, j], right * new[j]
            else:
                return None
        i, j = i + 1, j + 1
        while j < len(new) and new[j] == 1 and (i == len(old) or old[i] != 1):
            others, j = [*others, j], j + 1
        groups.append((axes, others))
    return groups if i == len(old) and j == len(new) else None


_RULES: dict[str, Callable[[Region, str, Operands, Attributes], Value | None]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduce),
    "Pad": _pad,
    "Concat": _concat,
    "Slice": _slice,
    "Reshape": _reshape,
}
