"""What a gate of a recurrent cell sums before its activation: rows, columns of products and constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from pullback_export.graph.values import Node, Value

IsLeaf = Callable[[Value], bool]


@dataclasses.dataclass(frozen=True)
class Term:
    """Columns ``start`` to ``stop`` of ``value``, or of ``value @ matrix`` with a constant ``matrix``."""

    value: Value
    start: int
    stop: int
    matrix: Value | None = None

    @property
    def is_constant(self) -> bool:
        return self.matrix is None and self.value.const is not None


def terms_of(value: Value, is_leaf: IsLeaf) -> list[Term] | None:
    """The terms whose sum ``value`` is, along its last axis; None where it is something else.

    ``is_leaf`` says which values are not looked into.
    """
    width = value.shape[-1] if value.shape else None
    if not isinstance(width, int):
        return None
    return _terms(value, 0, width, width, is_leaf)


def columns_of(value: Value, start: int, stop: int) -> list[Term] | None:
    """The terms of some columns of a value that is not in the body of a loop."""
    width = value.shape[-1] if value.shape else None
    return _terms(value, start, stop, width, lambda item: False) if isinstance(width, int) else None


def _terms(value: Value, start: int, stop: int, width: int, is_leaf: IsLeaf) -> list[Term] | None:
    """Of ``value``, which has ``width`` columns or one for all, the columns ``start`` to ``stop``."""
    if is_leaf(value) or value.const is not None:
        size = value.shape[-1] if value.shape else 1
        if size == width:
            return [Term(value, start, stop)]
        return [Term(value, 0, 1)] if size == 1 and value.const is not None else None
    node = value.node
    rule = _RULES.get(node.op_type) if node is not None else None
    return rule(node, value, start, stop, width, is_leaf) if rule is not None and node is not None else None


def _sum(node: Node, value: Value, start: int, stop: int, width: int, is_leaf: IsLeaf) -> list[Term] | None:
    found: list[Term] = []
    for operand in node.inputs:
        part = _terms(operand, start, stop, width, is_leaf) if operand is not None else None
        if part is None:
            return None
        found += part
    return found


def _product(node: Node, value: Value, start: int, stop: int, width: int, is_leaf: IsLeaf) -> list[Term] | None:
    left, matrix, *rest = node.inputs
    plain = {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0}
    if any(node.attributes.get(key, number) != number for key, number in plain.items()):
        return None
    if left is None or matrix is None or matrix.const is None or matrix.rank != 2:
        return None
    added: list[Term] | None = []
    if rest and rest[0] is not None:
        added = _terms(rest[0], start, stop, width, is_leaf)
    return None if added is None else [Term(left, start, stop, matrix), *added]


def _same(node: Node, value: Value, start: int, stop: int, width: int, is_leaf: IsLeaf) -> list[Term] | None:
    source = node.inputs[0]
    return _terms(source, start, stop, width, is_leaf) if source is not None else None


def _part(node: Node, value: Value, start: int, stop: int, width: int, is_leaf: IsLeaf) -> list[Term] | None:
    """``Split``: the part that ``value`` is."""
    source, sizes = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if source is None or source.shape is None or sizes is None or sizes.const is None:
        return None
    whole = source.shape[-1]
    if node.attributes.get("axis", 0) % len(source.shape) != len(source.shape) - 1 or not isinstance(whole, int):
        return None
    position = next(index for index, item in enumerate(node.outputs) if item is value)
    offset = int(sizes.const[:position].sum())
    return _terms(source, offset + start, offset + stop, whole, is_leaf)


def _columns(node: Node, value: Value, start: int, stop: int, width: int, is_leaf: IsLeaf) -> list[Term] | None:
    """``Slice`` of one run of columns."""
    source, first, _, axes, *steps = [*node.inputs, None][:5] if len(node.inputs) > 3 else (None,) * 4
    step = steps[0] if steps else None
    if source is None or source.shape is None or first is None or first.const is None:
        return None
    whole, last = source.shape[-1], len(source.shape) - 1
    if axes is None or axes.const is None or [int(axis) % (last + 1) for axis in axes.const] != [last]:
        return None
    if not isinstance(whole, int) or (step is not None and (step.const is None or (step.const != 1).any())):
        return None
    offset = int(np.clip(first.const[0] + (whole if first.const[0] < 0 else 0), 0, whole))
    return _terms(source, offset + start, offset + stop, whole, is_leaf)


_RULES = {
    "Add": _sum,
    "Gemm": _product,
    "MatMul": _product,
    "Identity": _same,
    "Split": _part,
    "Slice": _columns,
}
