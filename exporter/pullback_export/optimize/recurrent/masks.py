"""Masks of recurrent layers as lengths, which is what ONNX's operators take."""

from __future__ import annotations

import dataclasses

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value


@dataclasses.dataclass(frozen=True)
class Mask:
    """``rows`` (T, B, 1): whether a step of a row of the batch counts."""

    rows: Value

    def lengths(self, graph: Graph) -> Value:
        """``sequence_lens`` (B,): how many steps count, int32."""
        counted = graph.emit("Cast", [self.rows], {"to": np.dtype(np.int32)})
        return graph.emit("ReduceSum", [counted, graph.constant([0, 2], np.int64)], {"keepdims": 0})

    def ends_rows(self, graph: Graph) -> Value:
        """Whether lengths say all: the first step counts everywhere, and none does after one that does not.

        A length of zero is not left to ONNX Runtime, whose kernels give zeros there instead of the initial states.
        """
        off = graph.emit("Not", [self.rows])
        first = self._cut(graph, off, 0, 1)
        resumed = graph.emit("And", [self._cut(graph, self.rows, 1, 2**62), self._cut(graph, off, 0, -1)])
        wrong = graph.emit("Concat", [first, resumed], {"axis": 0})
        count = graph.emit("ReduceSum", [graph.emit("Cast", [wrong], {"to": np.dtype(np.float32)})], {"keepdims": 0})
        return graph.emit("Equal", [count, graph.constant(0, np.float32)])

    def _cut(self, graph: Graph, rows: Value, start: int, stop: int) -> Value:
        bounds = (graph.constant([item], np.int64) for item in (start, stop, 0))
        return graph.emit("Slice", [rows, *bounds])
