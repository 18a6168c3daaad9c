"""Operators whose TensorFlow kernel ends the process, instead of raising, at sizes that it cannot take.

Sizes that the caller did not give are not tried on a model that has one: no exception tells that they do not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Real Fourier transforms abort at a length of zero (TensorFlow 2.21, ``tf.signal.irfft`` of one frequency); a length
# that is a constant is no question of the input.
_FOURIER = frozenset({"RFFT", "RFFT2D", "RFFT3D", "IRFFT", "IRFFT2D", "IRFFT3D"})
# These slice ``x`` up to ``seq_len_max`` and by the batch of the states, and check neither (``Tensor::Slice``).
_BLOCKS = frozenset({"BlockLSTM", "BlockLSTMV2", "BlockLSTMGrad", "BlockLSTMGradV2"})


def aborting_kernel(graph: Any) -> str:
    """The type of such an operator in a ``tf.Graph`` and the functions that it calls; empty where there is none."""
    definition = graph.as_graph_def()
    bodies = [definition.node, *(function.node_def for function in definition.library.function)]
    return next((op_type for nodes in bodies for op_type in _of_nodes(nodes)), "")


def _of_nodes(nodes: Any) -> Iterator[str]:
    constants = {node.name for node in nodes if node.op == "Const"}
    for node in nodes:
        if node.op in _BLOCKS or (node.op in _FOURIER and node.input[1].split(":")[0] not in constants):
            yield node.op
