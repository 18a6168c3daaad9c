"""Which ops of a TensorFlow graph, and which of their outputs, lead to what is wanted.

Operators that call functions are looked into: a weight gradient that a backward loop accumulates and that no request
needs is not converted.
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
        self._known: dict[int, tuple[Any, list[int]]] = {}

    def needed(self, func_graph: Any, wanted: Sequence[int], known: set[Any]) -> list[tuple[Any, frozenset[int]]]:
        """The ops that lead to the outputs ``wanted``, inputs first, each with its needed outputs.

        ``known``: references of tensors that have a value already. The order only depends on the graph.
        """
        roots = [func_graph.outputs[index] for index in wanted]
        results = self._results(roots, known)
        order = _order(roots, known, lambda tf_op: self.reads(tf_op, results[tf_op]))
        return [(tf_op, frozenset(results[tf_op])) for tf_op in order]

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
        body = self._dependencies(self._graph(tf_op, "body"))
        needed = _mask(wanted) | self._dependencies(self._graph(tf_op, "cond"))[0]
        while True:
            more = needed
            for index in _members(needed):
                more |= body[index]
            if more == needed:
                return frozenset(_members(needed))
            needed = more

    def loop_arguments(self, tf_op: Any, index: int) -> frozenset[int]:
        """The variables that one iteration computes variable ``index`` from."""
        return frozenset(_members(self._dependencies(self._graph(tf_op, "body"))[index]))

    def _dependencies(self, func_graph: Any) -> list[int]:
        """For each output of a function the arguments that it depends on, as bits of a number."""
        if id(func_graph) not in self._known:
            masks = {tensor.ref(): 1 << index for index, tensor in enumerate(func_graph.inputs)}
            for tf_op in _order(func_graph.outputs, set(masks), lambda tf_op: list(tf_op.inputs)):
                inputs = [masks[tensor.ref()] for tensor in tf_op.inputs]
                for tensor, mask in zip(tf_op.outputs, self._through(tf_op, inputs), strict=True):
                    masks[tensor.ref()] = mask
            result = [masks[tensor.ref()] for tensor in func_graph.outputs]
            self._known[id(func_graph)] = func_graph, result  # with the graph, so that its id stays its own
        return self._known[id(func_graph)][1]

    def _through(self, tf_op: Any, inputs: list[int]) -> list[int]:
        """What the outputs of an op depend on, given what its inputs depend on."""
        if tf_op.type == "IdentityN":
            return inputs
        if tf_op.type not in (*_CALLS, *_WHILE, *_IF, *_CASE):
            return [_union(inputs)] * len(tf_op.outputs)
        places = {id(tensor): index for index, tensor in enumerate(tf_op.inputs)}
        return [
            _union(inputs[places[id(tensor)]] for tensor in self.reads(tf_op, (index,)))
            for index in range(len(tf_op.outputs))
        ]

    def _graph(self, tf_op: Any, attribute: str) -> Any:
        return self.function(tf_op.graph, tf_op.get_attr(attribute).name)

    def _select(self, inputs: Sequence[Any], calls: Sequence[tuple[Any, Sequence[int]]]) -> list[Any]:
        used = 0
        for func_graph, wanted in calls:
            dependencies = self._dependencies(func_graph)
            used |= _union(dependencies[index] for index in wanted)
        return [inputs[index] for index in _members(used)]

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


def _order(roots: Sequence[Any], known: set[Any], reads: Callable[[Any], list[Any]]) -> list[Any]:
    """The ops that lead to ``roots``, each after those it reads from."""
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
        operands = [tensor for tensor in reversed(reads(tf_op)) if tensor.ref() not in known]
        stack.extend((tensor.op, False) for tensor in operands if tensor.op not in done)
    return order


def _mask(members: Iterable[int]) -> int:
    return _union(1 << member for member in members)


def _union(masks: Iterable[int]) -> int:
    total = 0
    for mask in masks:
        total |= mask
    return total


def _members(mask: int) -> list[int]:
    return [index for index in range(mask.bit_length()) if mask >> index & 1]
