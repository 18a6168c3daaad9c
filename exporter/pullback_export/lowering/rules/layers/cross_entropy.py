"""Cross entropy of logits against labels, with its gradient as second output."""

from __future__ import annotations

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import elementary
from pullback_export.lowering.registry import lowers


@lowers("SoftmaxCrossEntropyWithLogits")
def softmax_cross_entropy(op: OpContext, logits: Value, labels: Value) -> tuple[Value, Value]:
    """``-sum(labels log_softmax(logits))`` and ``softmax(logits) - labels``; either operand may be broadcast."""
    loss = -op.ReduceSum(labels * elementary.log_softmax(op, logits, -1), [-1], keepdims=0)
    return loss, op.Softmax(logits, axis=-1) - labels


@lowers("SparseSoftmaxCrossEntropyWithLogits")
def sparse_softmax_cross_entropy(op: OpContext, logits: Value, labels: Value) -> tuple[Value, Value]:
    """``-log_softmax(logits)[label]`` and ``softmax(logits) - one_hot(label)``."""
    column = op.Unsqueeze(labels, [-1])
    loss = -op.GatherElements(elementary.log_softmax(op, logits, -1), column, axis=-1)
    count = op.Squeeze(op.Shape(logits, start=-1), [0])
    classes = op.Range(op.const(0, np.int64), count, op.const(1, np.int64))
    one_hot = op.cast(op.cast(column, np.int64).equals(classes), logits.dtype)
    return op.Squeeze(loss, [-1]), op.Softmax(logits, axis=-1) - one_hot
