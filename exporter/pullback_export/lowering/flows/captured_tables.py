"""The lookup tables that a function graph captures, and the dtypes that its lookups, or those it calls, read them with.

To ask a table for other dtypes than its own ends the process where strings are among them (TensorFlow 2.21,
``LookupTableExportV2``), so they are followed from the capture to the operator that states them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]
_LOOKUP = "LookupTableFindV2"
# Of these, the first input chooses among functions, which get the others.
_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")


@dataclasses.dataclass(frozen=True)
class CapturedTable:
    """The handle of a table, the name of what stands for it in the graph, and its dtypes."""

    handle: Any
    name: str
    key_type: Any
    value_type: Any

    def contents(self) -> tuple[Array, Array] | None:
        """Keys and values, strings as ``bytes``, in the order of TensorFlow's hashes; None where it cannot be read."""
        try:
            keys, values = tf.raw_ops.LookupTableExportV2(
                table_handle=self.handle, Tkeys=self.key_type, Tvalues=self.value_type
            )
        except tf.errors.OpError:
            return None
        return keys.numpy(), values.numpy()


def captured_tables(graph: Any) -> list[CapturedTable]:
    """One for each captured handle that a lookup reads."""
    variables = {id(variable.handle) for variable in graph.variables}
    handles = [
        (external, internal)
        for external, internal in graph.captures
        if external.dtype == tf.resource and id(external) not in variables
    ]
    if not handles:
        return []
    definition = graph.as_graph_def()
    library = {function.signature.name: function for function in definition.library.function}
    if not any(node.op == _LOOKUP for nodes in _all_nodes(definition) for node in nodes):
        return []
    found = []
    for external, internal in handles:
        types = next(_types(definition.node, internal.op.name, library, set()), None)
        if types is not None:
            found.append(CapturedTable(external, internal.op.name, *map(tf.as_dtype, types)))
    return found


def _all_nodes(definition: Any) -> Iterator[Any]:
    """The nodes of the graph, and those of each function in its library."""
    yield definition.node
    yield from (function.node_def for function in definition.library.function)


def _types(nodes: Any, name: str, library: Mapping[str, Any], seen: set[tuple[str, str]]) -> Iterator[tuple[int, int]]:
    """Dtypes of keys and values of every lookup that reads the resource ``name``, also in functions that are called."""
    names = {name}
    for node in nodes:
        places = [place for place, tensor in enumerate(node.input) if tensor.split(":")[0] in names]
        if not places:
            continue
        if node.op == _LOOKUP and places[0] == 0:
            yield node.attr["Tin"].type, node.attr["Tout"].type
        elif node.op == "Identity":
            names.add(node.name)
        for called in (node.op, *_called(node)):
            if called not in library:
                continue
            function = library[called]
            for place in places:
                argument = function.signature.input_arg[place - (node.op in _BRANCHES)].name
                if (called, argument) not in seen:
                    seen.add((called, argument))
                    yield from _types(function.node_def, argument, library, seen)


def _called(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
