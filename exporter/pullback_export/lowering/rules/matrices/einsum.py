"""``Einsum``: diagonals and sums of each operand, then one matrix product, then the axes in their order."""

from __future__ import annotations

import dataclasses
import operator
from functools import partial
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.size_arithmetic import broadcast, product
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import each, real_of
from pullback_export.lowering.numerics.matrices.batches import identity, unsqueeze
from pullback_export.lowering.registry import lowers


@dataclasses.dataclass(frozen=True)
class Term:
    """A tensor and one label for each axis; the axes of an ellipsis have the labels 0, 1, ... from the right."""

    value: Any
    labels: tuple[str, ...]

    def size(self, label: str) -> Size:
        return real_of(self.value).dims[self.labels.index(label)]


@lowers("Einsum", "XlaEinsum")
def einsum(op: OpContext, *operands: Any) -> Any:
    """Einstein summation of one or two operands. A label twice in an operand takes the diagonal, twice in the result
    writes one; axes under an ellipsis broadcast. An empty axis sums to 0.
    """
    left, right = op.attr("equation").replace(" ", "").split("->")
    terms = [
        _diagonal(op, Term(value, _labels(text, real_of(value).rank)))
        for text, value in zip(left.split(","), operands, strict=True)
    ]
    dots = max((sum(label.isdigit() for label in term.labels) for term in terms), default=0)
    wanted = _expanded(right, dots)
    unique = tuple(dict.fromkeys(wanted))
    for index, term in enumerate(terms):
        others = set(unique).union(*(other.labels for at, other in enumerate(terms) if at != index))
        terms[index] = _summed(op, term, [label for label in term.labels if label not in others])
    total = _product(op, terms[0], terms[1], unique) if len(terms) == 2 else terms[0]
    return _written_diagonal(op, _ordered(op, total, unique), wanted).value


def _labels(text: str, rank: int) -> tuple[str, ...]:
    return _expanded(text, rank - len(text.replace("...", "")))


def _expanded(text: str, dots: int) -> tuple[str, ...]:
    before, ellipsis, after = text.partition("...")
    middle = [str(index) for index in range(dots)[::-1]] if ellipsis else []
    return (*before, *middle, *after)


def _ordered(op: OpContext, term: Term, labels: tuple[str, ...]) -> Term:
    perm = [term.labels.index(label) for label in labels]
    return Term(each(lambda part: op.transpose(part, perm), term.value), labels)


def _summed(op: OpContext, term: Term, gone: list[str]) -> Term:
    if not gone:
        return term
    axes = [term.labels.index(label) for label in gone]
    kept = tuple(label for label in term.labels if label not in gone)
    return Term(each(lambda part: op.ReduceSum(part, axes, keepdims=0), term.value), kept)


def _diagonal(op: OpContext, term: Term) -> Term:
    """``aa -> a`` for every label that occurs several times: the flat axes in steps of ``n**(k-1) + ... + 1``."""
    for label in dict.fromkeys(term.labels):
        times = term.labels.count(label)
        if times == 1:
            continue
        size = term.size(label)
        rest = [axis for axis, name in enumerate(term.labels) if name != label]
        same = [axis for axis, name in enumerate(term.labels) if name == label]
        kept = tuple(term.labels[axis] for axis in rest)
        flat, step = product([size] * times), sum((product([size] * k) for k in range(1, times)), 1)
        take = partial(_strided, op, [*rest, *same], len(rest), flat, step, size)
        term = Term(each(take, term.value), (*kept, label))
    return term


def _strided(op: OpContext, perm: list[int], at: int, flat: Size, step: Size, size: Size, x: Value) -> Value:
    """The axes from ``at`` on, flat, in steps of ``step``: ``size`` elements."""
    moved = op.transpose(x, perm)
    moved = op.reshape(moved, [*moved.dims[:at], flat])
    result: Value = op.Slice(moved, [0], [2**31 - 1], [at], op.sizes([step]))
    result.refine((*moved.dims[:at], size))
    return result


def _written_diagonal(op: OpContext, term: Term, wanted: tuple[str, ...]) -> Term:
    """``a -> aa``: times the identity, once for each repetition."""
    for axis, label in enumerate(wanted):
        first = wanted.index(label)
        if first == axis:
            continue
        shape: list[Size] = [1] * (axis + 1)
        size = real_of(term.value).dims[first]
        shape[first] = shape[axis] = size
        ones = identity(op, size, real_of(term.value).dtype)
        rest = real_of(term.value).rank - axis
        eye = op.reshape(ones, [*shape, *[1] * rest])
        spread = unsqueeze(op, term.value, axis)
        term = Term(each(partial(operator.mul, eye), spread), wanted[: axis + 1])
    return term


def _product(op: OpContext, a: Term, b: Term, wanted: tuple[str, ...]) -> Term:
    """The two operands as stacks of matrices, the contracted axes innermost, times each other."""
    shared = [label for label in a.labels if label in b.labels]
    batch = [label for label in wanted if label in shared]
    summed = [label for label in shared if label not in wanted]
    rows = [label for label in a.labels if label not in shared]
    columns = [label for label in b.labels if label not in shared]
    if wanted == (*batch, *columns, *rows) and columns and rows:
        return _product(op, b, a, wanted)
    labels = (*batch, *rows, *columns)
    if not summed:
        return Term(_aligned(op, a, labels) * _aligned(op, b, labels), labels)
    left = _ordered(op, a, (*batch, *rows, *summed))
    right = _ordered(op, b, (*batch, *summed, *columns))
    shape = broadcast(_sizes(left, batch), _sizes(right, batch)) if batch else ()
    inner = product(_sizes(right, summed))
    heads = _sizes(left, rows)
    head = (*_sizes(left, batch), product(heads), inner) if batch else (*heads, inner)
    x = each(lambda part: op.reshape(part, head), left.value)
    tail = (*_sizes(right, batch), inner, product(_sizes(right, columns)))
    y = each(lambda part: op.reshape(part, tail), right.value)
    sizes = [*shape, *heads, *_sizes(right, columns)]
    return Term(each(lambda part: op.reshape(part, sizes), x @ y), labels)


def _sizes(term: Term, labels: list[str]) -> tuple[Size, ...]:
    return tuple(term.size(label) for label in labels)


def _aligned(op: OpContext, term: Term, labels: tuple[str, ...]) -> Any:
    """The axes in the order of ``labels``, with an axis of size 1 for each label that the term lacks."""
    own = tuple(label for label in labels if label in term.labels)
    missing = [axis for axis, label in enumerate(labels) if label not in term.labels]
    ordered = _ordered(op, term, own).value
    return each(lambda part: op.Unsqueeze(part, op.const(missing, np.int64)), ordered) if missing else ordered
