"""The strings that a model tells apart, for the samples that parity is measured on.

Keys of tables, mask tokens, and texts that hold several of them with what the model splits at in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.lowering.flows.captured_tables import CapturedTable, captured_tables
from pullback_export.sources.inside.composed_texts import marks_in, texts_of
from pullback_export.sources.source import Source

# Of each input at most so many, evenly spaced.
MOST = 256
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "Case", "StatelessCase", "While")


def known_strings(source: Source) -> Mapping[str, tuple[str, ...]]:
    """For each input of strings, what it is looked up among or compared with, and texts of it; none without a trace."""
    names = [spec.name for spec in source.inputs if spec.dtype == tf.string]
    if not names:
        return {}
    try:
        traced = tf.function(source.call, autograph=False).get_concrete_function(*source.inputs)
    except (ExportError, tf.errors.OpError, TypeError, ValueError):
        return {}  # the trace that is exported says in its words what is wrong
    starts = {spec.name: tensor for spec, tensor in zip(source.inputs, traced.inputs, strict=False)}
    tables = {table.name: table for table in captured_tables(traced.graph) if table.key_type == tf.string}
    return {name: _told_apart(starts[name], tables) for name in names}


def _told_apart(start: Any, tables: Mapping[str, CapturedTable]) -> tuple[str, ...]:
    """What strings that ``start`` leads to meet; where they get to a function that is called, keys of all tables.

    Where a part of them is met, after they were split or cleaned, these are texts of several words, too.
    """
    reached = list(_reached(start))
    known = {text for op in reached for text in _met(op, tables)}
    marks = _marks(start.graph, reached)
    return _spaced(known | set(texts_of(sorted(known), marks)) if marks else known)


def _marks(graph: Any, reached: Sequence[Any]) -> list[str]:
    """What ends a part of a string for the operators that are ``reached``, or for any in a function that is called."""
    definition = graph.as_graph_def()
    found = marks_in(definition.node, {op.name for op in reached})
    for function in definition.library.function if any(op.type in _CALLS for op in reached) else ():
        found += marks_in(function.node_def)
    return list(dict.fromkeys(found))


def _reached(start: Any) -> Iterator[Any]:
    """The operators that strings which ``start`` leads to get to."""
    waiting, seen = [start], set()
    while waiting:
        for op in waiting.pop().consumers():
            if op.name not in seen:
                seen.add(op.name)
                yield op
                waiting += [output for output in op.outputs if output.dtype == tf.string]


def _met(op: Any, tables: Mapping[str, CapturedTable]) -> Iterator[str]:
    """The keys of the table that an op looks strings up in, or the constants that it compares them with."""
    if op.type == "LookupTableFindV2" and op.inputs[0].op.name in tables:
        yield from _keys(tables[op.inputs[0].op.name])
    elif op.type in ("Equal", "NotEqual"):
        for tensor in op.inputs:
            if tensor.op.type == "Const":
                yield from _decoded(tf.make_ndarray(tensor.op.get_attr("value")).ravel())
    elif op.type in _CALLS:
        for table in tables.values():
            yield from _keys(table)


def _keys(table: CapturedTable) -> list[str]:
    contents = table.contents()
    return [] if contents is None else _decoded(contents[0])


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
