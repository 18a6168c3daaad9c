"""A symbolic size as a value: read from an axis that has it, or computed from those that it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pullback_export.graph.dims import Atom, Dim, Size, never_negative
from pullback_export.graph.values import Region, Value


def sizes_value(graph: Region, sizes: Sequence[Size]) -> Value:
    """An int64 vector with these contents; raises ``KeyError`` for a free size that is not that of any axis."""
    if all(isinstance(size, int) for size in sizes):
        return graph.constant(np.array(sizes, np.int64))
    return graph.emit("Concat", [_vector(graph, size) for size in sizes], {"axis": 0})


def _vector(graph: Region, size: Size) -> Value:
    """A vector of one element that holds ``size``."""
    if isinstance(size, int):
        return graph.constant(np.array([size], np.int64))
    known = graph.vector_of(size)
    if known is not None:
        return known
    total: Value | None = None
    for atoms, factor in size.terms:
        term = graph.constant(np.array([factor], np.int64))
        for atom in atoms:
            term = term * _axis_size(graph, atom)
        total = term if total is None else total + term
    assert total is not None
    return total


def _axis_size(graph: Region, atom: Atom) -> Value:
    size = Dim({(atom,): 1})
    known = graph.vector_of(size)
    if known is not None:
        return known
    for sources in _in_sight(graph):
        for value in sources:
            if value.shape is not None and size in value.shape:
                axis = value.shape.index(size)
                return graph.emit("Shape", [value], {"start": axis, "end": axis + 1})
        for value in sources:
            for axis, item in enumerate(value.shape or ()):
                if isinstance(item, Dim) and (solved := item.solve()) is not None and solved[0] == atom:
                    _, factor, rest = solved
                    whole = graph.emit("Shape", [value], {"start": axis, "end": axis + 1})
                    return (whole - rest) / factor
    if atom.operation is not None:
        return _computed(graph, atom.operation, atom.operands)
    raise KeyError(f"no tensor of the graph has an axis of size {atom}")


def _in_sight(graph: Region | None) -> Iterator[list[Value]]:
    """The inputs and results of ``graph``, then those of the graphs around it."""
    while graph is not None:
        yield [value for _, value in graph.inputs] + [value for node in graph.nodes for value in node.outputs]
        graph = graph.parent


def _computed(graph: Region, operation: str, operands: Sequence[Size]) -> Value:
    first, *others = (_vector(graph, size) for size in operands)
    if operation == "broadcast":
        for other in others:
            first = graph.emit("Where", [first.equals(1), other, first])
        return first
    if operation == "floor" and not all(map(never_negative, operands)):
        return (first - graph.emit("Mod", [first, *others])) / others[0]  # Div alone rounds towards zero
    op_type = {"floor": "Div", "trunc": "Div", "mod": "Mod", "max": "Max"}[operation]
    return graph.emit(op_type, [first, *others])
