"""Activation functions and their gradients (tensorflow/core/kernels/relu_op_functor.h and neighbours)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.numerics import complex_elementary, elementary
from pullback_export.lowering.registry import lowers

SELU_SCALE = 1.0507009873554804934193349852946
SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


@lowers("Relu")
def relu(op: OpContext, x: Value) -> Value:
    """``max(x, 0)``; NaN stays NaN."""
    return op.Relu(x) if x.dtype.kind == "f" else op.Max(x, op.const(0, x.dtype))


@lowers("ReluGrad")
def relu_grad(op: OpContext, dy: Value, y: Value) -> Value:
    """``dx = dy * (y > 0)``: 0 at the kink."""
    return op.mask(y > 0, dy)


@lowers("Relu6")
def relu6(op: OpContext, x: Value) -> Value:
    """``min(max(x, 0), 6)``."""
    return op.Clip(x, op.const(0, x.dtype), op.const(6, x.dtype))


@lowers("Relu6Grad")
def relu6_grad(op: OpContext, dy: Value, y: Value) -> Value:
    """``dx = dy * (0 < y < 6)``: 0 at both kinks."""
    return op.mask((y > 0) & (y < 6), dy)


@lowers("LeakyRelu")
def leaky_relu(op: OpContext, x: Value) -> Value:
    """``x`` above 0, else ``alpha x``: ``max(x, alpha x)`` is much faster for float64."""
    alpha = op.attr("alpha")
    return op.Max(x, x * alpha) if x.dtype == np.float64 and 0 < alpha <= 1 else op.LeakyRelu(x, alpha=alpha)


@lowers("LeakyReluGrad")
def leaky_relu_grad(op: OpContext, dy: Value, x: Value) -> Value:
    """``dx = dy`` where ``x > 0``, else ``alpha dy``, also at the kink."""
    alpha = op.const(op.attr("alpha"), x.dtype)
    above = op.cast(x > 0, x.dtype)
    return dy * (op.Max(above, alpha) if 0 <= op.attr("alpha") <= 1 else op.Where(x > 0, op.const(1, x.dtype), alpha))


@lowers("Elu")
def elu(op: OpContext, x: Value) -> Value:
    """``x`` above 0, else ``exp(x) - 1``; ONNX Runtime's own ``Elu`` takes three times as long."""
    return op.Relu(x) + _exp_minus_1_below(op, x)


def _exp_minus_1_below(op: OpContext, x: Value) -> Value:
    return op.Exp(op.Clip(x, None, op.const(0, x.dtype))) - 1


@lowers("EluGrad")
def elu_grad(op: OpContext, dy: Value, y: Value) -> Value:
    """``dx = dy`` where ``y >= 0``, else ``dy (y + 1)``."""
    return dy * (op.Min(y, op.const(0, y.dtype)) + 1)


@lowers("Selu")
def selu(op: OpContext, x: Value) -> Value:
    """``scale x`` above 0, else ``scale alpha (exp(x) - 1)``."""
    return op.Relu(x) * SELU_SCALE + _exp_minus_1_below(op, x) * SELU_SCALE_ALPHA


@lowers("SeluGrad")
def selu_grad(op: OpContext, dy: Value, y: Value) -> Value:
    """``dx = scale dy`` where ``y >= 0``, else ``dy (y + scale alpha)``."""
    below = op.cast(y < 0, y.dtype)
    return dy * (SELU_SCALE + op.Min(y, op.const(0, y.dtype)) + below * (SELU_SCALE_ALPHA - SELU_SCALE))


@lowers("Softplus")
def softplus(op: OpContext, x: Value) -> Value:
    """``log(1 + exp(x))``."""
    return elementary.softplus(op, x)


@lowers("SoftplusGrad")
def softplus_grad(op: OpContext, dy: Value, x: Value) -> Value:
    """``dx = dy / (1 + exp(-x))``."""
    return dy * elementary.sigmoid(op, x)


@lowers("Softsign")
def softsign(op: OpContext, x: Value) -> Value:
    """``x / (1 + |x|)``."""
    return op.Softsign(x)


@lowers("SoftsignGrad")
def softsign_grad(op: OpContext, dy: Value, x: Value) -> Value:
    """``dx = dy / (1 + |x|)**2``."""
    return dy / (1 + op.Abs(x)) ** 2


@lowers("Tanh")
def tanh(op: OpContext, x: Any) -> Any:
    """``tanh(x)``."""
    return complex_elementary.tanh(op, x) if isinstance(x, ComplexValue) else op.Tanh(x)


@lowers("TanhGrad")
def tanh_grad(op: OpContext, y: Any, dy: Any) -> Any:
    """``dx = dy * (1 - y**2)``; of a complex ``y`` TensorFlow passes the conjugate."""
    return dy * (1 - y * y)


@lowers("Sigmoid")
def sigmoid(op: OpContext, x: Any) -> Any:
    """``1 / (1 + exp(-x))``, to the last digit where something divides by it or takes its logarithm.

    Also next to a Softplus: the sigmoid is then its derivative, and the quotient of the two matters.
    """
    if isinstance(x, ComplexValue):
        return complex_elementary.sigmoid(op, x)
    return elementary.sigmoid(op, x, exact=op.magnified() or op.shares_input_with("Softplus"))


@lowers("SigmoidGrad")
def sigmoid_grad(op: OpContext, y: Any, dy: Any) -> Any:
    """``dx = dy * y * (1 - y)``; of a complex ``y`` TensorFlow passes the conjugate."""
    return dy * y * (1 - y)


@lowers("Softmax")
def softmax(op: OpContext, x: Value) -> Value:
    """``exp(x) / sum(exp(x))`` over the last axis."""
    return op.Softmax(x, axis=-1)


@lowers("LogSoftmax")
def log_softmax(op: OpContext, x: Value) -> Value:
    """``x - log(sum(exp(x)))`` over the last axis."""
    return elementary.log_softmax(op, x, -1)


@lowers("L2Loss")
def l2_loss(op: OpContext, x: Value) -> Value:
    """``sum(x**2) / 2``; 0 for an empty tensor."""
    return op.ReduceSum(x * x, keepdims=0) * 0.5
