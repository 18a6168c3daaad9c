"""Lists that are variables of a loop, and what a loop does where one cannot stay a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext, Signal
from pullback_export.lowering.flows.columns import Column
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.induction import Affine


class BodyView(Protocol):
    """What lists see of the conversion of the body that they are variables of."""

    @property
    def op(self) -> OpContext:
        """The loop, seen from outside."""

    @property
    def initial(self) -> Sequence[Any]:
        """The variables before the loop."""

    @property
    def body(self) -> Graph:
        """The graph of an iteration."""

    @property
    def iteration(self) -> Value:
        """The number of the iteration, an int64 scalar of the body."""

    def note_read(self, place: int, at: Affine) -> None:
        """An iteration reads element ``at`` of the list ``place``."""

    def reads(self, place: int) -> list[Affine]:
        """What was noted of a list."""

    def note_length(self, place: int) -> None:
        """An iteration reads the length of the list ``place``."""

    def length_was_read(self, place: int) -> bool:
        """Whether that was noted."""

    def pops_each(self, place: int) -> int:
        """How many elements each iteration takes from the end of a list."""

    def is_stack(self, place: int) -> bool:
        """Whether the length of a list changes."""

    def series(self, value: Value, backward: bool) -> Value:
        """What ``value`` was in each iteration, once the loop is written."""

    def collected(self, value: Value) -> Column:
        """The same as a column, also where the sizes of ``value`` change."""


class Demoted(Signal):
    """The list variable ``index`` of a loop must be carried along as a tensor."""

    def __init__(self, attempt: BodyView, index: int, slot: int | None = None, element: Any = None) -> None:
        super().__init__(index)
        self.attempt = attempt
        self.index = index
        self.slot = slot
        self.element = element


@dataclasses.dataclass(frozen=True, eq=False)
class ListVariable:
    """A list that is the variable ``place`` of the loop whose body is converted in ``attempt``."""

    attempt: BodyView
    place: int
    initial: TensorList

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """That of the elements; None where they are lists themselves."""
        return self.initial.dtype

    def element_dims(self) -> tuple[Size | None, ...] | None:
        """Shape of an element, as far as it is known."""
        return self.initial.element_dims()

    def demoted(self, element: Any = None) -> Demoted:
        """The signal that this list must be carried along as a tensor, with elements of the form of ``element``."""
        return Demoted(self.attempt, self.place, None, element)

    def plus(self, op: OpContext, other: Any) -> Any:
        """The sums of elements at equal places."""
        raise NotImplementedError
