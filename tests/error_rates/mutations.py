"""What a mistake in a rule or a rewrite looks like: functions from right results to wrong ones.

Each takes an :class:`~pullback_export.lowering.context.OpContext` or a graph and a value, and gives the wrong value, or
None where this mistake cannot be made there (no two outputs to swap, no square matrix to transpose).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Mutation = Callable[[Any, Any], Any]


def wrong_sign(graph: Any, value: Any) -> Any:
    """``-y``."""
    return -value if value.dtype.kind == "f" else None


def wrong_factor(graph: Any, value: Any) -> Any:
    """``1.001 y``."""
    return value * 1.001 if value.dtype.kind == "f" else None


def forgotten(graph: Any, value: Any) -> Any:
    """``0``: a path that is dropped."""
    return value * 0.0 if value.dtype.kind == "f" else None


def off_by_one(graph: Any, value: Any) -> Any:
    """Every element takes the place of the next along the last axis, as after a pad that is one too long."""
    if value.dtype.kind != "f" or not value.shape or value.dims[-1] in (0, 1):
        return None
    first = graph.emit("Slice", [value, *_ints(graph, [0], [1], [-1])])
    rest = graph.emit("Slice", [value, *_ints(graph, [1], [np.iinfo(np.int64).max], [-1])])
    return graph.emit("Concat", [rest, first], {"axis": -1})


def transposed(graph: Any, value: Any) -> Any:
    """The last two axes in the wrong order."""
    if value.dtype.kind != "f" or value.shape is None or value.rank < 2 or value.dims[-1] != value.dims[-2]:
        return None
    if value.dims[-1] in (0, 1):
        return None
    axes = list(range(value.rank))
    return graph.emit("Transpose", [value], {"perm": [*axes[:-2], axes[-1], axes[-2]]})


def stale_row(graph: Any, value: Any) -> Any:
    """The first row for all rows, as if a constant of the trace."""
    if value.dtype.kind != "f" or not value.shape or value.dims[0] in (0, 1):
        return None
    first = graph.emit("Slice", [value, *_ints(graph, [0], [1], [0])])
    return graph.emit("Expand", [first, graph.emit("Shape", [value])])


def shifted(graph: Any, value: Any) -> Any:
    """``y + 0.001 max|y|``: a wrong constant."""
    if value.dtype.kind != "f":
        return None
    return value + graph.emit("ReduceMax", [graph.emit("Abs", [value])], {"keepdims": 0}) * 1e-3


def wrong_index(graph: Any, value: Any) -> Any:
    """``max(i - 1, 0)``: an integer that is one too small."""
    if value.dtype.kind != "i" or value.const is not None:
        return None
    return graph.emit("Max", [value - 1, graph.constant(0, value.dtype)])


def wrong_text(graph: Any, value: Any) -> Any:
    """A letter too many behind every string."""
    more = graph.constant(np.array("~", object))
    return graph.emit("StringConcat", [value, more]) if value.dtype.kind == "O" else None


MUTATIONS: dict[str, Mutation] = {
    "wrong sign": wrong_sign,
    "wrong factor": wrong_factor,
    "forgotten path": forgotten,
    "off by one": off_by_one,
    "transposed": transposed,
    "stale row": stale_row,
    "wrong constant": shifted,
    "wrong index": wrong_index,
    "wrong text": wrong_text,
}


def _ints(graph: Any, *vectors: list[int]) -> list[Any]:
    return [graph.constant(vector, np.int64) for vector in vectors]
