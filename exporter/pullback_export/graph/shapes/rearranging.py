"""Shapes of what moves, joins and cuts values without computing with them (ONNX operator specification)."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.dims import Shape, Size, divide, known, never_negative
from pullback_export.graph.shapes.operands import CannotInfer, Fresh, Rule, constant, dims_of
from pullback_export.graph.size_arithmetic import broadcast, maximum, minimum, product
from pullback_export.graph.values import Attributes, Operands


def _transpose(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = dims_of(operands)
    return [tuple(shape[axis] for axis in attributes.get("perm", range(len(shape))[::-1]))]


def _reshape(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, target = operands[0], operands[1]
    assert data is not None and target is not None
    if target.sizes is None:
        if target.shape is None or not isinstance(target.shape[0], int):
            raise CannotInfer
        return [tuple(fresh("reshape") for _ in range(target.shape[0]))]
    sizes: list[Size] = list(target.sizes)
    if data.shape is not None and not attributes.get("allowzero"):
        sizes = [data.shape[i] if size == 0 and i < len(data.shape) else size for i, size in enumerate(sizes)]
    if -1 in sizes:
        at = sizes.index(-1)
        rest = product(sizes[:at] + sizes[at + 1 :])
        inferred = divide(product(data.shape), rest) if data.shape is not None and rest != 0 else None
        sizes[at] = inferred if inferred is not None else fresh("reshape")
    return [tuple(sizes)]


def _expand(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, target = operands[0], operands[1]
    assert data is not None and target is not None
    if target.sizes is not None and data.shape is not None:
        return [broadcast(data.shape, tuple(target.sizes))]
    if target.shape is None or not isinstance(target.shape[0], int):
        raise CannotInfer
    return [tuple(fresh("expand") for _ in range(max(target.shape[0], data.rank)))]


def _tile(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    repeats = operands[1]
    assert repeats is not None
    if repeats.sizes is None:
        return [tuple(fresh("tile") for _ in dims_of(operands))]
    return [tuple(size * times for size, times in zip(dims_of(operands), repeats.sizes, strict=True))]


def _concat(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(dims_of(operands))
    axis = attributes["axis"] % len(shape)
    for index in range(1, len(operands)):
        other = dims_of(operands, index)
        shape = [mine if isinstance(mine, int) else its for mine, its in zip(shape, other, strict=True)]
    total: Size = 0
    for index in range(len(operands)):
        total = total + dims_of(operands, index)[axis]
    shape[axis] = total
    return [tuple(shape)]


def _split(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(dims_of(operands))
    axis = attributes.get("axis", 0) % len(shape)
    given = operands[1] if len(operands) > 1 else None
    splits = given.sizes if given is not None else None
    if splits is None and given is not None:
        splits = np.array([fresh("split") for _ in range(outputs)], object)
    elif splits is None:
        splits = np.array([shape[axis] // outputs] * outputs, object)
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in splits]


def _slice(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(dims_of(operands))
    starts, ends = operands[1], operands[2]
    assert starts is not None and ends is not None and starts.shape is not None
    count = starts.shape[0]
    axes_const = constant(operands, 3)
    axes = [int(axis) % len(shape) for axis in axes_const] if axes_const is not None else list(range(known(count)))
    steps_value = operands[4] if len(operands) > 4 else None
    for position, axis in enumerate(axes):
        step = 1 if steps_value is None else steps_value.sizes[position] if steps_value.sizes is not None else None
        if starts.sizes is None or ends.sizes is None or step is None:
            shape[axis] = fresh("slice")
        else:
            size = _slice_length(shape[axis], starts.sizes[position], ends.sizes[position], step)
            shape[axis] = fresh("slice") if size is None else size
    return [tuple(shape)]


def _slice_length(size: Size, start: Size, end: Size, step: Size) -> Size | None:
    """Rows of ``[start:end:step]``; a free size is taken to be large enough only where the slice says so."""
    if not isinstance(step, int):
        return None
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        stop = None if step < 0 and end < -size else end
        return len(range(*slice(start, stop, step).indices(size)))
    if step < 0:
        return size if step == -1 and start == -1 and isinstance(end, int) and end < -(2**31) + 2 else None
    first, last = _position(size, start), _position(size, end)
    if first is None or last is None:
        return None
    return (maximum(last - first, 0) + (step - 1)) // step


def _position(size: Size, bound: Size) -> Size | None:
    """``bound`` of a forward slice as a number from 0 to ``size``; None where its sign is not known."""
    if isinstance(bound, int):
        if bound >= 2**31 - 1:
            return size
        return minimum(bound, size) if bound >= 0 else maximum(size + bound, 0)
    return minimum(bound, size) if never_negative(bound) else None


def _pad(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, pads = list(dims_of(operands)), operands[1]
    assert pads is not None
    if pads.sizes is None:
        return [tuple(fresh("pad") for _ in shape)]
    axes_const = constant(operands, 3)
    axes = [int(a) % len(shape) for a in axes_const] if axes_const is not None else list(range(len(shape)))
    for position, axis in enumerate(axes):
        shape[axis] = shape[axis] + pads.sizes[position] + pads.sizes[len(axes) + position]
    return [tuple(shape)]


def _unsqueeze(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, axes = list(dims_of(operands)), constant(operands, 1)
    assert axes is not None
    rank = len(shape) + axes.size
    for axis in sorted(int(a) % rank for a in axes.ravel()):
        shape.insert(axis, 1)
    return [tuple(shape)]


def _squeeze(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, axes = dims_of(operands), constant(operands, 1)
    if axes is None:
        if not all(isinstance(size, int) for size in shape):
            raise CannotInfer
        return [tuple(size for size in shape if size != 1)]
    gone = {int(axis) % len(shape) for axis in axes.ravel()}
    return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]


def _gather(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, indices = dims_of(operands, 0), dims_of(operands, 1)
    axis = attributes.get("axis", 0) % len(data)
    return [data[:axis] + indices + data[axis + 1 :]]


def _gather_nd(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, indices = dims_of(operands, 0), dims_of(operands, 1)
    depth, batch = indices[-1], attributes.get("batch_dims", 0)
    if not isinstance(depth, int):
        raise CannotInfer
    return [indices[:-1] + data[batch + depth :]]


def _second(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [dims_of(operands, 1)]


RULES: dict[str, Rule] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "GatherElements": _second,
}
