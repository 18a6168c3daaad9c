"""The operands of ONNX's recurrent operators, from the gates of a cell and what its rows are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pullback_export.graph.values import Array, Region, Value
from pullback_export.optimize.recurrent.affine import Term, columns_of
from pullback_export.optimize.recurrent.cells import Cell, Gate

# What is larger is stored once and rearranged when the session opens.
_SMALL = 4096

# With weights up to here, inputs and states up to 1e15 on average, no sum overflows: see operator.safe.
_LARGEST_WEIGHT = 1e6


@dataclasses.dataclass(frozen=True)
class Operands:
    """``x`` (T, B, I) and the weights W (1, gates H, I), R (1, gates H, H), B (1, 2 gates H) or None."""

    x: Value
    weights: Value
    recurrent: Value
    bias: Value | None


def operands_of(graph: Region, cell: Cell, series: dict[int, Value], size: int) -> Operands | None:
    """``series``: by the id of a row of the body, the tensor that it is a row of; ``size``: units of the cell."""
    inputs, biases = [], []
    for gate in cell.gates:
        found = _input(gate, series)
        if found is None or gate.recurrent.stop - gate.recurrent.start != size:
            return None
        product, constants = found
        if product.stop - product.start != size:
            return None
        inputs.append(product)
        biases.append(_total(constants, size))
    x = inputs[0].value
    if any(term.value is not x for term in inputs) or x.shape is None or len(x.shape) != 3:
        return None
    recurrent = [gate.recurrent for gate in cell.gates]
    after = [_total(gate.recurrent_constants, size) for gate in cell.gates]
    offsets = np.concatenate([*biases, *after])[None]
    if not all(_moderate(term.matrix) for term in (*inputs, *recurrent)) or not _is_moderate(offsets):
        return None
    bias = graph.constant(offsets.astype(x.dtype)) if offsets.any() else None
    return Operands(x, _rows(graph, inputs), _rows(graph, recurrent), bias)


def _input(gate: Gate, series: dict[int, Value]) -> tuple[Term, list[Term]] | None:
    """The product of the inputs in a gate, and everything constant in it."""
    found: list[Term] = []
    for row in gate.rows:
        terms = columns_of(series[id(row.value)], row.start, row.stop)
        if terms is None:
            return None
        found += terms
    products = [term for term in found if term.matrix is not None]
    others = [term for term in found if term.matrix is None]
    if len(products) != 1 or not all(term.is_constant for term in others):
        return None
    return products[0], [*others, *gate.constants]


def _total(terms: Sequence[Term], size: int) -> Array:
    total = np.zeros(size, np.float64)
    for term in terms:
        assert term.value.const is not None
        total = total + np.broadcast_to(term.value.const.reshape(-1)[term.start : term.stop], size)
    return total


def _moderate(matrix: Value | None) -> bool:
    return matrix is not None and matrix.const is not None and _is_moderate(matrix.const)


def _is_moderate(array: Array) -> bool:
    return bool(np.isfinite(array).all() and np.abs(array).max(initial=0) < _LARGEST_WEIGHT)


def _rows(graph: Region, terms: Sequence[Term]) -> Value:
    """``(1, gates H, K)``: the columns of each product, transposed."""
    arrays = [term.matrix.const for term in terms if term.matrix is not None and term.matrix.const is not None]
    if max(array.size for array in arrays) <= _SMALL:
        turned = [array[:, term.start : term.stop].T for array, term in zip(arrays, terms, strict=True)]
        return graph.constant(np.ascontiguousarray(np.concatenate(turned)[None]))
    parts = [_transposed_columns(graph, term) for term in terms]
    whole = graph.emit_unfolded("Concat", parts, axis=0) if len(parts) > 1 else parts[0]
    return graph.emit_unfolded("Unsqueeze", [whole, graph.constant(np.zeros(1, np.int64))])


def _transposed_columns(graph: Region, term: Term) -> Value:
    assert term.matrix is not None
    turned = graph.emit_unfolded("Transpose", [term.matrix], perm=[1, 0])
    if (term.start, term.stop) == (0, term.matrix.dims[1]):
        return turned
    bounds = [graph.constant(np.array([item], np.int64)) for item in (term.start, term.stop, 0)]
    return graph.emit_unfolded("Slice", [turned, *bounds])
