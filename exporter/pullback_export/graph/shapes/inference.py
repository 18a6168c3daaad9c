"""Dtype and shape of what a node returns, with free sizes kept as symbols (ONNX operator specification)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.dims import Shape, Size
from pullback_export.graph.operators import BOOLEAN, BROADCASTING, OPERATORS, REDUCTIONS
from pullback_export.graph.shapes import products, rearranging
from pullback_export.graph.shapes.operands import (
    CannotInfer,
    Fresh,
    Rule,
    constant,
    dims_of,
    unknown,
)
from pullback_export.graph.size_arithmetic import broadcast, product
from pullback_export.graph.values import Attributes, Operands, Region, Value

DType = np.dtype[Any]
Inferred = list[tuple[DType, "Shape | None"]]

_BOOL, _INT64 = np.dtype(bool), np.dtype(np.int64)


def infer(fresh: Fresh, op_type: str, operands: Operands, attributes: Attributes, outputs: int) -> Inferred:
    if op_type in ("Loop", "If", "Scan"):
        return _subgraph_outputs(fresh, op_type, attributes, outputs)
    first = next((value for value in operands if value is not None), None)
    dtype = _dtype(op_type, operands, attributes, first)
    rule = _SHAPES.get(op_type, _same)
    if any(value is not None and value.shape is None for value in operands) and op_type not in ("Reshape", "Expand"):
        return [(dtype, None)] * outputs
    try:
        shapes = rule(fresh, operands, attributes, outputs)
    except CannotInfer:
        return [(dtype, None)] * outputs
    if op_type == "TopK" or (op_type == "MaxPool" and outputs == 2):
        return [(dtype, shapes[0]), (_INT64, shapes[0])]
    if op_type in ("StringSplit", "Unique"):
        return [(dtype if index == 0 else _INT64, shape) for index, shape in enumerate(shapes)]
    return [(dtype, shape) for shape in shapes]


def knows(op_type: str) -> bool:
    """Whether there is a shape rule or a fact for the operator; the result of another is taken for the operand's."""
    return op_type in _SHAPES or op_type in OPERATORS


def _dtype(op_type: str, operands: Operands, attributes: Attributes, first: Value | None) -> DType:
    if op_type in BOOLEAN:
        return _BOOL
    if op_type in ("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression"):
        return _INT64
    if op_type in ("Cast", "EyeLike", "RandomNormal", "RandomUniform") and "to" in attributes:
        return np.dtype(attributes["to"])
    if op_type == "ConstantOfShape":
        return np.asarray(attributes.get("value", np.zeros(1, np.float32))).dtype
    if op_type == "LabelEncoder":
        values = next(key for key in attributes if key.startswith("values_"))
        return _INT64 if values == "values_int64s" else np.dtype(object if values == "values_strings" else np.float32)
    if op_type == "Where":
        assert operands[1] is not None
        return operands[1].dtype
    if op_type == "OneHot":
        assert operands[2] is not None
        return operands[2].dtype
    assert first is not None
    return first.dtype


def _same(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [dims_of(operands)] * outputs


def _broadcast(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape: Shape = ()
    for value in operands:
        assert value is not None
        shape = broadcast(shape, value.dims)
    return [shape]


def _reduce(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, axes = dims_of(operands), constant(operands, 1)
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


def _layer_norm(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """The normalised tensor, the means and the inverse deviations."""
    shape = dims_of(operands)
    first = attributes.get("axis", -1) % len(shape)
    row = (*shape[:first], *[1] * (len(shape) - first))
    return [shape, row, row][:outputs]


def _arg_reduce(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = list(dims_of(operands))
    axis = attributes.get("axis", 0) % len(shape)
    if attributes.get("keepdims", 1):
        shape[axis] = 1
    else:
        del shape[axis]
    return [tuple(shape)]


def _one_hot(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    indices, depth = list(dims_of(operands)), operands[1]
    assert depth is not None
    size: Size = fresh("depth") if depth.sizes is None else depth.sizes.ravel()[0]
    axis = attributes.get("axis", -1)
    indices.insert(axis if axis >= 0 else len(indices) + 1 + axis, size)
    return [tuple(indices)]


def _top_k(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, k = list(dims_of(operands)), operands[1]
    assert k is not None
    shape[attributes.get("axis", -1)] = fresh("k") if k.sizes is None else k.sizes.ravel()[0]
    return [tuple(shape)] * outputs


def _range(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    start, limit, delta = (value.sizes if value is not None else None for value in operands)
    if start is not None and limit is not None and delta is not None and delta.item() == 1:
        return [(limit.item() - start.item(),)]
    return [(fresh("range"),)]


def _non_zero(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [(len(dims_of(operands)), fresh("nonzero"))]


def _suppressed(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """Sample, class and box of each box that is kept."""
    return [(fresh("kept"), 3)]


def _unique(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """Values, first places, the place of each element, counts."""
    shape, found = dims_of(operands), fresh("unique")
    axis = attributes.get("axis")
    values = (found,) if axis is None else (*shape[:axis], found, *shape[axis + 1 :])
    return [values, (found,), (product(shape) if axis is None else shape[axis],), (found,)][:outputs]


def _string_split(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """As many pieces as the string with most of them has, and how many each has."""
    shape = dims_of(operands)
    return [(*shape, fresh("split")), shape][:outputs]


def _constant_of_shape(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    if operands[0] is None or operands[0].sizes is None:
        raise CannotInfer
    return [tuple(operands[0].sizes)]


def _shape(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    count = len(dims_of(operands)[attributes.get("start", 0) : attributes.get("end", len(dims_of(operands)))])
    return [(count,)]


def _scalar(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    return [()]


def _subgraph_outputs(fresh: Fresh, op_type: str, attributes: Attributes, outputs: int) -> Inferred:
    """Loop: state as the body gives it, scan outputs with a leading free size. If: from the first branch."""
    body: Region = attributes["then_branch" if op_type == "If" else "body"]
    inner = [value for _, value in body.outputs]
    if op_type == "If":
        return [(value.dtype, value.shape) for value in inner]
    inner = inner[1:]
    states = len(body.inputs) - 2
    steps = fresh("steps")
    return [
        (value.dtype, value.shape if index < states or value.shape is None else (steps, *value.shape))
        for index, value in enumerate(inner)
    ]


_SHAPES: dict[str, Rule] = {
    **rearranging.RULES,
    **products.RULES,
    **dict.fromkeys(BROADCASTING, _broadcast),
    **dict.fromkeys(REDUCTIONS, _reduce),
    "LayerNormalization": _layer_norm,
    "ArgMax": _arg_reduce,
    "ArgMin": _arg_reduce,
    "OneHot": _one_hot,
    "TopK": _top_k,
    "Range": _range,
    "NonZero": _non_zero,
    "NonMaxSuppression": _suppressed,
    "ConstantOfShape": _constant_of_shape,
    "Shape": _shape,
    "Size": _scalar,
    "Compress": unknown,
    "StringNormalizer": _same,
    "StringSplit": _string_split,
    "Unique": _unique,
}
