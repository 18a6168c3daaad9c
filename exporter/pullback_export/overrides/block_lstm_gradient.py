"""Lets tapes differentiate ``BlockLSTMV2`` in the order of its own gates.

TensorFlow registers the gradient of ``BlockLSTM`` for it (tensorflow/python/ops/rnn_grad.py), which takes the columns
of the forget gate for those of the cell. The kernel of the right one, ``BlockLSTMGradV2``, is there; nothing calls it.
"""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

from pullback_export.overrides.registered_gradient import Gradient, replaced_gradient

_INPUTS = ("seq_len_max", "x", "cs_prev", "h_prev", "w", "wci", "wcf", "wco", "b")
_OUTPUTS = ("i", "cs", "f", "o", "ci", "co", "h")


def own_gate_order() -> contextlib.AbstractContextManager[None]:
    """Within it, the gradient of ``BlockLSTMV2`` is that of the function which the operator computes."""
    from tensorflow.python.ops import rnn_grad  # noqa: F401  # registers the gradient

    return _BLOCK_LSTM_V2.active()


def _in_own_order(original: Gradient) -> Gradient:
    def gradient(op: Any, *outer: Any) -> Any:
        derivatives = dict(zip(_OUTPUTS, outer, strict=True))
        results = tf.raw_ops.BlockLSTMGradV2(
            **dict(zip(_INPUTS, op.inputs, strict=True)),
            **dict(zip(_OUTPUTS, op.outputs, strict=True)),
            cs_grad=derivatives["cs"],
            h_grad=derivatives["h"],
            use_peephole=op.get_attr("use_peephole"),
        )
        return (None, *results)

    return gradient


_BLOCK_LSTM_V2 = replaced_gradient("BlockLSTMV2", _in_own_order)
