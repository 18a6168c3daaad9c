"""Dtype and shape of what a node returns, with free sizes kept as symbols (ONNX operator specification)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback_export.lowering.dims import Shape, Size, broadcast, divide, maximum, minimum, product

if TYPE_CHECKING:
    from pullback_export.lowering.graph import Graph, Value

DType = np.dtype[Any]
Inferred = list[tuple[DType, "Shape | None"]]
Attributes = dict[str, Any]
Operands = Sequence["Value | None"]

RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
_BOOL, _INT64 = np.dtype(bool), np.dtype(np.int64)
_COMPARISONS = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"}
_BROADCASTING = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Mod",
    "Sum",
    "Mean",
    "PRelu",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "BitShift",
} | _COMPARISONS
_REDUCTIONS = {
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
}


class CannotInfer(Exception):
    """The shape does not follow from what is known; the result gets fresh free sizes or an unknown rank."""


def infer(graph: Graph, op_type: str, operands: Operands, attributes: Attributes, outputs: int) -> Inferred:
    if op_type in ("Loop", "If", "Scan"):
        return _subgraph_outputs(graph, op_type, attributes, outputs)
    first = next((value for value in operands if value is not None), None)
    dtype = _dtype(op_type, operands, attributes, first)
    rule = _SHAPES.get(op_type, _same)
    if any(value is not None and value.shape is None for value in operands) and op_type not in ("Reshape", "Expand"):
        return [(dtype, None)] * outputs
    try:
        shapes = rule(graph, operands, attributes, outputs)
    except CannotInfer:
        return [(dtype, None)] * outputs
    if op_type == "TopK" or (op_type == "MaxPool" and outputs == 2):
        return [(dtype, shapes[0]), (_INT64, shapes[0])]
    if op_type == "Unique":
        return [(dtype if index == 0 else _INT64, shape) for index, shape in enumerate(shapes)]
    return [(dtype, shape) for shape in shapes]


def _dtype(op_type: str, operands: Operands, attributes: Attributes, first: Value | None) -> DType:
    if op_type in _COMPARISONS or op_type in ("Not", "IsNaN", "IsInf"):
        return _BOOL
    if op_type in ("Shape", "Size", "ArgMax", "ArgMin", "NonZero"):
        return _INT64
    if op_type in ("Cast", "EyeLike", "RandomNormal", "RandomUniform") and "to" in attributes:
        return np.dtype(attributes["to"])
    if op_type == "Where":
        assert operands[1] is not None
        return operands[1].dtype
    if op_type == "OneHot":
        assert operands[2] is not None
        return operands[2].dtype
    assert first is not None
    return first.dtype


def _const(operands: Operands, index: int) -> np.ndarray[Any, Any] | None:
    value = operands[index] if index < len(operands) else None
    if value is None:
        return None
    if value.const is None:
        raise CannotInfer
    return value.const


def _dims(operands: Operands, index: int = 0) -> Shape:
    value = operands[index]
    assert value is not None
    return value.dims


def _same(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [_dims(operands)] * outputs


def _broadcast(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape: Shape = ()
    for value in operands:
        assert value is not None
        shape = broadcast(shape, value.dims)
    return [shape]


def _reduce(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, axes = _dims(operands), _const(operands, 1)
    if axes is None and "axes" in attributes:
        axes = np.asarray(attributes["axes"])
    if axes is None or axes.size == 0:
        if attributes.get("noop_with_empty_axes"):
            return [shape]
        axes = np.arange(len(shape))
    reduced = {int(axis) % len(shape) for axis in axes.ravel()} if shape else set()
    if attributes.get("keepdims", 1):
        return [tuple(1 if axis in reduced else size for axis, size in enumerate(shape))]
    return [tuple(size for axis, size in enumerate(shape) if axis not in reduced)]


def _arg_reduce(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(_dims(operands))
    axis = attributes.get("axis", 0) % len(shape)
    if attributes.get("keepdims", 1):
        shape[axis] = 1
    else:
        del shape[axis]
    return [tuple(shape)]


def _matmul(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    left, right = _dims(operands, 0), _dims(operands, 1)
    batch = broadcast(left[:-2], right[:-2])
    return [batch + (left[-2:-1] if len(left) > 1 else ()) + (right[-1:] if len(right) > 1 else ())]


def _gemm(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    left, right = _dims(operands, 0), _dims(operands, 1)
    rows = left[1] if attributes.get("transA") else left[0]
    return [(rows, right[0] if attributes.get("transB") else right[1])]


def _transpose(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = _dims(operands)
    return [tuple(shape[axis] for axis in attributes.get("perm", range(len(shape))[::-1]))]


def _reshape(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, target = operands[0], operands[1]
    assert data is not None and target is not None
    if target.sizes is None:
        if target.shape is None or not isinstance(target.shape[0], int):
            raise CannotInfer
        return [tuple(graph.fresh_size("reshape") for _ in range(target.shape[0]))]
    sizes: list[Size] = list(target.sizes)
    if data.shape is not None and not attributes.get("allowzero"):
        sizes = [data.shape[i] if size == 0 and i < len(data.shape) else size for i, size in enumerate(sizes)]
    if -1 in sizes:
        at = sizes.index(-1)
        rest = product(sizes[:at] + sizes[at + 1 :])
        inferred = divide(product(data.shape), rest) if data.shape is not None and rest != 0 else None
        sizes[at] = inferred if inferred is not None else graph.fresh_size("reshape")
    return [tuple(sizes)]


def _expand(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, target = operands[0], operands[1]
    assert data is not None and target is not None
    if target.sizes is not None and data.shape is not None:
        return [broadcast(data.shape, tuple(target.sizes))]
    if target.shape is None or not isinstance(target.shape[0], int):
        raise CannotInfer
    return [tuple(graph.fresh_size("expand") for _ in range(max(target.shape[0], data.rank)))]


def _tile(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    repeats = operands[1]
    assert repeats is not None
    if repeats.sizes is None:
        return [tuple(graph.fresh_size("tile") for _ in _dims(operands))]
    return [tuple(size * times for size, times in zip(_dims(operands), repeats.sizes, strict=True))]


def _concat(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(_dims(operands))
    axis = attributes["axis"] % len(shape)
    for index in range(1, len(operands)):
        other = _dims(operands, index)
        shape = [mine if isinstance(mine, int) else its for mine, its in zip(shape, other, strict=True)]
    total: Size = 0
    for index in range(len(operands)):
        total = total + _dims(operands, index)[axis]
    shape[axis] = total
    return [tuple(shape)]


def _slice(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(_dims(operands))
    starts, ends = operands[1], operands[2]
    assert starts is not None and ends is not None and starts.shape is not None
    count = starts.shape[0]
    axes_const = _const(operands, 3)
    axes = [int(axis) % len(shape) for axis in axes_const] if axes_const is not None else list(range(int(str(count))))
    steps_value = operands[4] if len(operands) > 4 else None
    for position, axis in enumerate(axes):
        step = 1 if steps_value is None else steps_value.sizes[position] if steps_value.sizes is not None else None
        if starts.sizes is None or ends.sizes is None or step is None:
            shape[axis] = graph.fresh_size("slice")
        else:
            size = _slice_length(shape[axis], starts.sizes[position], ends.sizes[position], step)
            shape[axis] = graph.fresh_size("slice") if size is None else size
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
    return minimum(bound, size) if maximum(bound, 0) == bound else None


def _gather(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, indices = _dims(operands, 0), _dims(operands, 1)
    axis = attributes.get("axis", 0) % len(data)
    return [data[:axis] + indices + data[axis + 1 :]]


def _gather_nd(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    data, indices = _dims(operands, 0), _dims(operands, 1)
    depth, batch = indices[-1], attributes.get("batch_dims", 0)
    if not isinstance(depth, int):
        raise CannotInfer
    return [indices[:-1] + data[batch + depth :]]


def _second(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [_dims(operands, 1)]


def _unsqueeze(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, axes = list(_dims(operands)), _const(operands, 1)
    assert axes is not None
    rank = len(shape) + axes.size
    for axis in sorted(int(a) % rank for a in axes.ravel()):
        shape.insert(axis, 1)
    return [tuple(shape)]


def _squeeze(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, axes = _dims(operands), _const(operands, 1)
    if axes is None:
        if not all(isinstance(size, int) for size in shape):
            raise CannotInfer
        return [tuple(size for size in shape if size != 1)]
    gone = {int(axis) % len(shape) for axis in axes.ravel()}
    return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]


def _pad(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, pads = list(_dims(operands)), operands[1]
    assert pads is not None
    if pads.sizes is None:
        return [tuple(graph.fresh_size("pad") for _ in shape)]
    axes_const = _const(operands, 3)
    axes = [int(a) % len(shape) for a in axes_const] if axes_const is not None else list(range(len(shape)))
    for position, axis in enumerate(axes):
        shape[axis] = shape[axis] + pads.sizes[position] + pads.sizes[len(axes) + position]
    return [tuple(shape)]


def _one_hot(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    indices, depth = list(_dims(operands)), operands[1]
    assert depth is not None
    size: Size = graph.fresh_size("depth") if depth.sizes is None else depth.sizes.ravel()[0]
    axis = attributes.get("axis", -1)
    indices.insert(axis if axis >= 0 else len(indices) + 1 + axis, size)
    return [tuple(indices)]


def _top_k(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, k = list(_dims(operands)), operands[1]
    assert k is not None
    shape[attributes.get("axis", -1)] = graph.fresh_size("k") if k.sizes is None else k.sizes.ravel()[0]
    return [tuple(shape)] * outputs


def _range(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    start, limit, delta = (value.sizes if value is not None else None for value in operands)
    if start is not None and limit is not None and delta is not None and delta.item() == 1:
        return [(limit.item() - start.item(),)]
    return [(graph.fresh_size("range"),)]


def _non_zero(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [(len(_dims(operands)), graph.fresh_size("nonzero"))]


def _unique(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """Values, first places, the place of each element, counts."""
    shape, found = _dims(operands), graph.fresh_size("unique")
    axis = attributes.get("axis")
    values = (found,) if axis is None else (*shape[:axis], found, *shape[axis + 1 :])
    return [values, (found,), (product(shape) if axis is None else shape[axis],), (found,)][:outputs]


def _split(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(_dims(operands))
    axis = attributes.get("axis", 0) % len(shape)
    given = operands[1] if len(operands) > 1 else None
    splits = given.sizes if given is not None else None
    if splits is None and given is not None:
        splits = np.array([graph.fresh_size("split") for _ in range(outputs)], object)
    elif splits is None:
        splits = np.array([shape[axis] // outputs] * outputs, object)
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in splits]


def _constant_of_shape(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    if operands[0] is None or operands[0].sizes is None:
        raise CannotInfer
    return [tuple(operands[0].sizes)]


def _einsum(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    left, right = attributes["equation"].replace(" ", "").split("->")
    sizes: dict[str, Size] = {}
    for labels, value in zip(left.split(","), operands, strict=True):
        assert value is not None
        for label, size in zip(labels, value.dims, strict=True):
            if sizes.get(label, 1) == 1 or isinstance(size, int):
                sizes[label] = size if sizes.get(label, 1) == 1 or size != 1 else sizes[label]
    return [tuple(sizes[label] for label in right)]


def _windows(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """Conv and pooling: ``floor((size + pads - dilation*(kernel-1) - 1) / stride) + 1`` on each spatial axis."""
    shape = _dims(operands)
    channels: Size = shape[1]
    if len(operands) > 1 and operands[1] is not None:
        weights = operands[1].dims
        channels, kernel = weights[0], list(weights[2:])
    else:
        kernel = list(attributes["kernel_shape"])
    count = len(shape) - 2
    strides = attributes.get("strides") or [1] * count
    dilations = attributes.get("dilations") or [1] * count
    pads = attributes.get("pads") or [0] * (2 * count)
    spatial = []
    for axis in range(count):
        if attributes.get("auto_pad") == "SAME_UPPER":
            spatial.append((shape[2 + axis] + (strides[axis] - 1)) // strides[axis])
            continue
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        room = shape[2 + axis] + (pads[axis] + pads[count + axis]) + (-reach)
        spatial.append(room // strides[axis] + 1)
    return [(shape[0], channels, *spatial)]


def _conv_transpose(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, weights = _dims(operands), _dims(operands, 1)
    count = len(shape) - 2
    strides = attributes.get("strides") or [1] * count
    dilations = attributes.get("dilations") or [1] * count
    pads = attributes.get("pads") or [0] * (2 * count)
    extra = attributes.get("output_padding") or [0] * count
    spatial: list[Size] = []
    for axis in range(count):
        reach = dilations[axis] * (weights[2 + axis] + (-1)) + 1
        grown = (shape[2 + axis] + (-1)) * strides[axis] + reach + extra[axis]
        spatial.append(grown + (-pads[axis] - pads[count + axis]))
    return [(shape[0], weights[1] * attributes.get("group", 1), *spatial)]


def _unknown(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    raise CannotInfer


def _global_pool(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = _dims(operands)
    return [shape[:2] + (1,) * (len(shape) - 2)]


def _shape(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    count = len(_dims(operands)[attributes.get("start", 0) : attributes.get("end", len(_dims(operands)))])
    return [(count,)]


def _scalar(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [()]


def _resize(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    sizes = operands[3].sizes if len(operands) > 3 and operands[3] is not None else None
    if sizes is None:
        raise CannotInfer
    return [tuple(sizes)]


def _dft(graph: Graph, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    raise CannotInfer


def _subgraph_outputs(graph: Graph, op_type: str, attributes: Attributes, outputs: int) -> Inferred:
    """Loop: state as the body gives it, scan outputs with a leading free size. If: from the first branch."""
    body: Graph = attributes["then_branch" if op_type == "If" else "body"]
    inner = [value for _, value in body.outputs]
    if op_type == "If":
        return [(value.dtype, value.shape) for value in inner]
    inner = inner[1:]
    states = len(body.inputs) - 2
    steps = graph.fresh_size("steps")
    return [
        (value.dtype, value.shape if index < states or value.shape is None else (steps, *value.shape))
        for index, value in enumerate(inner)
    ]


_SHAPES: dict[str, Callable[..., list[Shape]]] = {
    **dict.fromkeys(_BROADCASTING, _broadcast),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "Where": _broadcast,
    "ArgMax": _arg_reduce,
    "ArgMin": _arg_reduce,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Concat": _concat,
    "Slice": _slice,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "GatherElements": _second,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Pad": _pad,
    "OneHot": _one_hot,
    "TopK": _top_k,
    "Range": _range,
    "NonZero": _non_zero,
    "Split": _split,
    "ConstantOfShape": _constant_of_shape,
    "Einsum": _einsum,
    "Conv": _windows,
    "MaxPool": _windows,
    "AveragePool": _windows,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "Shape": _shape,
    "Size": _scalar,
    "Det": _unknown,
    "Resize": _resize,
    "DFT": _dft,
    "Compress": _unknown,
    "Unique": _unique,
}
