"""TensorFlow's ``If`` and ``Case`` as ONNX ``If``: both branches in one form, whatever flows out of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.lowering.context import OpContext
from pullback_export.lowering.dims import Shape
from pullback_export.lowering.flows import Optional, leaves, rebuild, same_form
from pullback_export.lowering.graph import Node, Value
from pullback_export.lowering.induction import inside
from pullback_export.lowering.lists import TensorList
from pullback_export.lowering.loop_lists import settled

Branch = Callable[[OpContext], Sequence[Any]]


def either(op: OpContext, predicate: Value, then: Branch, otherwise: Branch) -> list[Any]:
    """The flows of ``then`` where ``predicate`` holds, else those of ``otherwise``; nothing else is computed."""
    if predicate.const is not None:
        return list(then(op) if predicate.const.item() else otherwise(op))
    sides = (op.body(), op.body())
    flows: list[list[Any]] = []
    for side, branch in zip(sides, (then, otherwise), strict=True):
        with side.graph.writing():
            flows.append(list(branch(side)))
    return _joined(op, predicate, sides, flows)


def _joined(
    op: OpContext, predicate: Value, sides: tuple[OpContext, OpContext], flows: list[list[Any]]
) -> list[Any]:
    node = Node("If", [predicate], {"then_branch": sides[0].graph, "else_branch": sides[1].graph})
    results = []
    for left, right in zip(*flows, strict=True):
        if left is right:
            results.append(left)
            continue
        one, other, shapes = in_one_form(sides[0], left, sides[1], right)
        tensors = [
            _output(op, node, a, b, shape)
            for a, b, shape in zip(leaves(one), leaves(other), shapes, strict=True)
        ]
        results.append(rebuild(one, tensors))
    if node.outputs:
        op.graph.nodes.append(node)
    return results


def _output(op: OpContext, node: Node, left: Value, right: Value, shape: Shape | None) -> Value:
    then, otherwise = node.attributes["then_branch"], node.attributes["else_branch"]
    if left is right and not inside(left, then) and not inside(right, otherwise):
        return left
    then.outputs.append(("result", left))
    otherwise.outputs.append(("result", right))
    value = Value(op.graph, left.dtype, shape, node)
    node.outputs.append(value)
    return value


def in_one_form(
    left_op: OpContext, left: Any, right_op: OpContext, right: Any
) -> tuple[Any, Any, list[Shape | None]]:
    """Two flows that differ only in their tensors, and the shapes that these have on both sides."""
    with left_op.graph.writing():
        left = settled(left_op, left)
    with right_op.graph.writing():
        right = settled(right_op, right)
    if isinstance(left, Optional) and isinstance(right, Optional):
        return _optionals(left_op, left, right_op, right)
    if isinstance(left, TensorList) and isinstance(right, TensorList) and not same_form(left, right):
        left = _dense(left_op, left, right)
        right = _dense(right_op, right, left)
    if not same_form(left, right):
        raise left_op.unsupported("branches whose results are of different kinds")
    shapes = [_common(left_op, a, b) for a, b in zip(leaves(left), leaves(right), strict=True)]
    return left, right, shapes


def _optionals(
    left_op: OpContext, left: Optional, right_op: OpContext, right: Optional
) -> tuple[Any, Any, list[Shape | None]]:
    """Where a side has no content, zeros stand for it; the shape is that of the side that has one."""
    flag: list[Shape | None] = [()]
    if left.content is None and right.content is None:
        return left, right, flag
    if left.content is None:
        shapes = [leaf.shape for leaf in leaves(right.content)]
        return Optional(left.present, _placeholder(left_op, right.content)), right, flag + shapes
    if right.content is None:
        shapes = [leaf.shape for leaf in leaves(left.content)]
        return left, Optional(right.present, _placeholder(right_op, left.content)), flag + shapes
    one, other, shapes = in_one_form(left_op, left.content, right_op, right.content)
    return Optional(left.present, one), Optional(right.present, other), flag + shapes


def _placeholder(op: OpContext, like: Any) -> Any:
    """Zeros in the form of a flow of the other branch; sizes that only that branch knows are 0."""
    with op.graph.writing():
        return rebuild(like, [_zeros(op, leaf) for leaf in leaves(like)])


def _zeros(op: OpContext, like: Value) -> Value:
    sizes = []
    for size in like.dims:
        try:
            sizes.append(op.sizes([size]))
        except KeyError:
            sizes.append(op.const(np.zeros(1, np.int64)))
    if not sizes:
        return op.const(np.zeros((), like.dtype))
    return op.Expand(op.const(np.zeros((), like.dtype)), op.Concat(*sizes, axis=0))


def _dense(op: OpContext, mine: TensorList, other: TensorList) -> TensorList:
    with op.graph.writing():
        if mine.template is None and other.template is not None:
            dims = other.element_dims()
            mine = dataclasses.replace(mine, dims=dims)
        return mine.dense(op)


def _common(op: OpContext, left: Value, right: Value) -> Shape | None:
    if left.shape is None or right.shape is None or len(left.shape) != len(right.shape):
        return None
    return tuple(
        a if a == b else op.graph.fresh_size("either") for a, b in zip(left.shape, right.shape, strict=True)
    )
