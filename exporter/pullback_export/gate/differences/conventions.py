"""Which derivatives pass through an operator whose gradient is a convention: reachability in the traced graph.

A difference is excused only where the way from the input to the output leads through one. Calls of functions are looked
into; of a loop or a branch that depends on the input, all that it holds counts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.tracing import Traced
from pullback_export.gate.exact_reference.evaluation import library_of
from pullback_export.gate.verdicts.excuses import SURROGATES
from pullback_export.overrides.declared.held_gradients import is_custom

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
CUSTOM = "tf.custom_gradient"
# What a tensor has passed through on its ways from an input; tensors that do not depend on it are not listed.
States = dict[str, frozenset[str]]


@dataclasses.dataclass(frozen=True)
class Conventions:
    """Of the model in ``traced``, the graph of ``evaluate`` as TensorFlow traced it."""

    traced: Traced

    def of(self, request: Request) -> tuple[str, ...]:
        """The operators with a gradient by convention on the ways from the inputs of ``request`` to its output."""
        found: set[str] = set()
        for item in request.wrt:
            found |= self._from(item.name).get(request.of.name, frozenset())
        return tuple(sorted(found))

    @functools.cached_property
    def _library(self) -> dict[str, Any]:
        return library_of(self.traced.concrete)

    def _from(self, name: str) -> States:
        """By output, what is passed on the ways from the input ``name``."""
        function = self.traced.function
        definition = self._library[self.traced.concrete.function_def.signature.name]
        index = [spec.name for spec in function.inputs].index(name)
        start: States = {definition.signature.input_arg[index].name: frozenset()}
        results = _passed(definition, self._library, start)
        flat = sorted(function.outputs)  # a traced dictionary has its keys in order
        keys = [argument.name for argument in definition.signature.output_arg]
        return {output: results[key] for output, key in zip(flat, keys, strict=True) if key in results}


def _passed(definition: Any, library: Mapping[str, Any], start: States) -> States:
    """By result of a function, what is passed on the ways from the arguments in ``start``."""
    known = dict(start)
    before = -1
    while before != (before := sum(len(state) + 1 for state in known.values())):
        for node in definition.node_def:
            states = [_state(known, tensor) for tensor in node.input if not tensor.startswith("^")]
            reached = [state for state in states if state is not None]
            if not reached:
                continue
            if node.op in _CALLS and node.attr["f"].func.name in library:
                known |= _called(node, library, states)
            else:
                known[node.name] = frozenset().union(*reached, _held_by(node, library))
    found = {key: _state(known, tensor) for key, tensor in definition.ret.items()}
    return {key: state for key, state in found.items() if state is not None}


def _called(node: Any, library: Mapping[str, Any], states: list[frozenset[str] | None]) -> States:
    """What each output of a call has passed."""
    definition = library[node.attr["f"].func.name]
    arguments = [argument.name for argument in definition.signature.input_arg]
    start = {name: state for name, state in zip(arguments, states, strict=True) if state is not None}
    results = _passed(definition, library, start)
    return {
        f"{node.name}:output:{index}": results[argument.name]
        for index, argument in enumerate(definition.signature.output_arg)
        if argument.name in results
    }


def _state(known: States, tensor: str) -> frozenset[str] | None:
    return known.get(tensor, known.get(tensor.split(":", 1)[0]))


def _held_by(node: Any, library: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """The conventions of a node, and of the functions that it is given."""
    found = {node.op} if node.op.startswith(tuple(SURROGATES)) else set()
    if is_custom(node):
        found.add(CUSTOM)
    for value in node.attr.values():
        for function in (*([value.func] if value.HasField("func") else ()), *value.list.func):
            if function.name in library and function.name not in seen:
                for inner in library[function.name].node_def:
                    found |= _held_by(inner, library, seen | {function.name})
    return frozenset(found)
