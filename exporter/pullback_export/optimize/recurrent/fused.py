"""Loops whose body is an LSTM, a GRU or a simple cell become ONNX's operator for it.

ONNX Runtime's kernels (``onnxruntime/core/providers/cpu/rnn``) take a fifth of the time of a loop at batch 1. They have
float32 only, stop the process for no rows, return anything for no steps, and lose a NaN on its way to an activation
(``clip_add_bias``): the operator stands in an ``If`` beside the loop as it was, which computes whenever the operator
would not be right; a mask becomes lengths, which say all where the steps that do not count are the last ones. What else
a derivative wants of the steps is computed for all steps at once from the hidden states: the sums of the gates are one
product, and only the states of an LSTM's cell are a loop of two operators.
"""

from __future__ import annotations

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node
from pullback_export.optimize.recurrent.cells import cell_of
from pullback_export.optimize.recurrent.loop_view import LoopView, loop_of
from pullback_export.optimize.recurrent.operator import beside_loop
from pullback_export.optimize.recurrent.recomputed import collect
from pullback_export.optimize.recurrent.weights import operands_of

# The kernel of ``RNN`` takes two thirds of the time of a loop for one row and 4 times as long for 32: its activation is
# a call for each number (``rnn.cc``). Beside it, with a free number of rows, the loop would take a fifth longer.
_MOST_ROWS_OF_RNN = 2


def fused(root: Graph) -> None:
    """Rewrites every loop of ``root`` and of the graphs inside of it that is a known cell."""
    for node in root.take_nodes():
        loop = loop_of(root, node)
        found = _as_operator(root, loop) if loop is not None else None
        if found is None:
            for body in node.bodies():
                assert isinstance(body, Graph)
                fused(body)
            root.nodes.append(node)


def _as_operator(graph: Graph, loop: LoopView) -> Node | None:
    """Writes what takes the place of the loop, if it is a known cell that the operator computes exactly."""
    values = (*loop.initial, *(rows for rows in loop.rows if rows.dtype != np.bool_))  # masks: see cells.Body
    if len(set(loop.directions)) != 1 or any(value.dtype != np.float32 or value.shape is None for value in values):
        return None
    cell = cell_of(loop.body, loop.states)
    size = loop.initial[cell.hidden].dims[-1] if cell is not None else None
    if cell is None or not isinstance(size, int) or any(value.dims[-1] != size for value in loop.initial):
        return None
    if cell.mask is not None and loop.directions[0]:  # the lowering turns the steps of masked layers around itself
        return None
    rows = loop.initial[cell.hidden].dims[0]
    if cell.operator == "RNN" and not (isinstance(rows, int) and rows <= _MOST_ROWS_OF_RNN):
        return None
    mark = graph.mark()
    operands = operands_of(graph, cell, loop.series, size)
    if operands is not None and loop.holder is loop.scan:
        collect(loop)
    found = beside_loop(graph, loop, cell, operands, size) if operands is not None else None
    if found is None:
        graph.rollback(mark)
    return found
