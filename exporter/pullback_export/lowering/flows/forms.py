"""What flows along an edge of the TensorFlow graph, taken apart into the tensors in it and put together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue


class Composite:
    """A flow with tensors in it, other than a real or complex number. Each kind says how it is taken apart."""

    def leaves(self) -> list[Value]:
        """The tensors in it, in a fixed order."""
        raise NotImplementedError

    def rebuild(self, values: Sequence[Value]) -> Any:
        """A flow of the same form with other tensors in it."""
        raise NotImplementedError

    def same_form(self, other: Any) -> bool:
        """Whether ``other``, of the same type, differs in nothing but its tensors."""
        raise NotImplementedError

    def lengths(self) -> list[bool]:
        """For each of its tensors, whether it says how much there is: a list's length, an optional's presence."""
        raise NotImplementedError

    def map_lists(self, change: Callable[[Any], Any]) -> Any:
        """The flow with every list in it replaced by ``change`` of it."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, eq=False)
class Choice(Composite):
    """What an optional holds when each branch put something else into it: ``then`` where ``predicate`` holds."""

    predicate: Value
    then: Any
    otherwise: Any

    def leaves(self) -> list[Value]:
        return [self.predicate, *leaves(self.then), *leaves(self.otherwise)]

    def rebuild(self, values: Sequence[Value]) -> Choice:
        middle = 1 + len(leaves(self.then))
        return Choice(values[0], rebuild(self.then, values[1:middle]), rebuild(self.otherwise, values[middle:]))

    def same_form(self, other: Any) -> bool:
        return same_form(self.then, other.then) and same_form(self.otherwise, other.otherwise)

    def lengths(self) -> list[bool]:
        return [True, *lengths(self.then), *lengths(self.otherwise)]

    def map_lists(self, change: Callable[[Any], Any]) -> Choice:
        return Choice(self.predicate, map_lists(self.then, change), map_lists(self.otherwise, change))


@dataclasses.dataclass(frozen=True, eq=False)
class Optional(Composite):
    """TensorFlow's optional: ``present`` is a boolean scalar; ``content`` is None where it is known to be absent."""

    present: Value
    content: Any

    def leaves(self) -> list[Value]:
        return [self.present, *leaves(self.content)]

    def rebuild(self, values: Sequence[Value]) -> Optional:
        return Optional(values[0], rebuild(self.content, values[1:]))

    def same_form(self, other: Any) -> bool:
        return same_form(self.content, other.content)

    def lengths(self) -> list[bool]:
        return [True, *lengths(self.content)]

    def map_lists(self, change: Callable[[Any], Any]) -> Optional:
        return Optional(self.present, map_lists(self.content, change))

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
        raise op.unsupported("optionals from different branches are added; add tensors instead")
    return left.plus(op, right) if hasattr(left, "plus") else left + right


def leaves(flow: Any) -> list[Value]:
    """The tensors in a flow, in a fixed order; handles and None have none."""
    if isinstance(flow, Value):
        return [flow]
    if isinstance(flow, ComplexValue):
        return [flow.real, flow.imag]
    return flow.leaves() if isinstance(flow, Composite) else []


def rebuild(flow: Any, values: Sequence[Value]) -> Any:
    """A flow of the same form with other tensors in it."""
    if isinstance(flow, Value):
        return values[0]
    if isinstance(flow, ComplexValue):
        return ComplexValue(*values)
    return flow.rebuild(values) if isinstance(flow, Composite) else flow


def lengths(flow: Any) -> list[bool]:
    """For each tensor of a flow, whether it is the length of a list or says whether something is there."""
    return flow.lengths() if isinstance(flow, Composite) else [False] * len(leaves(flow))


def map_lists(flow: Any, change: Callable[[Any], Any]) -> Any:
    """The flow with every list in it replaced by ``change`` of it."""
    if isinstance(flow, Composite):
        return flow.map_lists(change)
    return change(flow) if hasattr(flow, "columns") else flow


def same_form(left: Any, right: Any) -> bool:
    """Whether two flows differ in nothing but their tensors."""
    if type(left) is not type(right):
        return False
    if isinstance(left, Composite):
        return left.same_form(right)
    if isinstance(left, Value):
        return bool(left.dtype == right.dtype)
    if isinstance(left, ComplexValue):
        return bool(left.real.dtype == right.real.dtype)
    return left is right
