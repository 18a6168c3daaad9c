"""What flows along an edge of the TensorFlow graph, taken apart into the tensors in it and put together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pullback_export.graph.values import Value
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.flows.tensor_lists import TensorList

if TYPE_CHECKING:
    from pullback_export.lowering.context import OpContext


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """What an optional holds when each branch put something else into it: ``then`` where ``predicate`` holds."""

    predicate: Value
    then: Any
    otherwise: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Optional:
    """TensorFlow's optional: ``present`` is a boolean scalar; ``content`` is None where it is known to be absent."""

    present: Value
    content: Any

    def zeros_like(self, op: OpContext) -> Optional:
        """An optional that holds zeros, if this one holds anything."""
        return Optional(self.present, _zeros_like(op, self.content))

    def plus(self, op: OpContext, other: Optional) -> Optional:
        """The sum of what two optionals hold."""
        return Optional(self.present, _plus(op, self.content, other.content))


def _zeros_like(op: OpContext, content: Any) -> Any:
    if isinstance(content, Choice):
        return Choice(content.predicate, _zeros_like(op, content.then), _zeros_like(op, content.otherwise))
    if hasattr(content, "zeros_like"):
        return content.zeros_like(op)
    return rebuild(content, [op.full_like(leaf, 0) for leaf in leaves(content)])


def _plus(op: OpContext, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return left if right is None else right
    if isinstance(left, Choice) and isinstance(right, Choice) and left.predicate is right.predicate:
        return Choice(left.predicate, _plus(op, left.then, right.then), _plus(op, left.otherwise, right.otherwise))
    if isinstance(left, Choice) or isinstance(right, Choice):
        raise op.unsupported("a sum of optionals from different branches")
    return left.plus(op, right) if hasattr(left, "plus") else left + right


def leaves(flow: Any) -> list[Value]:
    """The tensors in a flow, in a fixed order; handles and None have none."""
    if isinstance(flow, Value):
        return [flow]
    if isinstance(flow, ComplexValue):
        return [flow.real, flow.imag]
    if isinstance(flow, Optional):
        return [flow.present, *leaves(flow.content)]
    if isinstance(flow, Choice):
        return [flow.predicate, *leaves(flow.then), *leaves(flow.otherwise)]
    if isinstance(flow, TensorList):
        return [flow.length, *[value for column in flow.columns for value in column.leaves()]]
    return []


def rebuild(flow: Any, values: Sequence[Value]) -> Any:
    """A flow of the same form with other tensors in it."""
    if isinstance(flow, Value):
        return values[0]
    if isinstance(flow, ComplexValue):
        return ComplexValue(*values)
    if isinstance(flow, Optional):
        return Optional(values[0], rebuild(flow.content, values[1:]))
    if isinstance(flow, Choice):
        middle = 1 + len(leaves(flow.then))
        then, otherwise = rebuild(flow.then, values[1:middle]), rebuild(flow.otherwise, values[middle:])
        return Choice(values[0], then, otherwise)
    if isinstance(flow, TensorList):
        columns, at = [], 1
        for column in flow.columns:
            width = len(column.leaves())
            columns.append(column.rebuild(values[at : at + width]))
            at += width
        return dataclasses.replace(flow, length=values[0], columns=tuple(columns))
    return flow


def map_lists(flow: Any, change: Callable[[Any], Any]) -> Any:
    """The flow with every list in it replaced by ``change`` of it."""
    if isinstance(flow, Optional):
        return Optional(flow.present, map_lists(flow.content, change))
    if isinstance(flow, Choice):
        return Choice(flow.predicate, map_lists(flow.then, change), map_lists(flow.otherwise, change))
    if isinstance(flow, Value | ComplexValue) or flow is None:
        return flow
    return change(flow) if hasattr(flow, "columns") else flow


def same_form(left: Any, right: Any) -> bool:
    """Whether two flows differ in nothing but their tensors."""
    if type(left) is not type(right):
        return False
    if isinstance(left, Optional):
        return same_form(left.content, right.content)
    if isinstance(left, Choice):
        return same_form(left.then, right.then) and same_form(left.otherwise, right.otherwise)
    if isinstance(left, TensorList):
        if len(left.columns) != len(right.columns) or not same_form(left.template, right.template):
            return False
        return all(
            type(a) is type(b) and len(a.leaves()) == len(b.leaves())
            for a, b in zip(left.columns, right.columns, strict=True)
        )
    if isinstance(left, Value):
        return bool(left.dtype == right.dtype)
    if isinstance(left, ComplexValue):
        return bool(left.real.dtype == right.real.dtype)
    return left is right
