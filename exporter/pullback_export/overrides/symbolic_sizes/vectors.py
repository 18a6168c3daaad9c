"""What a vector of sizes in a graph holds, such as the second operand of a reshape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorflow.python.framework import tensor_util

from pullback_export.overrides.symbolic_sizes.analysis import Partial, Size, Sizes

Known = Callable[[Any], Sizes | None]
# How many operators deep a vector is followed: sizes are put together from few.
_DEPTH = 12


def vector(tensor: Any, known: Known, depth: int = _DEPTH) -> Partial | None:
    """The entries of a vector of whole numbers; None where it is not made of sizes and constants."""
    op = tensor.op
    if op.type == "Const":
        values = constant(tensor)
        return values if isinstance(values, list) else None
    if op.type == "Shape":
        return known(op.inputs[0])
    if op.type == "ShapeN":
        return known(op.inputs[tensor.value_index])
    if depth == 0:
        return None
    if op.type in ("Identity", "Cast"):
        return vector(op.inputs[0], known, depth - 1)
    if op.type == "Pack" and tensor.shape.rank == 1:
        return [scalar(item, known, depth - 1) for item in op.inputs]
    if op.type == "ConcatV2":
        parts = [vector(item, known, depth - 1) for item in list(op.inputs)[:-1]]
        return None if any(part is None for part in parts) else [size for part in parts for size in part or ()]
    if op.type == "StridedSlice":
        return _slice(op, known, depth - 1)
    return None


def scalar(tensor: Any, known: Known, depth: int = _DEPTH) -> Size | None:
    """A whole number that is a size; None where it is something else."""
    op = tensor.op
    if op.type == "Const":
        value = constant(tensor)
        return value if isinstance(value, int) else None
    if depth == 0:
        return None
    if op.type in ("Identity", "Cast"):
        return scalar(op.inputs[0], known, depth - 1)
    if op.type == "StridedSlice" and op.get_attr("shrink_axis_mask") == 1:
        entries, begin = vector(op.inputs[0], known, depth - 1), constant(op.inputs[1])
        if entries is not None and isinstance(begin, list) and len(begin) == 1:
            return entries[begin[0]] if -len(entries) <= begin[0] < len(entries) else None
    return None


def constant(tensor: Any) -> Any:
    """The value of a constant of whole numbers, as a number or nested lists; None of anything else."""
    if tensor.op.type != "Const" or not tensor.dtype.is_integer:
        return None
    value = tensor_util.constant_value(tensor)
    return None if value is None else value.tolist()


def _slice(op: Any, known: Known, depth: int) -> Partial | None:
    """A part of a vector, between constants."""
    masks = {name: op.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    entries = vector(op.inputs[0], known, depth)
    begin, end, stride = (constant(item) for item in list(op.inputs)[1:])
    if entries is None or not all(isinstance(item, list) and len(item) == 1 for item in (begin, end, stride)):
        return None
    if masks["ellipsis"] or masks["new_axis"] or masks["shrink_axis"]:
        return None
    part = slice(None if masks["begin"] else begin[0], None if masks["end"] else end[0], stride[0])
    return list(entries)[part]
