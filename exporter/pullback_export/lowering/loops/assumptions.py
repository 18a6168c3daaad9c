"""What is assumed of a loop variable while the body is converted: one class for each kind, from useful to general.

A kind says what the body sees of the variable, what to assume instead where the converted body contradicts it or allows
something better, what the loop carries, and what the variable is in the next iteration and after the loop.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NoReturn

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.forms import leaves, rebuild, same_form
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.attempt import Attempt
from pullback_export.lowering.loops.carried import (
    Loose,
    as_rows,
    body_inputs,
    carried,
    from_rows,
    has_unknown_elements,
    loosened,
    resolved_zeros,
    tensor_leaves,
)
from pullback_export.lowering.loops.demotion import Demoted
from pullback_export.lowering.loops.induction import affine
from pullback_export.lowering.loops.list_variables import LoopList
from pullback_export.lowering.loops.one_element import settled
from pullback_export.lowering.loops.slot_list import SlotList
from pullback_export.lowering.loops.writing import LoopWriter


@dataclasses.dataclass(frozen=True, eq=False)
class Assumption(abc.ABC):
    """``element`` is the form of a list's elements, where the list itself does not tell."""

    element: Any = None

    @property
    def pops(self) -> int:
        """How many elements each iteration takes from the end of a list."""
        return 1

    @property
    def stack(self) -> bool:
        """Whether the length of a list changes."""
        return False

    @abc.abstractmethod
    def argument(self, attempt: Attempt, index: int) -> Any:
        """What the body sees of the variable."""

    @abc.abstractmethod
    def revised(self, attempt: Attempt, index: int) -> Assumption | None:
        """What to assume instead, now that the body is converted; None where the assumption holds.

        Raises :class:`Demoted` where a list has to be carried.
        """

    def demoted(self, signal: Demoted) -> Assumption:
        """What to assume of a list that cannot stay one."""
        return State(signal.element or self.element)

    def carry(self, attempt: Attempt, index: int, writer: LoopWriter) -> Any:
        """Declares what the loop carries of the variable; returns that after the loop, None where it is nothing."""
        return None

    def following(self, attempt: Attempt, index: int) -> Any:
        """The variable as the next iteration sees it."""
        return attempt.results[index]

    def after(self, attempt: Attempt, index: int, final: Any, count: Value) -> Any:
        """The variable after ``count`` iterations; ``final`` is what :meth:`carry` returned."""
        return attempt.initial[index]


class Fixed(Assumption):
    """The variable never changes."""

    def argument(self, attempt: Attempt, index: int) -> Any:
        return attempt.initial[index]

    def revised(self, attempt: Attempt, index: int) -> Assumption | None:
        result, argument = attempt.results[index], attempt.arguments[index]
        if result is argument or list(map(id, leaves(result))) == list(map(id, leaves(argument))):
            return None
        _refuse_change_of_kind(attempt)


@dataclasses.dataclass(frozen=True, eq=False)
class Counter(Assumption):
    """A whole number that grows by ``step`` in each iteration."""

    step: int = 0

    @classmethod
    def of(cls, op: OpContext, result: Any, argument: Value) -> Counter | None:
        """The counter that an iteration makes ``result`` of ``argument`` for; None where it does something else."""
        if not isinstance(result, Value) or argument.dtype.kind not in "iu" or argument.shape != ():
            return None
        place = affine(op, result, argument)
        if place is None or place.step != 1 or place.start.const is None:
            return None
        return cls(step=int(place.start.const.item()))

    def argument(self, attempt: Attempt, index: int) -> Value:
        initial = attempt.initial[index]
        start = attempt.op.cast(initial, np.int64)
        return attempt.inner.cast(start + attempt.iteration * self.step, initial.dtype)

    def revised(self, attempt: Attempt, index: int) -> Assumption | None:
        return None

    def following(self, attempt: Attempt, index: int) -> Value:
        start = attempt.op.cast(attempt.initial[index], np.int64)
        dtype = attempt.arguments[index].dtype
        return attempt.inner.cast(start + (attempt.iteration + 1) * self.step, dtype)

    def after(self, attempt: Attempt, index: int, final: Any, count: Value) -> Value:
        initial = attempt.initial[index]
        return attempt.op.cast(attempt.op.cast(initial, np.int64) + count * self.step, initial.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class CollectedList(Assumption):
    """A list whose writes are collected as series, so that nothing of it goes through the iterations."""

    pops: int = 1
    stack: bool = False

    def argument(self, attempt: Attempt, index: int) -> LoopList:
        return LoopList(attempt, index, attempt.initial[index])

    def revised(self, attempt: Attempt, index: int) -> Assumption | None:
        result = attempt.results[index]
        if isinstance(result, TensorList) and result is attempt.initial[index]:
            return Fixed()
        if not isinstance(result, LoopList) or result.place != index or result.attempt is not attempt:
            raise Demoted(attempt, index)
        found = dataclasses.replace(
            self, stack=self.stack or bool(result.popped or result.pushed), pops=result.popped or self.pops
        )
        if (found.stack, found.pops) != (self.stack, self.pops):
            return found
        if not result.consistent():
            raise Demoted(attempt, index)
        return None

    def demoted(self, signal: Demoted) -> Assumption:
        if signal.slot is None:
            return super().demoted(signal)
        return Slot(signal.element, slot=signal.slot)

    def after(self, attempt: Attempt, index: int, final: Any, count: Value) -> Any:
        return attempt.results[index].after(attempt.op, count)


@dataclasses.dataclass(frozen=True, eq=False)
class Slot(Assumption):
    """A list of which only the element ``slot`` changes, which is carried."""

    slot: int = 0
    loose: Loose = dataclasses.field(default_factory=dict)

    def argument(self, attempt: Attempt, index: int) -> SlotList:
        tensors = body_inputs(attempt.body, self.loose, self._first(attempt, index))
        return SlotList(attempt, index, attempt.initial[index], self.slot, rebuild(self.element, tensors))

    def _first(self, attempt: Attempt, index: int) -> Any:
        """The element before the loop."""
        like = rebuild(self.element, [resolved_zeros(attempt.op, leaf) for leaf in leaves(self.element)])
        filled = attempt.initial[index].filled(attempt.op, like)
        return filled.get(attempt.op, attempt.op.const(np.int64(self.slot)))

    def revised(self, attempt: Attempt, index: int) -> Assumption | None:
        result = attempt.results[index]
        if not isinstance(result, SlotList) or result.place != index:
            raise Demoted(attempt, index)
        loose = loosened(self.loose, attempt.arguments[index].element, result.element)
        return None if loose == self.loose else dataclasses.replace(self, loose=loose)

    def carry(self, attempt: Attempt, index: int, writer: LoopWriter) -> Any:
        first, argument = self._first(attempt, index), attempt.arguments[index].element
        last = carried(writer, self.loose, argument, first, attempt.results[index].element)
        return rebuild(argument, last)

    def after(self, attempt: Attempt, index: int, final: Any, count: Value) -> Any:
        return attempt.initial[index].set(attempt.op, attempt.op.const(np.int64(self.slot)), final)


@dataclasses.dataclass(frozen=True, eq=False)
class State(Assumption):
    """Anything else: its tensors are carried from iteration to iteration."""

    loose: Loose = dataclasses.field(default_factory=dict)

    def argument(self, attempt: Attempt, index: int) -> Any:
        initial = attempt.initial[index]
        if self.element is None and has_unknown_elements(initial):
            return initial  # what the body makes of it shows what its elements are
        first = self._first(attempt, index)
        return from_rows(attempt.inner, first, body_inputs(attempt.body, self.loose, first))

    def _first(self, attempt: Attempt, index: int) -> Any:
        """The value before the loop, in the form in which it is carried."""
        return as_rows(attempt.op, attempt.initial[index], self.element)

    def revised(self, attempt: Attempt, index: int) -> Assumption | None:
        result, argument = attempt.results[index], attempt.arguments[index]
        if isinstance(argument, Value) and isinstance(result, Value):
            if result is argument:
                return Fixed()
            counter = Counter.of(attempt.inner, result, argument)
            if counter is not None:
                return counter
        if self.element is None and has_unknown_elements(argument):
            made = settled(attempt.inner, result)
            if made.template is None:
                raise attempt.op.unsupported(
                    "the elements of this list have no known shape; give the TensorArray an element_shape"
                )
            return dataclasses.replace(self, element=made.template)
        attempt.results[index] = result = as_rows(attempt.inner, result, None)
        before = as_rows(attempt.inner, argument, None)
        if not same_form(before, result):
            if self.element is None and isinstance(result, TensorList) and result.template is not None:
                return dataclasses.replace(self, element=result.template)
            _refuse_change_of_kind(attempt)
        loose = loosened(self.loose, before, result)
        return None if loose == self.loose else dataclasses.replace(self, loose=loose)

    def carry(self, attempt: Attempt, index: int, writer: LoopWriter) -> list[Value]:
        first, argument = self._first(attempt, index), as_rows(attempt.inner, attempt.arguments[index], None)
        return carried(writer, self.loose, argument, first, attempt.results[index])

    def following(self, attempt: Attempt, index: int) -> Any:
        result = attempt.results[index]
        return from_rows(attempt.inner, result, tensor_leaves(result))

    def after(self, attempt: Attempt, index: int, final: Any, count: Value) -> Any:
        return from_rows(attempt.op, self._first(attempt, index), final)


def _refuse_change_of_kind(attempt: Attempt) -> NoReturn:
    raise attempt.op.unsupported(
        "a loop variable changes its kind between iterations; keep its dtype and structure fixed"
    )
