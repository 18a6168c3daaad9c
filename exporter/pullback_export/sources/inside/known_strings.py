"""The strings that a model tells apart, for the samples that parity is measured on: keys of tables, mask tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source

# Of each input at most so many, evenly spaced.
MOST = 256
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case", "StatelessCase", "While")


def known_strings(source: Source) -> Mapping[str, tuple[str, ...]]:
    """For each input of strings, those that it is looked up among or compared with; none where no trace tells."""
    names = [spec.name for spec in source.inputs if spec.dtype == tf.string]
    if not names:
        return {}
    try:
        traced = tf.function(source.call, autograph=False).get_concrete_function(*source.inputs)
    except (ExportError, tf.errors.OpError, TypeError, ValueError):
        return {}  # the trace that is exported says in its words what is wrong
    starts = {spec.name: tensor for spec, tensor in zip(source.inputs, traced.inputs, strict=False)}
    captured = {id(internal): external for external, internal in traced.graph.captures}
    return {name: _spaced(set(_reached(starts[name], captured))) for name in names}


def _reached(start: Any, captured: Mapping[int, Any]) -> Iterator[str]:
    """What strings that ``start`` leads to meet; of a function that is called, what any string in the graph meets."""
    waiting, seen = [start], set()
    while waiting:
        tensor = waiting.pop()
        for op in tensor.consumers():
            if op.name in seen:
                continue
            seen.add(op.name)
            ops = op.graph.get_operations() if op.type in _CALLS else [op]
            for one in ops:
                yield from _met(one, captured)
            if op.type in _CALLS:
                yield from _in_called(op.graph, captured)
            waiting += [output for output in op.outputs if output.dtype == tf.string]


def _met(op: Any, captured: Mapping[int, Any]) -> Iterator[str]:
    """The keys of the table that an op looks strings up in, or the constants that it compares them with."""
    if op.type == "LookupTableFindV2" and op.get_attr("Tin") == tf.string:
        yield from _keys(captured.get(id(op.inputs[0])), op.get_attr("Tout"))
    elif op.type in ("Equal", "NotEqual") and op.inputs[0].dtype == tf.string:
        for tensor in op.inputs:
            if tensor.op.type == "Const":
                yield from _decoded(tf.make_ndarray(tensor.op.get_attr("value")).ravel())


def _in_called(graph: Any, captured: Mapping[int, Any]) -> Iterator[str]:
    """The keys of every table of strings that the graph captures, whoever reads it."""
    nodes = [node for function in graph.as_graph_def().library.function for node in function.node_def]
    types = {node.attr["Tout"].type for node in nodes if node.op == "LookupTableFindV2"}
    for handle in captured.values():
        if handle.dtype == tf.resource:
            for value_type in sorted(types):
                yield from _keys(handle, tf.as_dtype(value_type))


def _keys(handle: Any, value_type: Any) -> list[str]:
    if handle is None:
        return []
    try:
        keys, _ = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=tf.string, Tvalues=value_type)
    except tf.errors.OpError:  # a variable, or a table of something else
        return []
    return _decoded(keys.numpy())


def _decoded(items: Sequence[bytes] | np.ndarray[Any, Any]) -> list[str]:
    """What of ``items`` is UTF-8: no call of a bundle can pass anything else."""
    found = []
    for item in items:
        try:
            found.append(item.decode())
        except UnicodeDecodeError:
            continue
    return found


def _spaced(strings: set[str]) -> tuple[str, ...]:
    ordered = sorted(strings)
    places = np.linspace(0, len(ordered) - 1, min(len(ordered), MOST)).astype(int) if ordered else ()
    return tuple(ordered[place] for place in places)
