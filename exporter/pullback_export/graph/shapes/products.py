"""Shapes of products, convolutions, poolings and transforms (ONNX operator specification)."""

from __future__ import annotations

from pullback_export.graph.dims import Shape, Size
from pullback_export.graph.shapes.operands import CannotInfer, Fresh, Rule, dims_of, unknown
from pullback_export.graph.size_arithmetic import broadcast
from pullback_export.graph.values import Attributes, Operands


def _matmul(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    left, right = dims_of(operands, 0), dims_of(operands, 1)
    batch = broadcast(left[:-2], right[:-2])
    return [batch + (left[-2:-1] if len(left) > 1 else ()) + (right[-1:] if len(right) > 1 else ())]


def _gemm(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    left, right = dims_of(operands, 0), dims_of(operands, 1)
    rows = left[1] if attributes.get("transA") else left[0]
    return [(rows, right[0] if attributes.get("transB") else right[1])]


def _einsum(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    left, right = attributes["equation"].replace(" ", "").split("->")
    sizes: dict[str, Size] = {}
    for labels, value in zip(left.split(","), operands, strict=True):
        assert value is not None
        for label, size in zip(labels, value.dims, strict=True):
            if sizes.get(label, 1) == 1 or isinstance(size, int):
                sizes[label] = size if sizes.get(label, 1) == 1 or size != 1 else sizes[label]
    return [tuple(sizes[label] for label in right)]


def _windows(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    """Conv and pooling: ``floor((size + pads - dilation*(kernel-1) - 1) / stride) + 1`` on each spatial axis."""
    shape = dims_of(operands)
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


def _conv_transpose(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape, weights = dims_of(operands), dims_of(operands, 1)
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


def _global_pool(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    shape = dims_of(operands)
    return [shape[:2] + (1,) * (len(shape) - 2)]


def _resize(fresh: Fresh, operands: Operands, attributes: Attributes, outputs: int) -> list[Shape]:
    sizes = operands[3].sizes if len(operands) > 3 and operands[3] is not None else None
    if sizes is None:
        raise CannotInfer
    return [tuple(sizes)]


RULES: dict[str, Rule] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Conv": _windows,
    "MaxPool": _windows,
    "AveragePool": _windows,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "Resize": _resize,
    "DFT": unknown,
    "Det": unknown,
}
