"""Nodes that only give a tensor another shape: none where it stays, one ``Reshape`` where it does in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import divide
from pullback_export.graph.shapes import inference
from pullback_export.graph.size_arithmetic import broadcast, product
from pullback_export.graph.values import Attributes, Operands, Region, Value


def _transpose(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    value, perm = operands[0], attributes.get("perm")
    assert value is not None
    if value.shape is None:
        return None
    if perm is None:  # written out, as later rewrites want to read it
        return graph.emit("Transpose", [value], {**attributes, "perm": list(range(value.rank))[::-1]})
    perm = list(perm)
    if perm == sorted(perm):
        return value
    if value.node is not None and value.node.op_type == "Transpose" and value.node.inputs[0] is not None:
        inner = value.node.attributes["perm"]
        return graph.emit("Transpose", [value.node.inputs[0]], {"perm": [inner[axis] for axis in perm]})
    moving = [axis for axis in perm if value.shape[axis] != 1]
    if moving == sorted(moving):  # only axes of size 1 move: the memory stays as it is
        sizes = [value.shape[axis] for axis in perm]
        if sum(not isinstance(size, int) for size in sizes) <= 1:
            target = _reshape_target(graph, value, sizes)
            return graph.emit("Reshape", [value, target]) if target is not None else None
    return None


def _reshape_target(graph: Region, value: Value, sizes: Sequence[Any]) -> Value | None:
    """The constant target shape, if one can say it with 0 (copy) or else a single -1 (infer).

    Not with both: where a copied size is 0, the other one cannot be inferred.
    """
    if 0 in sizes or value.shape is None:
        return None
    free = [axis for axis, size in enumerate(sizes) if not isinstance(size, int)]
    if all(axis < len(value.shape) and value.shape[axis] == sizes[axis] for axis in free):
        return graph.constant(np.array([size if isinstance(size, int) else 0 for size in sizes], np.int64))
    if len(free) == 1:
        return graph.constant(np.array([size if isinstance(size, int) else -1 for size in sizes], np.int64))
    return None


def _reshape(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    value, target = operands[0], operands[1]
    assert value is not None and target is not None
    if target.sizes is None or value.shape is None:
        return None
    exact = bool(attributes.get("allowzero"))
    sizes = list(target.sizes)
    if 0 in sizes and not exact:
        sizes = [value.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    if -1 in sizes and 0 not in sizes:
        at = sizes.index(-1)
        inferred = divide(product(value.shape), product(sizes[:at] + sizes[at + 1 :]))
        sizes[at] = -1 if inferred is None else inferred
    if tuple(sizes) == value.shape:
        return value
    if -1 in sizes:
        return None
    if value.node is not None and value.node.op_type == "Reshape" and value.node.inputs[0] is not None:
        source = value.node.inputs[0]
        if source.shape == tuple(sizes):
            return source
        through = _reshape_target(graph, source, sizes)
        if through is not None:
            return graph.emit("Reshape", [source, through])
    constant = _reshape_target(graph, value, sizes)
    risky = sum(1 for size in target.sizes if not isinstance(size, int) or size in (0, -1)) > 1
    if constant is not None and (target.const is None or exact or risky):
        return graph.emit("Reshape", [value, constant]) if constant is not target or exact else None
    if constant is None and (target.const is None or risky) and not exact:  # a free size may turn out to be 0
        known = target if sizes == list(target.sizes) else graph.sizes_value(sizes)
        return graph.emit("Reshape", [value, known], {"allowzero": 1})
    return None


def _expand(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    value, target = operands[0], operands[1]
    assert value is not None and target is not None
    if target.sizes is None or value.shape is None:
        return None
    shape = broadcast(value.shape, tuple(target.sizes))
    if shape == value.shape:
        return value
    emptied = _emptied_axes(value, target)
    if emptied:
        none, axes = graph.constant([0] * len(emptied), np.int64), graph.constant(emptied, np.int64)
        return graph.emit("Expand", [graph.emit("Slice", [value, none, none, axes]), target])
    if value.node is not None and value.node.op_type == "Expand" and value.node.inputs[0] is not None:
        source = value.node.inputs[0]
        if source.shape is not None and broadcast(source.shape, tuple(target.sizes)) == shape:
            return graph.emit("Expand", [source, target])
    return None


def _emptied_axes(value: Value, target: Value) -> list[int]:
    """The axes, counted from the end, that a constant ``target`` shortens from 1 to 0; they have to be cut before.

    ONNX Runtime 1.32 drops such an Expand as if it changed nothing (``ExpandElimination``: 0 is not above 1).
    """
    if target.const is None:
        return []
    sizes = dict(zip(range(-1, -value.rank - 1, -1), reversed(value.dims), strict=True))
    return [axis for axis, size in sizes.items() if -axis <= target.const.size and target.const[axis] == 0 != size]


def _tile(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    """Repeating axes of size 1 is an Expand, which later ops may drop."""
    value, repeats = operands[0], operands[1]
    assert value is not None and repeats is not None
    if repeats.sizes is None or value.shape is None:
        return None
    counts = list(repeats.sizes)
    if all(isinstance(count, int) and count == 1 for count in counts):
        return value
    if all(
        size == 1 or (isinstance(count, int) and count == 1) for size, count in zip(value.shape, counts, strict=True)
    ):
        return graph.emit("Expand", [value, repeats])
    return None


def _axes_as_reshape(op_type: str) -> Callable[..., Value | None]:
    """Squeeze and Unsqueeze as Reshape where that is a constant: neighbours then merge."""

    def rule(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
        value = operands[0]
        if value is None or value.shape is None:
            return None
        ((_, shape),) = inference.infer(graph.fresh_size, op_type, operands, attributes, 1)
        if shape is None or sum(not isinstance(size, int) for size in shape) > 1 or not shape:
            return None
        target = _reshape_target(graph, value, shape)
        return graph.emit("Reshape", [value, target]) if target is not None else None

    return rule


def _only_one(graph: Region, operands: Operands, attributes: Attributes) -> Value | None:
    """The only element of an axis: the last step of a list of one, for example."""
    value, index = operands[0], operands[1]
    if value is None or value.shape is None or index is None or index.const is None or index.const.shape != ():
        return None
    axis = attributes.get("axis", 0) % len(value.shape)
    if value.shape[axis] != 1 or int(index.const) not in (0, -1):
        return None
    return graph.emit("Squeeze", [value, graph.constant([axis], np.int64)])


RESHAPING: dict[str, Callable[..., Value | None]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Gather": _only_one,
    "Squeeze": _axes_as_reshape("Squeeze"),
    "Unsqueeze": _axes_as_reshape("Unsqueeze"),
}
