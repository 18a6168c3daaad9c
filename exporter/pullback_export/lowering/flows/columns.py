"""Columns of tensor lists: one tensor of every element, in the form that says most about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext


class Column:
    """One tensor of every element."""

    def leaves(self) -> list[Value]:
        """The tensors that the column is made of."""
        raise NotImplementedError

    def rebuild(self, values: Sequence[Value]) -> Column:
        raise NotImplementedError

    def item(self, op: OpContext, index: Value) -> Value:
        raise NotImplementedError

    def stack(self, op: OpContext, length: Value) -> Value:
        """All elements along a new first axis."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, eq=False)
class Items(Column):
    """Elements that are known one by one; None for one that was never set and reads as zeros."""

    values: tuple[Value | None, ...]

    def leaves(self) -> list[Value]:
        return [value for value in self.values if value is not None]

    def rebuild(self, values: Sequence[Value]) -> Column:
        supply = iter(values)
        return Items(tuple(None if value is None else next(supply) for value in self.values))

    def item(self, op: OpContext, index: Value) -> Value:
        at = constant_index(index)
        if at is None or not -len(self.values) <= at < len(self.values):
            return Stacked(self.stack(op, op.const(np.int64(len(self.values))))).item(op, index)
        value = self.values[at]
        return op.full_like(self._any(), 0) if value is None else value

    def stack(self, op: OpContext, length: Value) -> Value:
        zeros = op.full_like(self._any(), 0)
        return op.Concat(*[op.Unsqueeze(zeros if value is None else value, [0]) for value in self.values], axis=0)

    def _any(self) -> Value:
        return next(value for value in self.values if value is not None)


@dataclasses.dataclass(frozen=True, eq=False)
class Stacked(Column):
    """The rows of one tensor."""

    buffer: Value

    def leaves(self) -> list[Value]:
        return [self.buffer]

    def rebuild(self, values: Sequence[Value]) -> Column:
        return Stacked(values[0])

    def item(self, op: OpContext, index: Value) -> Value:
        return op.Gather(self.buffer, op.cast(index, np.int64), axis=0)

    def stack(self, op: OpContext, length: Value) -> Value:
        return self.buffer


@dataclasses.dataclass(frozen=True, eq=False)
class Repeated(Column):
    """The same tensor in every element."""

    value: Value

    def leaves(self) -> list[Value]:
        return [self.value]

    def rebuild(self, values: Sequence[Value]) -> Column:
        return Repeated(values[0])

    def item(self, op: OpContext, index: Value) -> Value:
        return self.value

    def stack(self, op: OpContext, length: Value) -> Value:
        return repeat(op, self.value, length)


@dataclasses.dataclass(frozen=True, eq=False)
class Counted(Column):
    """``start + step * index``, whole numbers of ``dtype``; ``start`` is an int64 scalar."""

    start: Value
    step: int
    dtype: np.dtype[Any]

    def leaves(self) -> list[Value]:
        return [self.start]

    def rebuild(self, values: Sequence[Value]) -> Column:
        return Counted(values[0], self.step, self.dtype)

    def item(self, op: OpContext, index: Value) -> Value:
        return op.cast(self.start + op.cast(index, np.int64) * self.step, self.dtype)

    def stack(self, op: OpContext, length: Value) -> Value:
        return op.cast(self.start + count_up(op, length) * self.step, self.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class Ragged(Column):
    """Elements of different sizes: ``flat`` holds them one after the other, element ``k`` from ``ends[k - 1]``
    (0 for the first) to ``ends[k]``; ``shapes`` is the matrix of their shapes, ``dims`` what all have in common."""

    flat: Value
    ends: Value
    shapes: Value
    dims: tuple[Size | None, ...]

    def leaves(self) -> list[Value]:
        return [self.flat, self.ends, self.shapes]

    def rebuild(self, values: Sequence[Value]) -> Column:
        return dataclasses.replace(self, flat=values[0], ends=values[1], shapes=values[2])

    def item(self, op: OpContext, index: Value) -> Value:
        at = op.Reshape(op.cast(index, np.int64), [1])
        shape = op.Gather(self.shapes, op.Squeeze(at, [0]), axis=0)
        end = op.Gather(self.ends, at, axis=0)
        numbers = op.Slice(self.flat, end - op.ReduceProd(shape, keepdims=1), end, [0])
        element = op.Reshape(numbers, shape, allowzero=1)
        if element.shape is not None:
            sizes = zip(element.shape, self.dims, strict=True)
            element.refine(tuple(mine if known is None else known for mine, known in sizes))
        return element

    def stack(self, op: OpContext, length: Value) -> Value:
        """Possible only where TensorFlow can do it too: all elements have one shape."""
        first = op.Slice(self.shapes, [0], [1], [0])
        shape = op.ReduceMax(first, [0], keepdims=0)
        return op.Reshape(self.flat, op.Concat(op.Reshape(length, [1]), shape, axis=0), allowzero=1)


def zeros(op: OpContext, dims: Sequence[Size], dtype: np.dtype[Any]) -> Value:
    return op.full(list(dims), np.zeros((), dtype), dtype)


def repeat(op: OpContext, value: Value, length: Value) -> Value:
    """``length`` copies of a tensor along a new first axis."""
    target = op.Concat(op.Reshape(length, [1]), op.shape_of(value), axis=0)
    return op.Expand(op.Unsqueeze(value, [0]), target)


def count_up(op: OpContext, length: Value) -> Value:
    """``0, 1, ..., length - 1`` as int64."""
    return op.Range(np.int64(0), length, np.int64(1))


def constant_index(value: Value) -> int | None:
    return int(value.const.item()) if value.const is not None else None
