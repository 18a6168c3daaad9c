"""Masks of recurrent layers as lengths, which is what ONNX's operators take.

Sequences end early, and a loop that sees them backwards meets the steps that do not count first: what it sees is turned
around for the operator, which then goes from the last step that counts to the first one.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value
from pullback_export.optimize.rewrite import made_by

# What stands between a mask as a layer computes it and the rows of a loop, besides the steps turned around.
_MOVED = ("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Identity")
_END = 2**62


@dataclasses.dataclass(frozen=True)
class Mask:
    """``rows`` (T, B, 1): whether a step of a row of the batch counts.

    ``late``: steps that do not count are expected before the others, and not after them.
    """

    rows: Value
    late: bool

    def lengths(self, graph: Graph) -> Value:
        """``sequence_lens`` (B,): how many steps count, int32."""
        counted = graph.emit("Cast", [self.rows], {"to": np.dtype(np.int32)})
        return graph.emit("ReduceSum", [counted, graph.constant([0, 2], np.int64)], {"keepdims": 0})

    def ends_rows(self, graph: Graph) -> Value:
        """Whether lengths say all: the first step counts everywhere, and none does after one that does not.

        Of a ``late`` mask the last step counts everywhere, and none does not after one that does.

        A length of zero is not left to ONNX Runtime, whose kernels give zeros there instead of the initial states.
        """
        off = graph.emit("Not", [self.rows])
        earlier, later = (0, -1), (1, _END)
        first = self._cut(graph, off, *((-1, _END) if self.late else (0, 1)))
        counts, stops = (earlier, later) if self.late else (later, earlier)
        resumed = graph.emit("And", [self._cut(graph, self.rows, *counts), self._cut(graph, off, *stops)])
        wrong = graph.emit("Concat", [first, resumed], {"axis": 0})
        count = graph.emit("ReduceSum", [graph.emit("Cast", [wrong], {"to": np.dtype(np.float32)})], {"keepdims": 0})
        return graph.emit("Equal", [count, graph.constant(0, np.float32)])

    def _cut(self, graph: Graph, rows: Value, start: int, stop: int) -> Value:
        bounds = (graph.constant([item], np.int64) for item in (start, stop, 0))
        return graph.emit("Slice", [rows, *bounds])


def mask_of(rows: Value) -> Mask:
    """The mask that ``rows`` are; late where the steps were turned around on their way."""
    value: Value | None = rows
    while (node := made_by(value, *_MOVED)) is not None:
        value = node.inputs[0]
    node = made_by(value, "Slice")
    steps = node.inputs[4] if node is not None and len(node.inputs) > 4 else None
    return Mask(rows, steps is not None and steps.const is not None and bool((steps.const < 0).any()))
