"""Lists of zeros but for one element, and lists as plain ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.forms import Choice, Optional
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.demotion import ListVariable


@dataclasses.dataclass(frozen=True, eq=False)
class OneElement:
    """A list of zeros but for one element: what the gradient of reading an element adds to the list's gradient."""

    zeros: TensorList
    index: Value
    element: Any

    def expanded(self, op: OpContext) -> TensorList:
        return self.zeros.set(op, self.index, self.element)

    def plus(self, op: OpContext, other: Any) -> Any:
        if isinstance(other, ListVariable):
            return other.plus(op, self)
        if isinstance(other, OneElement):
            return self.expanded(op).plus(op, other.expanded(op))
        return other.plus(op, self.expanded(op))

    @property
    def dtype(self) -> np.dtype[Any] | None:
        return self.zeros.dtype

    @property
    def length(self) -> Value:
        return self.zeros.length

    def element_dims(self) -> tuple[Size | None, ...] | None:
        return self.zeros.element_dims()

    def get(self, op: OpContext, index: Value, dims: tuple[Size | None, ...] | None = None) -> Any:
        return self.expanded(op).get(op, index, dims)

    def set(self, op: OpContext, index: Value, element: Any) -> TensorList:
        return self.expanded(op).set(op, index, element)

    def push(self, op: OpContext, element: Any) -> TensorList:
        return self.expanded(op).push(op, element)

    def pop(self, op: OpContext, dims: tuple[Size | None, ...] | None = None) -> tuple[TensorList, Any]:
        return self.expanded(op).pop(op, dims)

    def zeros_like(self, op: OpContext) -> TensorList:
        return self.zeros

    def stack(self, op: OpContext, dims: tuple[Size | None, ...] | None = None) -> Any:
        return self.expanded(op).stack(op, dims)

    def resized(self, op: OpContext, length: Value) -> TensorList:
        return self.expanded(op).resized(op, length)


def settled(op: OpContext, flow: Any) -> Any:
    """The flow with its lists as plain :class:`TensorList`, so that it can be taken apart."""
    if isinstance(flow, OneElement):
        return flow.expanded(op)
    if isinstance(flow, ListVariable):
        raise flow.demoted()
    if isinstance(flow, Optional):
        return Optional(flow.present, settled(op, flow.content))
    if isinstance(flow, Choice):
        return Choice(flow.predicate, settled(op, flow.then), settled(op, flow.otherwise))
    return flow
