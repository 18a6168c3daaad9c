"""One conversion of a loop's body: what is assumed of each variable, and what the body sees of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import Column, Ragged, Stacked
from pullback_export.lowering.flows.forms import leaves, rebuild
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.induction import Affine
from pullback_export.lowering.loops.list_variables import LoopList
from pullback_export.lowering.loops.one_element import settled
from pullback_export.lowering.loops.slot_list import SlotList


@dataclasses.dataclass
class Assumption:
    """What is taken for granted of one loop variable.

    ``kind``: ``fixed`` (never changes), ``counter`` (``step`` more each time), ``list``, ``slot`` (a list of which only
    element ``slot`` changes) or ``state``. ``loose`` holds the axes of its tensors whose sizes change, None for all.
    """

    kind: str
    step: int = 0
    slot: int = 0
    element: Any = None
    pops: int = 1
    stack: bool = False
    loose: dict[int, set[int] | None] = dataclasses.field(default_factory=dict)


class Attempt:
    """One conversion of the body under given assumptions."""

    def __init__(self, op: OpContext, assumptions: dict[int, Assumption], initial: Sequence[Any]) -> None:
        self.op = op
        self.assumptions = assumptions
        self.initial = initial
        self.body = Graph(op.graph, hoists=True)
        self.inner = OpContext(self.body, op.tf_op, op.converter)
        self.iteration = Value(self.body, np.dtype(np.int64), ())
        self._reads: dict[int, list[Affine]] = {}
        self._lengths: set[int] = set()
        self.rows_of: Any = None
        self.ragged: dict[Value, Ragged] = {}
        with self.body.writing():
            self.arguments = {index: self._argument(index) for index in sorted(assumptions)}
        self.results: dict[int, Any] = {}

    def note_read(self, place: int, at: Affine) -> None:
        self._reads.setdefault(place, []).append(at)

    def reads(self, place: int) -> list[Affine]:
        return self._reads.get(place, [])

    def note_length(self, place: int) -> None:
        """The body asked how long a list is, which then must not change."""
        self._lengths.add(place)

    def length_was_read(self, place: int) -> bool:
        return place in self._lengths

    def pops_each(self, place: int) -> int:
        return self.assumptions[place].pops

    def is_stack(self, place: int) -> bool:
        return self.assumptions[place].stack

    def series(self, value: Value, backward: bool) -> Value:
        """What ``value`` was in each iteration, once the loop is written."""
        rows: Value = self.rows_of(value, backward)
        return rows

    def collected(self, value: Value) -> Column:
        return self.ragged[value] if value in self.ragged else Stacked(self.series(value, False))

    def _argument(self, index: int) -> Any:
        assumption, initial = self.assumptions[index], self.initial[index]
        if assumption.kind == "fixed":
            return initial
        if assumption.kind == "counter":
            start = self.op.cast(initial, np.int64)
            return self.inner.cast(start + self.iteration * assumption.step, initial.dtype)
        if assumption.kind == "list":
            return LoopList(self, index, initial)
        if assumption.kind == "slot":
            element = rebuild(assumption.element, self._tensors(index, self.first_element(index)))
            return SlotList(self, index, initial, assumption.slot, element)
        if assumption.element is None and unknown_elements(initial):
            return initial  # what the body makes of it shows what its elements are
        carried = self.carried(index)
        return from_rows(self.inner, carried, self._tensors(index, carried))

    def carried(self, index: int) -> Any:
        """The first value of a state, in the form in which it is carried."""
        return as_rows(self.op, self.initial[index], self.assumptions[index].element)

    def first_element(self, index: int) -> Any:
        """The element that a slot has before the loop."""
        assumption, initial = self.assumptions[index], self.initial[index]
        like = rebuild(assumption.element, [_resolved_zeros(self.op, leaf) for leaf in leaves(assumption.element)])
        return initial.filled(self.op, like).get(self.op, self.op.const(np.int64(assumption.slot)))

    def _tensors(self, index: int, flow: Any) -> list[Value]:
        """Inputs of the body for the tensors of a state."""
        loose = self.assumptions[index].loose
        tensors = []
        for place, leaf in enumerate(tensor_leaves(flow)):
            shape = leaf.shape
            axes = loose.get(place, set())
            if shape is None or axes is None:
                shape = None
            else:
                shape = tuple(
                    self.body.fresh_size("varying") if axis in axes else size for axis, size in enumerate(shape)
                )
            tensors.append(Value(self.body, leaf.dtype, shape))
        return tensors


def unknown_elements(flow: Any) -> bool:
    """Whether a list was never written to and does not say what its elements look like."""
    if not isinstance(flow, TensorList) or flow.template is not None:
        return False
    return flow.dtype is None or flow.dims is None or None in flow.dims


def tensor_leaves(flow: Any) -> list[Value]:
    """What is carried of a flow: of a list, its tensors without its length."""
    if isinstance(flow, TensorList):
        return [value for column in flow.columns for value in column.leaves()]
    return leaves(flow)


def as_rows(op: OpContext, flow: Any, element: Any) -> Any:
    """A flow in the form in which iterations hand it on: lists as rows of tensors."""
    flow = settled(op, flow)
    if not isinstance(flow, TensorList):
        return flow
    if flow.template is None and element is not None:
        like = rebuild(element, [_resolved_zeros(op, leaf) for leaf in leaves(element)])
        flow = flow.filled(op, like)
    return flow.dense(op)


def from_rows(op: OpContext, flow: Any, tensors: Sequence[Value]) -> Any:
    """A flow of the same form with the given tensors."""
    if not isinstance(flow, TensorList):
        return rebuild(flow, tensors)
    length = op.Squeeze(op.Shape(tensors[0], start=0, end=1), [0])
    return dataclasses.replace(flow, length=length, columns=tuple(Stacked(tensor) for tensor in tensors))


def _resolved_zeros(op: OpContext, like: Value) -> Value:
    """Zeros in the shape of a tensor of the body, made outside of it."""
    try:
        return op.full(list(like.dims), np.zeros((), like.dtype), like.dtype)
    except KeyError:
        raise op.unsupported(
            "the shape of the list's elements depends on the iteration; pad them to one shape"
        ) from None
