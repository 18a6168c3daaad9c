"""Random numbers that TensorFlow draws from a seed: with seed, shape and parameters known, they are constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.handles import as_constant
from pullback_export.lowering.registry import lowers

_REASON = (
    "it draws random numbers, whose seed, shape or parameters depend on the data: export with training=False, take the"
    " layer out, or draw the numbers outside of the function"
)


@lowers(
    "RandomIndexShuffle",
    "SobolSample",
    "StatelessMultinomial",
    "StatelessParameterizedTruncatedNormal",
    "StatelessRandomBinomial",
    "StatelessRandomGammaV2",
    "StatelessRandomGammaV3",
    "StatelessRandomGetAlg",
    "StatelessRandomGetKeyCounter",
    "StatelessRandomGetKeyCounterAlg",
    "StatelessRandomNormal",
    "StatelessRandomNormalV2",
    "StatelessRandomPoisson",
    "StatelessRandomUniform",
    "StatelessRandomUniformFullInt",
    "StatelessRandomUniformFullIntV2",
    "StatelessRandomUniformInt",
    "StatelessRandomUniformIntV2",
    "StatelessRandomUniformV2",
    "StatelessSampleDistortedBoundingBox",
    "StatelessShuffle",
    "StatelessTruncatedNormal",
    "StatelessTruncatedNormalV2",
)
def seeded(op: OpContext, *operands: Any) -> Any:
    """What TensorFlow draws now, which is what it draws at every call; each output in TensorFlow's shape and dtype."""
    arrays = [_known(op, item) for item in operands]
    definition = op.tf_op.op_def
    inferred = {item.type_attr for item in definition.input_arg}
    arguments = {
        item.name: tf.constant(array, tensor.dtype)
        for item, array, tensor in zip(definition.input_arg, arrays, op.tf_op.inputs, strict=True)
    }
    attributes = {item.name: op.tf_op.get_attr(item.name) for item in definition.attr if item.name not in inferred}
    with tf.init_scope():
        drawn = getattr(tf.raw_ops, op.type)(**arguments, **attributes)
    results = list(drawn) if len(op.tf_op.outputs) > 1 else [drawn]
    return [as_constant(op.graph, result.numpy()) for result in results]


def _known(op: OpContext, operand: Any) -> np.ndarray[Any, Any]:
    if not isinstance(operand, Value) or operand.const is None:
        raise op.unsupported(_REASON)
    return operand.const
