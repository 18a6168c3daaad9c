"""Which ops of a TensorFlow graph, and which of their outputs, lead to what is wanted.

Ops that call functions are looked into: a weight gradient that a backward loop accumulates, and that nobody asks
for, is not converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_WHILE = ("While", "StatelessWhile")
_IF = ("If", "StatelessIf")
_CASE = ("Case", "StatelessCase")


class Liveness:
    """``function(graph, name)`` gives the graph of a function that ``graph`` calls."""

    def __init__(self, function: Callable[[Any, str], Any]) -> None:
        self.function = function
        self._known: dict[Any, tuple[Any, frozenset[int]]] = {}

    def needed(
        self, func_graph: Any, wanted: Sequence[int], known: set[Any]
    ) -> list[tuple[Any, frozenset[int]]]:
        """The ops that lead to the outputs ``wanted``, inputs first, each with its needed outputs.

        ``known``: references of tensors that have a value already. The order only depends on the graph.
        """
        roots = [func_graph.outputs[index] for index in wanted]
        results = self._results(roots, known)
        return [(tf_op, frozenset(results[tf_op])) for tf_op in _order(roots, known, results, self.reads)]

    def reads(self, tf_op: Any, results: Iterable[int]) -> list[Any]:
        """The inputs of an op that the given outputs depend on."""
        inputs = list(tf_op.inputs)
        wanted = sorted(results)
        if tf_op.type == "IdentityN":
            return [inputs[index] for index in wanted]
        if tf_op.type in _CALLS:
            return self._select(inputs, [(self._graph(tf_op, "f"), wanted)])
        if tf_op.type in _WHILE:
            return [inputs[index] for index in sorted(self.loop_variables(tf_op, wanted))]
        if tf_op.type in _IF:
            branches = [self._graph(tf_op, name) for name in ("then_branch", "else_branch")]
            return inputs[:1] + self._select(inputs[1:], [(branch, wanted) for branch in branches])
        if tf_op.type in _CASE:
            branches = [self.function(tf_op.graph, item.name) for item in tf_op.get_attr("branches")]
            return inputs[:1] + self._select(inputs[1:], [(branch, wanted) for branch in branches])
        return inputs

    def loop_variables(self, tf_op: Any, wanted: Iterable[int]) -> frozenset[int]:
        """The variables of a loop that lead to those wanted after it, or to its condition."""
        body, condition = self._graph(tf_op, "body"), self._graph(tf_op, "cond")
        needed = set(wanted) | self.arguments(condition, (0,))
        while True:
            more = needed | self.arguments(body, tuple(sorted(needed)))
            if more == needed:
                return frozenset(needed)
            needed = more

    def arguments(self, func_graph: Any, wanted: tuple[int, ...]) -> frozenset[int]:
        """The arguments of a function that the outputs ``wanted`` depend on."""
        key = (id(func_graph), wanted)
        if key not in self._known:
            places = {tensor.ref(): index for index, tensor in enumerate(func_graph.inputs)}
            roots = [func_graph.outputs[index] for index in wanted]
            found = {places[tensor.ref()] for tensor in roots if tensor.ref() in places}
            for tf_op, results in self._results(roots, set(places)).items():
                found |= {places[t.ref()] for t in self.reads(tf_op, results) if t.ref() in places}
            self._known[key] = func_graph, frozenset(found)  # with the graph, so that its id stays its own
        return self._known[key][1]

    def _graph(self, tf_op: Any, attribute: str) -> Any:
        return self.function(tf_op.graph, tf_op.get_attr(attribute).name)

    def _select(self, inputs: Sequence[Any], calls: Sequence[tuple[Any, Sequence[int]]]) -> list[Any]:
        used: set[int] = set()
        for func_graph, wanted in calls:
            used |= self.arguments(func_graph, tuple(wanted))
        return [inputs[index] for index in sorted(used)]

    def _results(self, roots: Sequence[Any], known: set[Any]) -> dict[Any, set[int]]:
        """The needed outputs of every op; an op is looked at again when another of its outputs is needed."""
        results: dict[Any, set[int]] = {}
        stack = list(roots)
        while stack:
            tensor = stack.pop()
            if tensor.ref() in known or tensor.value_index in results.get(tensor.op, ()):
                continue
            results.setdefault(tensor.op, set()).add(tensor.value_index)
            stack.extend(self.reads(tensor.op, results[tensor.op]))
        return results


def _order(
    roots: Sequence[Any],
    known: set[Any],
    results: dict[Any, set[int]],
    reads: Callable[[Any, Iterable[int]], list[Any]],
) -> list[Any]:
    order: list[Any] = []
    done: set[Any] = set()
    stack = [(tensor.op, False) for tensor in reversed(roots) if tensor.ref() not in known]
    while stack:
        tf_op, ready = stack.pop()
        if tf_op in done:
            continue
        if ready:
            done.add(tf_op)
            order.append(tf_op)
            continue
        stack.append((tf_op, True))
        operands = [t for t in reversed(reads(tf_op, results[tf_op])) if t.ref() not in known]
        stack.extend((t.op, False) for t in operands if t.op not in done)
    return order
