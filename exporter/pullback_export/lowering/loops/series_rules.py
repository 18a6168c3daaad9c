"""How an operator in the body of a loop is done for all iterations at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.operators import ELEMENTWISE, REDUCTIONS
from pullback_export.graph.values import Node, Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.loops.induction import inside


@dataclasses.dataclass(frozen=True, eq=False)
class LoopView:
    """A loop ``body`` that runs ``count`` times; ``op`` writes outside of it."""

    op: OpContext
    body: Graph
    count: Value


Rule = Callable[[LoopView, Node, list[Value | None]], "list[Value] | None"]


def rule_of(node: Node) -> Rule | None:
    if node.op_type in ELEMENTWISE:
        return _elementwise
    if node.op_type in REDUCTIONS:
        return _reduction
    return _RULES.get(node.op_type)


def _again(loop: LoopView, node: Node, operands: list[Value | None], attributes: dict[str, Any]) -> list[Value]:
    return loop.op.graph.emit_many(node.op_type, operands, attributes, len(node.outputs))


def _varies(loop: LoopView, value: Value | None) -> bool:
    return value is not None and inside(value, loop.body)


def _aligned(loop: LoopView, node: Node, operands: list[Value | None], rank: int) -> list[Value | None]:
    """Series get axes of size 1 after the first one, so that they broadcast as their elements do."""
    result: list[Value | None] = []
    for mine, rows in zip(node.inputs, operands, strict=True):
        if rows is not None and mine is not None and _varies(loop, mine) and mine.rank < rank:
            axes = list(range(1, 1 + rank - mine.rank))
            rows = loop.op.Unsqueeze(rows, axes)
        result.append(rows)
    return result


def _elementwise(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value]:
    return _again(loop, node, _aligned(loop, node, operands, node.outputs[0].rank), dict(node.attributes))


def _fixed_axes(node: Node, rank: int) -> list[int] | None:
    """Axes of the op, counted from 0; from an input where it has one, else from the attribute."""
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        constant = node.inputs[1].const
        return None if constant is None else [int(axis) % rank for axis in constant.ravel()]
    axes = node.attributes.get("axes")
    return list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]


def _reduction(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    source = node.inputs[0]
    assert source is not None
    if source.rank == 0 or (len(node.inputs) > 1 and _varies(loop, node.inputs[1])):
        return None
    axes = _fixed_axes(node, source.rank)
    if axes is None or (not axes and not node.attributes.get("noop_with_empty_axes")):
        return None
    moved = loop.op.const([axis + 1 for axis in axes], np.int64)
    return _again(loop, node, [operands[0], moved], {k: v for k, v in node.attributes.items() if k != "axes"})


def _unsqueeze(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    if _varies(loop, node.inputs[1]):
        return None
    rank = node.outputs[0].rank if node.op_type == "Unsqueeze" else node.inputs[0].rank  # type: ignore[union-attr]
    axes = _fixed_axes(node, rank)
    if axes is None:
        return None
    moved = loop.op.const([axis + 1 for axis in axes], np.int64)
    return _again(loop, node, [operands[0], moved], dict(node.attributes))


def _matmul(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    left, right = node.inputs
    assert left is not None and right is not None
    if left.rank < 2 or right.rank < 2:
        return None
    return _again(loop, node, _aligned(loop, node, operands, node.outputs[0].rank), {})


def _gemm(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """As transposes and ``MatMul``: ``Gemm`` has no leading axes."""
    op, attributes = loop.op, node.attributes
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return None
    factors = []
    for value, name in zip(operands[:2], ("transA", "transB"), strict=True):
        assert value is not None
        axes = list(range(value.rank))
        factors.append(op.transpose(value, [*axes[:-2], axes[-1], axes[-2]]) if attributes.get(name) else value)
    product = factors[0] @ factors[1]
    if len(operands) < 3 or operands[2] is None:
        return [product]
    bias, mine = operands[2], node.inputs[2]
    assert mine is not None
    if _varies(loop, mine) and mine.rank < 2:
        bias = op.Unsqueeze(bias, list(range(1, 3 - mine.rank)))
    return [product + bias]


def _moved_axis(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """Ops with one ``axis``, whose operands after the first are settings."""
    if any(_varies(loop, item) for item in node.inputs[1:]):
        return None
    rank = node.inputs[0].rank  # type: ignore[union-attr]
    default = -1 if node.op_type in ("Softmax", "LogSoftmax", "TopK") else 0
    axis = node.attributes.get("axis", default) % rank
    return _again(loop, node, operands, {**node.attributes, "axis": axis + 1})


def _concat(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """Operands that are the same in each iteration are repeated."""
    op = loop.op
    axis = node.attributes["axis"] % node.outputs[0].rank
    parts = []
    for mine, rows in zip(node.inputs, operands, strict=True):
        assert rows is not None
        if not _varies(loop, mine):
            target = op.Concat(op.Reshape(loop.count, [1]), op.shape_of(rows), axis=0)
            rows = op.Expand(op.Unsqueeze(rows, [0]), target)
        parts.append(rows)
    return _again(loop, node, list(parts), {"axis": axis + 1})


def _transpose(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value]:
    perm = node.attributes["perm"]
    return _again(loop, node, operands, {"perm": [0, *[axis + 1 for axis in perm]]})


def _reshape(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    target = node.inputs[1]
    assert target is not None
    if _varies(loop, target):
        return None
    if target.const is not None and not node.attributes.get("allowzero"):
        sizes = [0, *target.const.tolist()]
        return _again(loop, node, [operands[0], loop.op.const(sizes, np.int64)], {})
    shape = loop.op.Concat(loop.op.Reshape(loop.count, [1]), loop.op.cast(target, np.int64), axis=0)
    return _again(loop, node, [operands[0], shape], dict(node.attributes))


def _expand(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    target = node.inputs[1]
    assert target is not None
    if _varies(loop, target):
        return None
    shape = loop.op.Concat(loop.op.Reshape(loop.count, [1]), loop.op.cast(target, np.int64), axis=0)
    aligned = _aligned(loop, node, operands, node.outputs[0].rank)
    return _again(loop, node, [aligned[0], shape], {})


def _slice(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    if any(_varies(loop, item) for item in node.inputs[1:]):
        return None
    rank = node.inputs[0].rank  # type: ignore[union-attr]
    axes = node.inputs[3].const if len(node.inputs) > 3 and node.inputs[3] is not None else np.arange(rank)
    if axes is None:
        return None
    moved = loop.op.const([int(axis) % rank + 1 for axis in axes], np.int64)
    operands = operands + [None] * (4 - len(operands))
    operands[3] = moved
    return _again(loop, node, operands, {})


def _gather(loop: LoopView, node: Node, operands: list[Value | None]) -> list[Value] | None:
    """From a series at fixed places; the other way round is :meth:`SeriesFinder._rows_of`."""
    if _varies(loop, node.inputs[1]):
        return None
    axis = node.attributes.get("axis", 0) % node.inputs[0].rank  # type: ignore[union-attr]
    return _again(loop, node, operands, {"axis": axis + 1})


_RULES: dict[str, Rule] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Concat": _concat,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Expand": _expand,
    "Slice": _slice,
    "Gather": _gather,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _unsqueeze,
    **dict.fromkeys(("Split", "Softmax", "LogSoftmax", "ArgMax", "ArgMin"), _moved_axis),
}
