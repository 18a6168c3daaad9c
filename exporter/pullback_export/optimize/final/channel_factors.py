"""Constants for each channel, as BatchNormalization leaves them, in the convolution in front of them or as one.

ONNX Runtime folds such constants itself where they follow a convolution directly
(onnxruntime/core/optimizer/conv_mul_fusion.cc, conv_add_fusion.cc): what is done here are the places it does not see.
Results may change in the last place.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.bounds import largest
from pullback_export.graph.operators import LARGEST_SCALE
from pullback_export.graph.values import Array, Node, Region, Value
from pullback_export.optimize.rewrite import made_by, only_reader, other_operand

_BLOCK = 16  # channels of the widest blocks there are
_LARGEST = 1e30  # of a kernel that a factor joins


def factor_before_mask(graph: Region, node: Node) -> Value | None:
    """``(conv(x, w) * m) * c``, with a constant ``c`` for each channel, as ``conv(x, w * c) * m``.

    So BatchNormalization's factor passes the mask of relu and joins the kernel: one product less in each call.
    """
    if node.op_type != "Mul" or node.outputs[0].dtype != np.float32:
        return None
    for product, other in other_operand(node):
        factor, masked = _per_channel(other), made_by(product, "Mul")
        if factor is None or masked is None or only_reader(product) is not node:
            continue
        for value, mask in other_operand(masked):
            conv = made_by(value, "Conv")
            if conv is None or only_reader(value) is not masked or value.shape != node.outputs[0].shape:
                continue
            kernel = conv.inputs[1]
            if len(conv.inputs) == 2 and kernel is not None and _may_join(kernel, factor):
                column = graph.constant(factor.reshape(-1, *[1] * (kernel.rank - 1)))
                scaled = graph.emit("Mul", [kernel, column])
                return graph.emit("Mul", [graph.emit("Conv", [conv.inputs[0], scaled], conv.attributes), mask])
    return None


def affine_channels(graph: Region, node: Node) -> Value | None:
    """``x * c + b``, with constants for each channel, of joined or pooled channels ``x``, as one ``Conv``.

    BatchNormalization in front of a convolution, as in DenseNet. ONNX Runtime keeps such a product in blocks of
    channels, but leaves them for the sum (onnxruntime/core/optimizer/nchwc_transformer.cc); a convolution with one 1x1
    kernel for each channel stays in them, and takes the relu behind it along.
    """
    if node.op_type != "Add" or node.outputs[0].dtype != np.float32:
        return None
    for product, bias in other_operand(node):
        offset, scaled = _per_channel(bias), made_by(product, "Mul")
        if offset is None or scaled is None or only_reader(product) is not node:
            continue
        for x, scale in other_operand(scaled):
            factor = _per_channel(scale)
            if factor is None or factor.size != offset.size or not _is_joined(x, factor.size):
                continue
            kernel = graph.constant(factor.reshape(-1, 1, 1, 1))
            return graph.emit("Conv", [x, kernel, graph.constant(offset.reshape(-1))], {"group": factor.size})
    return None


def _per_channel(value: Value) -> Array | None:
    """A constant of shape ``(1, C, 1, 1)``."""
    if value.const is None or value.rank != 4 or value.const.size < 2 or value.const.size != value.const.shape[1]:
        return None
    return value.const


def _is_joined(value: Value, channels: int) -> bool:
    """Whether these are images in whole blocks of channels from an operator that ONNX Runtime may have in blocks."""
    if made_by(value, "Concat", "MaxPool", "AveragePool") is None or value.shape is None or value.rank != 4:
        return False
    return value.dims[1] == channels and channels % _BLOCK == 0 and value.shape[2:] != (1, 1)


def _may_join(kernel: Value, factor: Array) -> bool:
    size = largest(kernel)
    return (
        size is not None
        and kernel.dims[0] == factor.size
        and bool(np.isfinite(factor).all())
        and size * float(np.abs(factor).max()) < _LARGEST
        and float(np.abs(factor).min()) > 1 / LARGEST_SCALE
    )
