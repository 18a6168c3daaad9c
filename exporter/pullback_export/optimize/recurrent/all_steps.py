"""What a step of a ``Scan`` computes, for all steps at once, where its states before each step are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback_export.graph.operators import BROADCASTING, UNARY
from pullback_export.graph.values import Attributes, Node, Region, Value


class AllSteps:
    """Values of a body as tensors whose first axis is the step; ``known``: those of arguments, by id."""

    def __init__(self, graph: Region, body: Region, known: dict[int, Value]) -> None:
        self.graph, self.body, self.known = graph, body, known
        self.later: dict[int, Callable[[], Value | None]] = {}
        """By the id of a value, what gives its tensor when something needs it."""
        self.computes = False
        """Whether any operator of the body was needed so far."""

    def of(self, value: Value) -> Value | None:
        """The tensor of ``value``, (steps, *shape); None where an operator is not known for all steps."""
        if id(value) in self.known:
            return self.known[id(value)]
        if id(value) in self.later:
            found = self.later[id(value)]()
            if found is not None:
                self.known[id(value)] = found
            return found
        if value.graph is not self.body:
            return value
        node = value.node
        if node is None or value.shape is None or len(value.shape) not in (0, 2):
            return None
        operands = [None if item is None else self.of(item) for item in node.inputs]
        if any(old is not None and new is None for old, new in zip(node.inputs, operands, strict=True)):
            return None
        self.computes = True
        results = self._emit(node, operands)
        if results is None:
            return None
        for mine, result in zip(node.outputs, results, strict=True):
            self.known[id(mine)] = result
        return self.known[id(value)]

    def _emit(self, node: Node, operands: list[Value | None]) -> list[Value] | None:
        if node.op_type in BROADCASTING or node.op_type in UNARY:
            return [self.graph.emit(node.op_type, operands, node.attributes)]
        if node.op_type == "Gemm":
            return self._gemm(node.attributes, operands)
        if node.op_type == "MatMul":
            return [self.graph.emit("MatMul", operands)] if self._is_outside(node, 1) else None
        if node.op_type in ("Split", "Concat"):
            if node.attributes.get("axis", 0) not in (1, -1):
                return None
            attributes = {**node.attributes, "axis": 2}
            if node.op_type == "Concat":
                return [self.graph.emit("Concat", operands, attributes)]
            return self.graph.emit_many("Split", operands, attributes, len(node.outputs))
        if node.op_type == "Slice":
            axes = operands[3] if len(operands) > 3 else None
            if axes is None or axes.const is None or [int(axis) % 2 for axis in axes.const] != [1]:
                return None
            last = self.graph.constant(np.array([2], np.int64))
            return [self.graph.emit("Slice", [*operands[:3], last, *operands[4:]])]
        return None

    def _gemm(self, attributes: Attributes, operands: list[Value | None]) -> list[Value] | None:
        left, matrix, added = [*operands, None][:3]
        numbers = [attributes.get(key, 1.0) for key in ("alpha", "beta")]
        if left is None or matrix is None or matrix.rank != 2 or numbers != [1.0, 1.0] or attributes.get("transA", 0):
            return None
        if attributes.get("transB", 0):
            matrix = self.graph.emit("Transpose", [matrix], {"perm": [1, 0]})
        product = self.graph.emit("MatMul", [left, matrix])
        return [product if added is None else self.graph.emit("Add", [product, added])]

    def _is_outside(self, node: Node, position: int) -> bool:
        value = node.inputs[position]
        return value is not None and value.graph is not self.body and value.rank == 2
