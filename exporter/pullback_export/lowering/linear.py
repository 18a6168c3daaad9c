"""Matrix products and biases."""

from __future__ import annotations

from typing import Any

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.graph import Value
from pullback_export.lowering.registry import lowers


@lowers("MatMul")
def matmul(op: OpContext, a: Value, b: Value) -> Value:
    """``op(a) @ op(b)`` of two matrices; a transposed operand is read in place by ``Gemm``."""
    if op.attr("transpose_a") or op.attr("transpose_b"):
        return op.Gemm(a, b, transA=int(op.attr("transpose_a")), transB=int(op.attr("transpose_b")))
    return a @ b


@lowers("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matmul(op: OpContext, a: Any, b: Any) -> Any:
    """``op(a) @ op(b)`` over broadcast leading axes; ``adj_x`` and ``adj_y`` transpose the last two axes."""
    operands = []
    for value, name in ((a, "adj_x"), (b, "adj_y")):
        axes = list(range(value.rank))
        operands.append(op.transpose(value, [*axes[:-2], axes[-1], axes[-2]]) if op.attr(name) else value)
    return operands[0] @ operands[1]


@lowers("BiasAdd")
def bias_add(op: OpContext, x: Value, bias: Value) -> Value:
    """``x + bias`` along the last axis, or along axis 1 for ``NCHW``."""
    if op.attr("data_format") == "NCHW":
        bias = op.reshape(bias, [*bias.dims, *[1] * (x.rank - 2)])
    return x + bias


@lowers("BiasAddGrad")
def bias_add_grad(op: OpContext, dy: Value) -> Value:
    """``dy`` summed over all axes but that of the channels."""
    channel = 1 if op.attr("data_format") == "NCHW" else dy.rank - 1
    return op.ReduceSum(dy, [axis for axis in range(dy.rank) if axis != channel], keepdims=0)
