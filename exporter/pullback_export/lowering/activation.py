"""Activation functions and their gradients (tensorflow/core/kernels/relu_op_functor.h and neighbours)."""

from __future__ import annotations

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.graph import Value
from pullback_export.lowering.registry import lowers


@lowers("Relu")
def relu(op: OpContext, x: Value) -> Value:
    """``max(x, 0)``; NaN stays NaN."""
    return op.Relu(x)


@lowers("ReluGrad")
def relu_grad(op: OpContext, dy: Value, y: Value) -> Value:
    """``dx = dy * (y > 0)``: 0 at the kink."""
    return op.mask(y > 0, dy)


@lowers("Tanh")
def tanh(op: OpContext, x: Value) -> Value:
    """``tanh(x)``."""
    return op.Tanh(x)


@lowers("TanhGrad")
def tanh_grad(op: OpContext, y: Value, dy: Value) -> Value:
    """``dx = dy * (1 - y**2)``."""
    return dy * (1 - y * y)


@lowers("Sigmoid")
def sigmoid(op: OpContext, x: Value) -> Value:
    """``1 / (1 + exp(-x))``."""
    return op.Sigmoid(x)


@lowers("SigmoidGrad")
def sigmoid_grad(op: OpContext, y: Value, dy: Value) -> Value:
    """``dx = dy * y * (1 - y)``."""
    return dy * y * (1 - y)
