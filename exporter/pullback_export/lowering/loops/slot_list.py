"""A list of which a loop only touches one element."""

from __future__ import annotations

import dataclasses
from typing import Any

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.forms import leaves, same_form
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.demotion import ListVariable
from pullback_export.lowering.loops.one_element import OneElement


@dataclasses.dataclass(frozen=True, eq=False)
class SlotList(ListVariable):
    """A list of which the loop only touches one element, which is carried along as ``element``."""

    slot: int
    element: Any

    @property
    def length(self) -> Value:
        return self.initial.length

    def _is_slot(self, index: Value) -> bool:
        return index.const is not None and int(index.const.item()) == self.slot

    def get(self, op: OpContext, index: Value, dims: Any = None) -> Any:
        if not self._is_slot(index):
            raise self.demoted()
        return self.element

    def set(self, op: OpContext, index: Value, element: Any) -> SlotList:
        if not self._is_slot(index) or not same_form(element, self.element):
            raise self.demoted()
        return dataclasses.replace(self, element=element)

    def plus(self, op: OpContext, other: Any) -> SlotList:
        if isinstance(other, TensorList) and other.template is None:
            return self
        if not isinstance(other, OneElement) or len(leaves(other.element)) != 1:
            raise self.demoted()
        return self.set(op, other.index, self.element + other.element)

    def zeros_like(self, op: OpContext) -> TensorList:
        return TensorList(self.dtype, self.element_dims(), self.length)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self.demoted()
