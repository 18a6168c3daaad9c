"""Calls of functions that give what is used of them, and compute nothing else.

TensorFlow's optimiser inlines calls and drops what nobody reads; as the graph stands, a call computes all of its
results. Of a convolution in groups, which Keras makes a function, that is its derivative by the filter too, for which
the CPU has no kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


class UsedResults:
    """The definitions of a ``library``, and parts of them: of each call, what is used."""

    def __init__(self, library: Mapping[str, Any]) -> None:
        self._library = library
        self._parts: dict[str, Any] = {}

    def find(self, name: str) -> Any:
        """The definition of this name with the calls in it cut, or None."""
        definition = self._parts.get(name) or self._library.get(name)
        return None if definition is None else self.of(definition)

    def of(self, definition: Any) -> Any:
        """``definition`` in which every call gives what is used of it."""
        new = type(definition)()
        new.CopyFrom(definition)
        used = _used(new)
        moved: dict[str, str] = {}
        for node in new.node_def:
            known = node.op in _CALLS and node.attr["f"].func.name in self._library
            kept = sorted(used.get(node.name, ()))
            if known and kept and len(kept) < len(node.attr["Tout"].list.type):
                self._cut(node, kept)
                moved |= {_result(node.name, old): _result(node.name, place) for place, old in enumerate(kept)}
        if moved:
            for node in new.node_def:
                node.input[:] = [moved.get(item, item) for item in node.input]
            for key, item in list(new.ret.items()):
                new.ret[key] = moved.get(item, item)
        return new

    def _cut(self, node: Any, kept: Sequence[int]) -> None:
        """Makes ``node`` a call of the part that gives the results in ``kept``."""
        name = node.attr["f"].func.name
        part = f"{name}__{'_'.join(map(str, kept))}"
        if part not in self._parts:
            self._parts[part] = part_of(self._library[name], kept, effects=True)
            self._parts[part].signature.name = part
        types = list(node.attr["Tout"].list.type)
        node.attr["f"].func.name = part
        node.attr["Tout"].list.type[:] = [types[index] for index in kept]
        if "_output_shapes" in node.attr:
            del node.attr["_output_shapes"]


def part_of(definition: Any, results: Sequence[int], effects: bool) -> Any:
    """``definition`` with these of its ``results``, and the nodes that lead to them; with its ``effects``, or none."""
    new = type(definition)()
    new.CopyFrom(definition)
    kept = [definition.signature.output_arg[index] for index in results]
    del new.signature.output_arg[:]
    new.ret.clear()
    for argument in kept:
        if argument.name not in new.ret:
            new.signature.output_arg.append(argument)
        new.ret[argument.name] = definition.ret[argument.name]
    if not effects:
        del new.signature.control_output[:]
        new.control_ret.clear()
    needed = set(_ancestors(definition, [*new.ret.values(), *new.control_ret.values()]))
    del new.node_def[:]
    new.node_def.extend(node for node in definition.node_def if node.name in needed)
    return new


def _used(definition: Any) -> dict[str, set[int]]:
    """By node, the numbers of the results that are read or returned."""
    found: dict[str, set[int]] = {}
    for item in (*(item for node in definition.node_def for item in node.input), *definition.ret.values()):
        name, _, result = item.partition(":")
        if result:
            found.setdefault(name, set()).add(int(result.rpartition(":")[2]))
    return found


def _result(node: str, number: int) -> str:
    return f"{node}:output:{number}"


def _ancestors(definition: Any, results: Any) -> Iterator[str]:
    """Names of all nodes that ``results`` need."""
    inputs = {node.name: node.input for node in definition.node_def}
    waiting = [_node_of(item) for item in results]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in inputs:
            continue
        seen.add(name)
        yield name
        waiting += [_node_of(item) for item in inputs[name]]


def _node_of(reference: str) -> str:
    return reference.lstrip("^").split(":", 1)[0]
