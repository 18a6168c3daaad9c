"""TensorFlow's ``While`` as an ONNX loop, whatever its variables are.

The body is converted under assumptions about each variable, from the most useful to the most general: it never changes;
it counts; it is a list whose writes can be collected; it is a tensor of fixed sizes; it is a tensor of changing sizes.
Where the converted body contradicts an assumption, or allows a better one, the body is converted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.graph import Graph
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import Ragged
from pullback_export.lowering.flows.forms import leaves
from pullback_export.lowering.flows.tensor_lists import TensorList
from pullback_export.lowering.loops.assumptions import Assumption, CollectedList, Counter, Fixed, State
from pullback_export.lowering.loops.attempt import Attempt
from pullback_export.lowering.loops.demotion import Demoted
from pullback_export.lowering.loops.induction import conjuncts, iterations_while, smallest, unbounded
from pullback_export.lowering.loops.list_variables import LoopList
from pullback_export.lowering.loops.one_element import OneElement
from pullback_export.lowering.loops.slot_list import SlotList
from pullback_export.lowering.loops.writing import LoopWriter

# Each attempt weakens the assumption about at least one variable, and there are few kinds of them.
_ATTEMPTS_EACH = 6


class LoopConversion:
    """Converts one ``While``; :meth:`run` returns the variables after the loop, None for those not wanted."""

    def __init__(self, op: OpContext, initial: Sequence[Any]) -> None:
        self.op = op
        self.converter = op.converter
        graph, tf_op = op.tf_op.graph, op.tf_op
        self.condition = self.converter.function(graph, tf_op.get_attr("cond").name)
        self.body = self.converter.function(graph, tf_op.get_attr("body").name)
        self.initial = list(initial)
        self.variables = sorted(self.converter.liveness.loop_variables(tf_op, op.wanted))
        self.assumptions = {index: self._first_assumption(index) for index in self.variables}
        self._find_counters()

    def _first_assumption(self, index: int) -> Assumption:
        flow = self.initial[index]
        if _passes_through(self.body, index):
            return Fixed()
        if isinstance(flow, OneElement):
            flow = self.initial[index] = flow.expanded(self.op)
        if isinstance(flow, TensorList):
            return CollectedList()
        if isinstance(flow, LoopList | SlotList):
            raise Demoted(flow.attempt, flow.place)
        return State() if leaves(flow) else Fixed()

    def _find_counters(self) -> None:
        """Looks at the whole numbers among the variables before anything is indexed by them."""
        numbers = [
            index
            for index in self.variables
            if isinstance(flow := self.initial[index], Value)
            and flow.dtype.kind in "iu"
            and flow.shape == ()
            and isinstance(self.assumptions[index], State)
        ]
        mark, missing = self.op.graph.mark(), self.converter.snapshot()
        found: dict[int, Counter] = {}
        if numbers:
            attempt = Attempt(self.op, {index: State() for index in numbers}, self.initial)
            given = {**attempt.arguments, **self._fixed()}
            for index in numbers:
                counter = self._as_counter(attempt, index, given)
                if counter is not None:
                    found[index] = counter
        self.op.graph.rollback(mark)
        self.converter.restore(missing)
        self.assumptions.update(found)

    def _fixed(self) -> dict[int, Any]:
        return {index: self.initial[index] for index, item in self.assumptions.items() if isinstance(item, Fixed)}

    def _as_counter(self, attempt: Attempt, index: int, given: dict[int, Any]) -> Counter | None:
        """What a whole number does in an iteration, if it only depends on its like and on what never changes."""
        if not self.converter.liveness.loop_arguments(self.op.tf_op, index) <= given.keys():
            return None
        flows = [given.get(place) for place in range(len(self.initial))]
        result = self.converter.convert(self.body, flows, attempt.body, [index])[index]
        with attempt.body.writing():
            return Counter.of(attempt.inner, result, attempt.arguments[index])

    def run(self) -> list[Any]:
        op = self.op
        for _ in range(_ATTEMPTS_EACH * (len(self.variables) + 4)):
            mark, missing = op.graph.mark(), self.converter.snapshot()
            try:
                attempt = Attempt(op, self.assumptions, self.initial)
                self._convert(attempt)
                settled_now = not self._revise(attempt)
                if settled_now:
                    return self._write(attempt)
            except Demoted as demoted:
                if demoted.attempt.op is not op or demoted.attempt.initial is not self.initial:
                    raise
                self.assumptions[demoted.index] = self.assumptions[demoted.index].demoted(demoted)
            op.graph.rollback(mark)
            self.converter.restore(missing)
        raise op.unsupported(
            "the loop's variables have no representation that stays fixed over the iterations;"
            " keep their shapes and dtypes fixed"
        )

    def _convert(self, attempt: Attempt) -> None:
        flows = [attempt.arguments.get(index) for index in range(len(self.initial))]
        results = self.converter.convert(self.body, flows, attempt.body, self.variables)
        attempt.results = {index: results[index] for index in self.variables}

    def _revise(self, attempt: Attempt) -> bool:
        """Changes assumptions that the converted body contradicts, or allows to be better; whether there were any."""
        changed = False
        with attempt.body.writing():
            for index in self.variables:
                found = self.assumptions[index].revised(attempt, index)
                if found is not None:
                    self.assumptions[index] = found
                    changed = True
        return changed

    def _write(self, attempt: Attempt) -> list[Any]:
        op = self.op
        writer = LoopWriter(op, attempt.body, attempt.iteration)
        finals = {index: self.assumptions[index].carry(attempt, index, writer) for index in self.variables}
        lists = {index: flow for index, flow in attempt.results.items() if isinstance(flow, LoopList)}
        requests: list[tuple[Value, bool]] = []
        ragged: dict[Value, tuple[Value, Value]] = {}
        for index in sorted(lists.keys() & op.wanted):
            for value, backward in lists[index].requests():
                if lists[index].pushed and not self._is_stable(value):
                    if value not in ragged:
                        ragged[value] = self._add_ragged(attempt, writer, value)
                    requests.append((ragged[value][1], False))
                else:
                    requests.append((value, backward))
        count = self._write_nodes(attempt, writer, requests)
        for value, (flat, shape) in ragged.items():
            shapes = attempt.series(shape, False)
            ends = op.CumSum(op.ReduceProd(shapes, [1], keepdims=0), np.int64(0))
            attempt.ragged[value] = Ragged(flat, ends, shapes, self._common_dims(value))
        return [
            self.assumptions[index].after(attempt, index, finals[index], count) if index in op.wanted else None
            for index in range(len(self.initial))
        ]

    def _is_stable(self, value: Value) -> bool:
        """Whether all iterations give ``value`` one shape: its sizes are those of tensors outside of the loop."""
        return None not in self._common_dims(value)

    def _common_dims(self, value: Value) -> tuple[Size | None, ...]:
        """The shape of a tensor of the body, with None for sizes that are not known outside of the loop."""
        if value.shape is None:
            raise self.op.unsupported(
                "the tensors of this list have an unknown rank; give the TensorArray an element_shape"
            )
        return tuple(size if self.op.graph.knows_size(size) else None for size in value.shape)

    def _add_ragged(self, attempt: Attempt, writer: LoopWriter, value: Value) -> tuple[Value, Value]:
        """Collects tensors of different sizes one after the other; returns all of them and each one's shape."""
        inner = attempt.inner
        with attempt.body.writing():
            shape = inner.graph.emit("Shape", [value])
            so_far = Value(attempt.body, value.dtype, (attempt.body.fresh_size("varying"),))
            longer = inner.Concat(so_far, inner.Reshape(value, [-1]), axis=0)
        flat = writer.add_state(so_far, self.op.const(np.zeros(0, value.dtype)), longer, True)
        return flat, shape

    def _write_nodes(self, attempt: Attempt, writer: LoopWriter, requests: list[tuple[Value, bool]]) -> Value:
        """The loop itself; returns the number of iterations."""
        op = self.op
        with attempt.body.writing():
            now = self._holds(attempt.arguments, attempt.body)
            counts = [
                iterations_while(attempt.inner, part, attempt.iteration) for part in conjuncts(now) if not _always(part)
            ]
        bounds = [count for count in counts if count is not None and not unbounded(count)]
        if all(count is not None for count in counts) and bounds:
            count = smallest(op, bounds)
            attempt.rows_of = writer.write_counted(count, requests)
            return count
        first = self._holds(dict(enumerate(self.initial)), op.graph)
        with attempt.body.writing():
            following = {index: self.assumptions[index].following(attempt, index) for index in self.variables}
            whole = self._holds(following, attempt.body)
            parts = [
                part for part in conjuncts(whole) if iterations_while(attempt.inner, part, attempt.iteration) is None
            ]
            go_on = attempt.inner.const(np.bool_(True))
            for place, part in enumerate(parts):
                go_on = go_on & part if place else part
        limit = smallest(op, bounds) if bounds else None
        attempt.rows_of, count = writer.write_open(limit, first, go_on, requests)
        return count

    def _holds(self, flows: dict[int, Any], graph: Graph) -> Value:
        arguments = [flows.get(index) for index in range(len(self.initial))]
        (value,) = self.converter.convert(self.condition, arguments, graph)
        if not isinstance(value, Value):
            raise self.op.unsupported("the loop condition is not a tensor; return one boolean tensor from it")
        return value if value.shape == () else graph.emit("Reshape", [value, graph.constant(np.zeros(0, np.int64))])


def _always(condition: Value) -> bool:
    return condition.const is not None and bool(condition.const.item())


def _passes_through(body: Any, index: int) -> bool:
    """Whether the body hands a variable on as it is."""
    tensor = body.outputs[index]
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor is body.inputs[index] or tensor.ref() == body.inputs[index].ref()
