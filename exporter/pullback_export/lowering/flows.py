"""What flows along an edge of the TensorFlow graph, taken apart into the tensors in it and put together again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from pullback_export.lowering.complex import ComplexValue
from pullback_export.lowering.graph import Value
from pullback_export.lowering.lists import TensorList


@dataclasses.dataclass(frozen=True, eq=False)
class Optional:
    """TensorFlow's optional: ``present`` is a boolean scalar; ``content`` is None where it is known to be absent."""

    present: Value
    content: Any


def leaves(flow: Any) -> list[Value]:
    """The tensors in a flow, in a fixed order; handles and None have none."""
    if isinstance(flow, Value):
        return [flow]
    if isinstance(flow, ComplexValue):
        return [flow.real, flow.imag]
    if isinstance(flow, Optional):
        return [flow.present, *leaves(flow.content)]
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
    if isinstance(flow, Value | ComplexValue) or flow is None:
        return flow
    return change(flow) if hasattr(flow, "columns") else flow


def same_form(left: Any, right: Any) -> bool:
    """Whether two flows differ in nothing but their tensors."""
    if type(left) is not type(right):
        return False
    if isinstance(left, Optional):
        return same_form(left.content, right.content)
    if isinstance(left, TensorList):
        if len(left.columns) != len(right.columns) or not same_form(left.template, right.template):
            return False
        return all(
            type(a) is type(b) and len(a.leaves()) == len(b.leaves())
            for a, b in zip(left.columns, right.columns, strict=True)
        )
    if isinstance(left, Value):
        return left.dtype == right.dtype
    if isinstance(left, ComplexValue):
        return left.real.dtype == right.real.dtype
    return left is right
