"""Computes on one row what is the same in every row: seeds of ones, constants, and what follows from them.

An ``Expand`` that repeats rows moves behind the op that reads it, where ``identities.shrunk`` mostly
drops it for good. The first step of a backward pass, ones times the last weight matrix, becomes a constant this way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.dims import Dim, Shape, Size, divide, known
from pullback_export.graph.operators import BROADCASTING, UNARY
from pullback_export.graph.size_arithmetic import broadcast, product
from pullback_export.graph.values import Operands, Region, Value
from pullback_export.optimize.rewrite import made_by


def before_expansion(graph: Region, op_type: str, operands: Operands, attributes: dict[str, Any]) -> Value | None:
    """The node's result computed before rows are repeated, then repeated; None where nothing is gained."""
    if op_type in UNARY:
        return _unary(graph, op_type, operands, attributes)
    if op_type in BROADCASTING:
        return _binary(graph, op_type, operands, attributes)
    if op_type in ("MatMul", "Gemm"):
        return _product(graph, op_type, operands, attributes)
    if op_type == "Reshape":
        return _reshape(graph, operands) if not attributes.get("allowzero") else None
    if op_type == "Pad":
        return _pad(graph, operands, attributes)
    return None


def _source(value: Value | None) -> Value | None:
    """What an ``Expand`` repeats."""
    node = made_by(value, "Expand")
    source = node.inputs[0] if node is not None else None
    if value is None or value.shape is None or source is None or source.shape is None:
        return None
    return source


def _row(graph: Region, value: Value | None) -> Value | None:
    """One row, with a leading axis of size 1, of a tensor whose rows are all equal."""
    source = _source(value)
    if source is None or value is None or value.rank < 1 or value.dims[0] == 1:
        return None
    if source.rank == value.rank and source.dims[0] != 1:
        return None
    if not all(isinstance(size, int) for size in value.dims[1:]):
        return None
    return graph.emit("Expand", [source, graph.sizes_value((1, *value.dims[1:]))])


def _repeat(graph: Region, row: Value, rows: Size) -> Value | None:
    try:
        return graph.emit("Expand", [row, graph.sizes_value((rows, *row.dims[1:]))])
    except KeyError:
        return None


def _unary(graph: Region, op_type: str, operands: Operands, attributes: dict[str, Any]) -> Value | None:
    value, source = operands[0], _source(operands[0])
    if source is None or value is None or value.node is None:
        return None
    return graph.emit("Expand", [graph.emit(op_type, [source, *operands[1:]], attributes), value.node.inputs[1]])


def _binary(graph: Region, op_type: str, operands: Operands, attributes: dict[str, Any]) -> Value | None:
    sources = [_source(value) for value in operands]
    if all(source is None for source in sources) or any(value is None or value.shape is None for value in operands):
        return None
    small = [source or value for source, value in zip(sources, operands, strict=True)]
    whole: Shape = ()
    part: Shape = ()
    for value, reduced in zip(operands, small, strict=True):
        assert value is not None and reduced is not None
        whole, part = broadcast(whole, value.dims), broadcast(part, reduced.dims)
    if whole == part or any(isinstance(size, Dim) and size.is_undecided for size in whole):
        return None
    try:
        target = graph.sizes_value(whole)
    except KeyError:
        return None
    return graph.emit("Expand", [graph.emit(op_type, small, attributes), target])


def _product(graph: Region, op_type: str, operands: Operands, attributes: dict[str, Any]) -> Value | None:
    left, right = operands[0], operands[1]
    if left is None or right is None or left.shape is None or right.shape is None or attributes.get("transA"):
        return None
    if left.rank != 2 or right.rank != 2 or len(operands) > 2:
        return None
    merged = _merged_product(graph, op_type, left, right, attributes)
    if merged is not None:
        return merged
    row = _row(graph, left)
    return _repeat(graph, graph.emit(op_type, [row, right], attributes), left.dims[0]) if row is not None else None


def _merged_product(graph: Region, op_type: str, left: Value, right: Value, attributes: dict[str, Any]) -> Value | None:
    """The product of rows that ``Expand`` repeated and ``Reshape`` merged: ``(seeds, B, n) -> (seeds*B, n)``."""
    inner = left.node.inputs[0] if left.node is not None and left.node.op_type == "Reshape" else None
    source = _source(inner)
    if inner is None or source is None or inner.rank < 3 or source.rank != inner.rank:
        return None
    sizes = [size for size in source.dims if isinstance(size, int)]
    if len(sizes) < source.rank or source.dims[-1] != left.dims[-1]:
        return None
    flat = graph.emit("Reshape", [source, graph.sizes_value((-1, sizes[-1]))])
    small = graph.emit(op_type, [flat, right], attributes)
    columns = small.dims[-1]
    try:
        shaped = graph.emit("Reshape", [small, graph.sizes_value((*sizes[:-1], columns))])
        whole = graph.emit("Expand", [shaped, graph.sizes_value((*inner.dims[:-1], columns))])
        return graph.emit("Reshape", [whole, graph.sizes_value((-1, columns))])
    except KeyError:
        return None


def _reshape(graph: Region, operands: Operands) -> Value | None:
    value, target = operands[0], operands[1]
    if value is None or target is None or target.sizes is None or _source(value) is None:
        return None
    if (moved := _reshape_ones(graph, value, list(target.sizes))) is not None:
        return moved
    rows, sizes = value.dims[0] if value.shape else 1, list(target.sizes)
    if isinstance(rows, int) or not sizes:
        return None
    rest = sizes[1:]
    keeps_rows = sizes[0] == rows or (isinstance(sizes[0], int) and sizes[0] in (-1, 0))
    if not keeps_rows or not all(isinstance(size, int) and size > 0 for size in rest):
        return None
    row = _row(graph, value)
    if row is None or int(np.prod(rest)) != int(np.prod([known(size) for size in row.dims])):
        return None
    return _repeat(graph, graph.emit("Reshape", [row, graph.sizes_value((1, *rest))]), rows)


def _reshape_ones(graph: Region, value: Value, sizes: list[Size]) -> Value | None:
    """A reshape that only adds or drops axes of size 1 does the same to what is repeated."""
    source = _source(value)
    sizes = [value.dims[axis] if size == 0 and axis < value.rank else size for axis, size in enumerate(sizes)]
    if -1 in sizes:
        inferred = divide(product(value.dims), product([size for size in sizes if size != -1]))
        sizes = [inferred if size == -1 and inferred is not None else size for size in sizes]
    if (
        source is None
        or source.rank != value.rank
        or [size for size in sizes if size != 1] != [s for s in value.dims if s != 1]
    ):
        return None
    small = iter([part for part, size in zip(source.dims, value.dims, strict=True) if size != 1])
    try:
        row = graph.emit("Reshape", [source, graph.sizes_value([1 if size == 1 else next(small) for size in sizes])])
        return graph.emit("Expand", [row, graph.sizes_value(sizes)])
    except KeyError:
        return None


def _pad(graph: Region, operands: Operands, attributes: dict[str, Any]) -> Value | None:
    value, pads = operands[0], operands[1]
    if value is None or pads is None or pads.const is None or len(operands) > 3 or _source(value) is None:
        return None
    rank = value.rank
    if (
        pads.const.size != 2 * rank
        or pads.const[0]
        or pads.const[rank]
        or attributes.get("mode", "constant") != "constant"
    ):
        return None
    row = _row(graph, value)
    return (
        _repeat(graph, graph.emit("Pad", [row, *operands[1:]], attributes), value.dims[0]) if row is not None else None
    )
