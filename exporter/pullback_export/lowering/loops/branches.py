"""TensorFlow's ``If`` and ``Case`` as ONNX ``If``: both branches in one form, whatever flows out of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Shape
from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Node, Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.forms import Choice, Optional, leaves, rebuild, same_form
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.induction import inside
from pullback_export.lowering.loops.one_element import settled

Branch = Callable[[OpContext], Sequence[Any]]


def either(op: OpContext, predicate: Value, then: Branch, otherwise: Branch) -> list[Any]:
    """The flows of ``then`` where ``predicate`` holds, else those of ``otherwise``; nothing else is computed."""
    if predicate.const is not None:
        return list(then(op) if predicate.const.item() else otherwise(op))
    sides = (op.body(), op.body())
    flows: list[list[Any]] = []
    for side, branch, holds in zip(sides, (then, otherwise), (True, False), strict=True):
        side.graph.assumption = predicate, holds
        with side.graph.writing():
            flows.append(list(branch(side)))
    return _joined(op, predicate, sides, flows)


def assumed(graph: Graph, predicate: Value) -> bool | None:
    """What a predicate is known to be inside of the branches that ``graph`` lies in."""
    inner: Graph | None = graph
    while inner is not None:
        if inner.assumption is not None and inner.assumption[0] is predicate:
            return inner.assumption[1]
        inner = inner.parent
    return None


class _Join:
    """The ``If`` of one predicate, whose results are added one by one."""

    def __init__(self, op: OpContext, predicate: Value, sides: tuple[OpContext, OpContext]) -> None:
        self.op = op
        self.predicate = predicate
        self.left, self.right = sides
        self.node = Node("If", [predicate], {"then_branch": self.left.graph, "else_branch": self.right.graph})
        self.known: dict[tuple[int, int], Value] = {}

    def flow(self, left: Any, right: Any) -> Any:
        """The flow that is ``left`` or ``right``."""
        if left is right:
            return left
        with self.left.graph.writing():
            left = settled(self.left, left)
        with self.right.graph.writing():
            right = settled(self.right, right)
        if isinstance(left, Optional) and isinstance(right, Optional):
            return Optional(self.tensor(left.present, right.present, ()), self._content(left.content, right.content))
        if isinstance(left, TensorList) and isinstance(right, TensorList) and not same_form(left, right):
            left, right = _dense(self.left, left, right), _dense(self.right, right, left)
        if not same_form(left, right):
            raise self.op.unsupported(
                "the branches return different kinds of result; return tensors of one dtype and structure from both"
            )
        pairs = zip(leaves(left), leaves(right), strict=True)
        return rebuild(left, [self.tensor(a, b, _common(self.op, a, b)) for a, b in pairs])

    def _content(self, left: Any, right: Any) -> Any:
        """TensorFlow lets each branch put something of its own into an optional; only its own gradient reads it."""
        if left is None and right is None:
            return None
        if left is None:
            return self._one_sided(_placeholder(self.left, right), right, right)
        if right is None:
            return self._one_sided(left, _placeholder(self.right, left), left)
        pairs = zip(leaves(left), leaves(right), strict=False)
        if same_form(left, right) and all(a.shape is not None and a.shape == b.shape for a, b in pairs):
            return self.flow(left, right)
        then = self._one_sided(left, _placeholder(self.right, left), left)
        otherwise = self._one_sided(_placeholder(self.left, right), right, right)
        return Choice(self.predicate, then, otherwise)

    def _one_sided(self, left: Any, right: Any, real: Any) -> Any:
        """A flow that only one side computes; its shapes are those of that side."""
        then, otherwise = self.left.graph, self.right.graph
        triples = zip(leaves(left), leaves(right), leaves(real), strict=True)
        tensors = [
            self.tensor(a, b, like.shape) if inside(like, then) or inside(like, otherwise) else like
            for a, b, like in triples
        ]
        return rebuild(real, tensors)

    def tensor(self, left: Value, right: Value, shape: Shape | None) -> Value:
        then, otherwise = self.left.graph, self.right.graph
        if left is right and not inside(left, then) and not inside(right, otherwise):
            return left
        known = self._known_sizes(left, right)
        if known is not None:
            return known
        key = id(left), id(right)
        if key not in self.known:
            then.outputs = [*then.outputs, ("result", left)]
            otherwise.outputs = [*otherwise.outputs, ("result", right)]
            self.known[key] = Value(self.op.graph, left.dtype, shape, self.node)
            self.node.outputs.append(self.known[key])
        return self.known[key]

    def _known_sizes(self, left: Value, right: Value) -> Value | None:
        """Equal sizes on both sides, which are known outside."""
        graph, sizes = self.op.graph, left.sizes
        if sizes is None or right.sizes is None or sizes.shape != right.sizes.shape or (sizes != right.sizes).any():
            return None
        if not all(map(graph.knows_size, sizes.flat)):
            return None
        vector = graph.sizes_value(list(sizes.flat))
        shape = graph.constant(np.array(sizes.shape, np.int64))
        return graph.emit("Cast", [graph.emit("Reshape", [vector, shape])], {"to": left.dtype})


def _joined(op: OpContext, predicate: Value, sides: tuple[OpContext, OpContext], flows: list[list[Any]]) -> list[Any]:
    join = _Join(op, predicate, sides)
    results = [join.flow(left, right) for left, right in zip(*flows, strict=True)]
    if join.node.outputs:
        op.graph.nodes.append(join.node)
    return results


def _placeholder(op: OpContext, like: Any) -> Any:
    """Zeros in the form of a flow of the other branch; sizes that only that branch knows are 0."""
    with op.graph.writing():
        return rebuild(like, [_zeros(op, leaf) for leaf in leaves(like)])


def _zeros(op: OpContext, like: Value) -> Value:
    sizes = []
    for size in like.dims:
        sizes.append(op.sizes([size if op.graph.knows_size(size) else 0]))
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
    return tuple(a if a == b else op.graph.fresh_size("either") for a, b in zip(left.shape, right.shape, strict=True))
