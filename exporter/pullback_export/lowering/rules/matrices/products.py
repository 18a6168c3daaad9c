"""Matrix products and biases."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import each, real_of
from pullback_export.lowering.numerics.matrices.batches import adjoint, transpose_matrix
from pullback_export.lowering.registry import lowers


@lowers("MatMul")
def matmul(op: OpContext, a: Any, b: Any) -> Any:
    """``op(a) @ op(b)`` of two matrices; a transposed operand is read in place by ``Gemm``, which floats have."""
    left, right = bool(op.attr("transpose_a")), bool(op.attr("transpose_b"))
    if isinstance(a, Value) and a.dtype.kind == "f" and (left or right):
        return op.Gemm(a, b, transA=int(left), transB=int(right))
    return (transpose_matrix(op, a) if left else a) @ (transpose_matrix(op, b) if right else b)


@lowers("SparseMatMul")
def sparse_matmul(op: OpContext, a: Value, b: Value) -> Value:
    """``op(a) @ op(b)`` of dense matrices which may hold many zeros: that is only a hint."""
    return op.Gemm(a, b, transA=int(op.attr("transpose_a")), transB=int(op.attr("transpose_b")))


@lowers("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matmul(op: OpContext, a: Any, b: Any) -> Any:
    """``op(a) @ op(b)`` over broadcast leading axes; ``adj_x`` and ``adj_y`` transpose and conjugate."""
    left, right = bool(op.attr("adj_x")), bool(op.attr("adj_y"))
    if isinstance(a, Value) and a.dtype.kind == "f" and a.rank == b.rank == 2 and (left or right):
        return op.Gemm(a, b, transA=int(left), transB=int(right))
    return (adjoint(op, a) if left else a) @ (adjoint(op, b) if right else b)


@lowers("BiasAdd")
def bias_add(op: OpContext, x: Value, bias: Value) -> Value:
    """``x + bias`` along the last axis, or along axis 1 for ``NCHW``."""
    if op.attr("data_format") == "NCHW":
        bias = op.reshape(bias, [*bias.dims, *[1] * (x.rank - 2)])
    return x + bias


@lowers("BiasAddV1")
def bias_add_v1(op: OpContext, x: Value, bias: Value) -> Value:
    """``x + bias`` along the last axis."""
    return x + bias


@lowers("BiasAddGrad")
def bias_add_grad(op: OpContext, dy: Value) -> Value:
    """``dy`` summed over all axes but that of the channels."""
    channel = 1 if op.attr("data_format") == "NCHW" else dy.rank - 1
    db: Value = op.ReduceSum(dy, [axis for axis in range(dy.rank) if axis != channel], keepdims=0)
    return db


@lowers("Cross")
def cross(op: OpContext, a: Value, b: Value) -> Value:
    """``c_i = a_j b_k - a_k b_j`` with (i, j, k) cyclic, along the last axis of size 3."""
    j, k = np.array([1, 2, 0]), np.array([2, 0, 1])
    aj, ak, bj, bk = (op.Gather(x, index, axis=-1) for x, index in ((a, j), (a, k), (b, j), (b, k)))
    return aj * bk - ak * bj


@lowers("TridiagonalMatMul")
def tridiagonal_matmul(op: OpContext, upper: Any, main: Any, lower: Any, x: Any) -> Any:
    """``y_i = main_i x_i + upper_i x_(i+1) + lower_i x_(i-1)``; the last ``upper`` and first ``lower`` do not count."""
    rank = real_of(x).rank

    def shifted(step: int) -> Any:
        before, after = [0] * rank, [0] * rank
        before[rank - 2], after[rank - 2] = max(-step, 0), max(step, 0)

        def move(part: Value) -> Value:
            padded = op.Pad(part, [*before, *after])
            start = max(step, 0)
            result: Value = op.Slice(padded, [start], [2**31 - 1 if start else -1], [rank - 2])
            result.refine(part.shape)
            return result

        return each(move, x)

    down, up = shifted(-1), shifted(1)
    main, upper, lower = (transpose_matrix(op, diagonal) for diagonal in (main, upper, lower))
    return main * x + upper * up + lower * down
