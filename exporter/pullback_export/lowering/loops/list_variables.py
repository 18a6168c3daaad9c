"""What the body of a loop does to a list that is a variable of the loop.

Most lists are written at places that count up or down, or pushed to, or popped from. Then nothing of the list has to go
through the iterations: what is read comes from the list as it was before the loop, and what is written is collected as
a series and put together after the loop. Anything else raises :class:`Demoted`, and the list becomes one tensor that is
carried along.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import Column, Counted, Repeated, Stacked, constant_index, count_up
from pullback_export.lowering.flows.forms import leaves, rebuild, same_form
from pullback_export.lowering.flows.tensor_lists import TensorList, agree, merge_dims, same_number
from pullback_export.lowering.loops.demotion import Demoted, ListVariable
from pullback_export.lowering.loops.induction import Affine, affine, inside
from pullback_export.lowering.loops.one_element import OneElement, settled


@dataclasses.dataclass(frozen=True, eq=False)
class Write:
    """``element`` is put to, or added at, place ``at``: an affine function of the iteration, or any number."""

    at: Affine | None
    index: Value
    element: Any
    grows: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class LoopList(ListVariable):
    """A list variable in one iteration, with what was done to it so far in this iteration."""

    pushed: tuple[Any, ...] = ()
    popped: int = 0
    writes: tuple[Write, ...] = ()
    added: tuple[Write, ...] = ()

    @property
    def length(self) -> Value:
        if self.pushed or self.popped or self.attempt.is_stack(self.place) or any(write.grows for write in self.writes):
            raise self.demoted()
        self.attempt.note_length(self.place)
        return self.initial.length

    def _place_of(self, op: OpContext, index: Value) -> Affine | None:
        return affine(op, index, self.attempt.iteration)

    def get(self, op: OpContext, index: Value, dims: tuple[Size | None, ...] | None = None) -> Any:
        at = self._place_of(op, index)
        if self.pushed or self.added or self.popped:
            raise self.demoted()
        if self.writes:
            last = self.writes[-1]
            if last.index is index or (last.at and at and _same_place(last.at, at)):
                return last.element
            raise self.demoted()
        if at is None or (self.initial.template is None and None in (merge_dims(self.element_dims(), dims) or (None,))):
            raise self.demoted()  # what was never set before the loop is read because an iteration has set it
        self.attempt.note_read(self.place, at)
        return self.initial.get(op, index, dims)

    def set(self, op: OpContext, index: Value, element: Any, grows: bool = False) -> LoopList:
        at = self._place_of(op, index)
        if self.pushed or self.popped or self.added or at is None:
            raise self.demoted(element)
        if at.step == 0:
            slot, length = constant_index(at.start), constant_index(self.initial.length)
            fits = not grows or (slot is not None and length is not None and slot < length)
            raise Demoted(self.attempt, self.place, slot if fits else None, element)
        if any(not _never_meets(write.at, at) for write in self.writes if write.at is not None):
            raise self.demoted(element)
        return dataclasses.replace(self, writes=(*self.writes, Write(at, index, settled(op, element), grows)))

    def push(self, op: OpContext, element: Any) -> LoopList:
        if self.writes or self.added or self.popped:
            raise self.demoted(element)
        element = settled(op, element)
        steady = rebuild(element, [self._from_outside(leaf) for leaf in leaves(element)])
        return dataclasses.replace(self, pushed=(*self.pushed, steady))

    def _from_outside(self, leaf: Value) -> Value:
        """The same numbers made outside of the loop, where they are sizes that are known there."""
        graph = self.attempt.op.graph
        if leaf.sizes is None or not inside(leaf, self.attempt.body) or not all(map(graph.knows_size, leaf.sizes.flat)):
            return leaf
        vector = graph.sizes_value(list(leaf.sizes.flat))
        shape = graph.constant(np.array(leaf.sizes.shape, np.int64))
        return graph.emit("Cast", [graph.emit("Reshape", [vector, shape])], {"to": leaf.dtype})

    def pop(self, op: OpContext, dims: tuple[Size | None, ...] | None = None) -> tuple[LoopList, Any]:
        if self.writes or self.added:
            raise self.demoted()
        if self.pushed:
            return dataclasses.replace(self, pushed=self.pushed[:-1]), self.pushed[-1]
        each = self.attempt.pops_each(self.place)
        index = (self.initial.length - (1 + self.popped)) - self.attempt.iteration * each
        popped = dataclasses.replace(self, popped=self.popped + 1)
        return popped, self.initial.get(op, index, dims)

    def plus(self, op: OpContext, other: Any) -> LoopList:
        """Adding a list that has one element which is not zero."""
        if self.pushed or self.popped or self.writes:
            raise self.demoted()
        if isinstance(other, TensorList) and other.template is None:
            return self
        if isinstance(other, OneElement):
            at = self._place_of(op, other.index)
            if at is not None and at.step == 0:
                raise Demoted(self.attempt, self.place, constant_index(at.start), other.element)
            if len(leaves(other.element)) != 1:
                raise self.demoted(other.element)
            return dataclasses.replace(self, added=(*self.added, Write(at, other.index, other.element)))
        raise self.demoted()

    def zeros_like(self, op: OpContext) -> TensorList:
        like = self.initial if self.dtype is None else None
        return TensorList(self.dtype, self.element_dims(), self.length, like=like)

    def stack(self, op: OpContext, dims: tuple[Size | None, ...] | None = None) -> Any:
        raise self.demoted()

    def dense(self, op: OpContext) -> TensorList:
        raise self.demoted()

    def resized(self, op: OpContext, length: Value) -> TensorList:
        raise self.demoted()

    @property
    def columns(self) -> tuple[Column, ...]:
        raise self.demoted()

    @property
    def template(self) -> Any:
        raise self.demoted()

    def filled(self, op: OpContext, like: Any) -> TensorList:
        raise self.demoted()

    def consistent(self) -> bool:
        """Whether what was read during this iteration cannot have been written by an earlier one."""
        if self.attempt.length_was_read(self.place) and any(write.grows for write in self.writes):
            return False
        reads = self.attempt.reads(self.place)
        if not reads:
            return True
        if self.added or self.pushed:
            return False
        return all(write.at is not None and _same_place(write.at, at) for write in self.writes for at in reads)

    def requests(self) -> list[tuple[Value, bool]]:
        """The values whose series the list after the loop is made of, and in which order they are wanted."""
        wanted: list[tuple[Value, bool]] = []
        for write in (*self.writes, *self.added):
            if write.at is None:
                wanted.append((write.index, False))
            backward = write.at is not None and write.at.step == -1
            wanted += [(leaf, backward) for leaf in leaves(write.element)]
        for element in self.pushed:
            wanted += [(leaf, False) for leaf in leaves(element)]
        body = self.attempt.iteration.graph
        return [(value, backward) for value, backward in wanted if inside(value, body)]

    def after(self, op: OpContext, count: Value) -> TensorList:
        """The list after ``count`` iterations."""
        if self.popped:
            return self.initial.resized(op, self.initial.length - count * self.popped)
        if self.pushed:
            return self._with_pushed(op, count)
        result = self.initial
        for write in self.writes:
            result = self._with_written(op, result, write, count)
        for write in self.added:
            result = self._with_added(op, result, write, count)
        return result

    def _column(self, op: OpContext, leaf: Value, count: Value) -> Column:
        """One tensor of the elements that successive iterations push."""
        if not inside(leaf, self.attempt.iteration.graph):
            return Repeated(leaf)
        at = affine(op, leaf, self.attempt.iteration) if leaf.shape == () else None
        if at is not None:
            return Counted(at.start, at.step, leaf.dtype)
        return self.attempt.collected(leaf)

    def _with_pushed(self, op: OpContext, count: Value) -> TensorList:
        each = len(self.pushed)
        if each > 1:
            return self._interleaved(op, count)
        (element,) = self.pushed
        columns = tuple(self._column(op, leaf, count) for leaf in leaves(element))
        added = TensorList(self.dtype, self.initial.dims, count, element, columns)
        return joined(op, self.initial, added)

    def _interleaved(self, op: OpContext, count: Value) -> TensorList:
        parts = []
        for element in self.pushed:
            parts.append([self._column(op, leaf, count).stack(op, count) for leaf in leaves(element)])
            if not same_form(element, self.pushed[0]):
                raise self.demoted()
        columns: list[Column] = []
        for values in zip(*parts, strict=True):
            rows = op.Concat(*[op.Unsqueeze(value, [1]) for value in values], axis=1)
            columns.append(Stacked(op.reshape(rows, [-1, *rows.dims[2:]])))
        length = count * len(self.pushed)
        added = TensorList(self.dtype, self.initial.dims, length, self.pushed[0], tuple(columns))
        return joined(op, self.initial, added)

    def _covers(self, at: Affine, count: Value, length: Value) -> bool:
        """Whether the iterations write every one of ``length`` elements exactly once."""
        if abs(at.step) != 1 or not same_number(count, length):
            return False
        first = at.start if at.step == 1 else at.start - length + 1
        return first.sizes is not None and bool(first.sizes.item() == 0)

    def _rows(self, op: OpContext, leaf: Value, at: Affine | None, count: Value) -> Column:
        if not inside(leaf, self.attempt.iteration.graph):
            return Repeated(leaf)
        return Stacked(self.attempt.series(leaf, at is not None and at.step == -1))

    def _with_written(self, op: OpContext, before: TensorList, write: Write, count: Value) -> TensorList:
        assert write.at is not None
        rows = [self._rows(op, leaf, write.at, count) for leaf in leaves(write.element)]
        if write.grows:
            before = before.resized(op, op.Max(before.length, _reach(op, write.at, count)))
        if self._covers(write.at, count, before.length):
            return dataclasses.replace(before, template=write.element, columns=tuple(rows))
        whole = before.filled(op, _outside(op, write.element, rows, count))
        if not same_form(whole.template, write.element):
            whole, _ = agree(op, whole, whole)
        places = self._places(op, write, count)
        columns = tuple(
            Stacked(op.ScatterND(column.stack(op, before.length), places, row.stack(op, count)))
            for column, row in zip(whole.columns, rows, strict=True)
        )
        return dataclasses.replace(whole, template=write.element, columns=columns)

    def _with_added(self, op: OpContext, before: TensorList, write: Write, count: Value) -> TensorList:
        (leaf,) = leaves(write.element)
        row = self._rows(op, leaf, write.at, count)
        if write.at is not None and self._covers(write.at, count, before.length):
            added: Any = dataclasses.replace(before, template=write.element, columns=(row,))
            return before.plus(op, added)  # type: ignore[no-any-return]
        whole = before.filled(op, _outside(op, write.element, [row], count))
        places = self._places(op, write, count)
        total = op.ScatterND(whole.columns[0].stack(op, before.length), places, row.stack(op, count), reduction="add")
        return dataclasses.replace(whole, columns=(Stacked(total),))

    def _places(self, op: OpContext, write: Write, count: Value) -> Value:
        """Where each row of the series goes: a column of indices."""
        if write.at is None:
            if not inside(write.index, self.attempt.iteration.graph):
                raise self.demoted()
            places = op.cast(self.attempt.series(write.index, False), np.int64)
        else:
            steps = count_up(op, count)
            if write.at.step == -1:
                places = (write.at.start - count + 1) + steps
            else:
                places = write.at.start + steps * write.at.step
        return op.Reshape(places, [-1, 1])


ListFlow = TensorList | LoopList | OneElement


def joined(op: OpContext, first: TensorList, second: TensorList) -> TensorList:
    """The elements of one list after those of another."""
    if constant_index(first.length) == 0:
        return second
    if constant_index(second.length) == 0:
        return first
    first, second = agree(op, first, second)
    columns = tuple(
        Stacked(op.Concat(mine.stack(op, first.length), theirs.stack(op, second.length), axis=0))
        for mine, theirs in zip(first.columns, second.columns, strict=True)
    )
    return dataclasses.replace(first, length=first.length + second.length, columns=columns)


def _outside(op: OpContext, element: Any, rows: list[Column], count: Value) -> Any:
    """Zeros of the form of an element of the body, made outside of the loop."""
    values = []
    for row in rows:
        sample = row.stack(op, count)
        shape = op.Slice(op.shape_of(sample), [1], [2**31 - 1], [0])
        values.append(op.Expand(op.const(0, sample.dtype), shape))
    return rebuild(element, values)


def _reach(op: OpContext, at: Affine, count: Value) -> Value:
    """How long a list is that holds the last of ``count`` places; 0 where there is none."""
    end = count if at.step > 0 else at.start + 1
    if (at.step == 1 and constant_index(at.start) == 0) or (at.step == -1 and same_number(end, count)):
        return count
    last = at.start + (count - 1) * at.step if at.step > 0 else at.start
    return op.Where(count > 0, last + 1, op.const(np.int64(0)))


def _same_place(left: Affine, right: Affine) -> bool:
    return left.step == right.step and same_number(left.start, right.start)


def _never_meets(left: Affine, right: Affine) -> bool:
    """Whether two sequences of places have none in common."""
    difference = left.start - right.start
    if left.step != right.step or difference.const is None:
        return False
    return int(difference.const.item()) % left.step != 0
