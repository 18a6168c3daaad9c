"""One conversion of a loop's body: what is assumed of each variable, and what the body sees of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import Column, Ragged, Stacked
from pullback_export.lowering.loops.induction import Affine


class Assumed(Protocol):
    """What the conversion of a body needs to know of a variable's assumption."""

    @property
    def pops(self) -> int:
        """How many elements each iteration takes from the end of a list."""

    @property
    def stack(self) -> bool:
        """Whether the length of a list changes."""

    def argument(self, attempt: Attempt, index: int) -> Any:
        """What the body sees of the variable ``index``."""


class Attempt:
    """One conversion of the body under given assumptions."""

    def __init__(self, op: OpContext, assumptions: Mapping[int, Assumed], initial: Sequence[Any]) -> None:
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
            self.arguments = {index: assumptions[index].argument(self, index) for index in sorted(assumptions)}
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
