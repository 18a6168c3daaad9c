"""TensorFlow's tensor lists, as objects that exist only while a graph is converted.

A list holds one *column* for each tensor in an element (two where elements are complex, several where they are lists
themselves). Columns know what they can: elements that are all equal, or that count up, are never written out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value

if TYPE_CHECKING:
    from pullback_export.lowering.context import OpContext

# Longer lists that are written one element at a time become one tensor.
LONGEST_ITEMS = 1024


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
            element.shape = tuple(mine if known is None else known for mine, known in sizes)
        return element

    def stack(self, op: OpContext, length: Value) -> Value:
        """Possible only where TensorFlow can do it too: all elements have one shape."""
        first = op.Slice(self.shapes, [0], [1], [0])
        shape = op.ReduceMax(first, [0], keepdims=0)
        return op.Reshape(self.flat, op.Concat(op.Reshape(length, [1]), shape, axis=0), allowzero=1)


@dataclasses.dataclass(frozen=True, eq=False)
class TensorList:
    """A list of ``length`` elements. ``template`` is an element's form, None as long as none was set: all are zeros.

    ``dtype`` is None where the elements are lists themselves; ``dims`` is the declared shape of an element, with None
    for sizes (or all of it) that were left open.
    """

    dtype: np.dtype[Any] | None
    dims: tuple[Size | None, ...] | None
    length: Value
    template: Any = None
    columns: tuple[Column, ...] = ()
    like: TensorList | None = None
    """Of a list of zeros whose elements are lists: the list that has elements of the same forms."""

    def element_dims(self) -> tuple[Size | None, ...] | None:
        """Shape of an element, as far as it is known."""
        if isinstance(self.template, Value) and len(self.columns) == 1:
            column = self.columns[0]
            if isinstance(column, Ragged):
                return self.dims
            sample = next(iter(column.leaves()), None) if not isinstance(column, Counted) else None
            shape = () if sample is None else sample.shape
            if shape is not None:
                return tuple(shape[1:] if isinstance(column, Stacked) else shape)
        return self.dims

    def get(self, op: OpContext, index: Value, dims: tuple[Size | None, ...] | None = None) -> Any:
        """Element ``index``; zeros where it was never set, of the list's element shape or of ``dims``."""
        from pullback_export.lowering.flows.forms import rebuild

        if self.template is None and self.like is not None:
            return self.like.get(op, index).zeros_like(op)
        if self.template is None:
            return self._zeros(op, dims)
        return rebuild(self.template, [column.item(op, index) for column in self.columns])

    def _zeros(self, op: OpContext, dims: tuple[Size | None, ...] | None) -> Any:
        known = merge_dims(self.dims, dims)
        if self.dtype is None:
            return TensorList(None, None, op.const(np.int64(0)))
        if known is None or any(size is None for size in known):
            raise op.unsupported("an element that was never set, of a shape that is not known")
        return zeros(op, [size for size in known if size is not None], self.dtype)

    def filled(self, op: OpContext, like: Any) -> TensorList:
        """This list, where it was never set with zeros of the form of the element ``like``."""
        from pullback_export.lowering.flows.forms import leaves

        if self.template is not None:
            return self
        if self.like is not None:
            return self.like._zeroed(op)
        columns: list[Column] = [Repeated(op.full_like(leaf, 0)) for leaf in leaves(like)]
        return dataclasses.replace(self, template=like, columns=tuple(columns))

    def _zeroed(self, op: OpContext) -> TensorList:
        """Lists of the same lengths, with zeros in them."""
        columns: list[Column] = []
        for column, is_length in zip(self.columns, lengths(self.template), strict=True):
            if is_length:
                columns.append(column)
            elif isinstance(column, Ragged):
                columns.append(dataclasses.replace(column, flat=op.full_like(column.flat, 0)))
            else:
                columns.append(Stacked(op.full_like(column.stack(op, self.length), 0)))
        return dataclasses.replace(self, columns=tuple(columns))

    def set(self, op: OpContext, index: Value, element: Any) -> TensorList:
        """The list with another element at ``index``."""
        from pullback_export.lowering.flows.forms import leaves, rebuild, same_form

        at, count = constant_index(index), constant_index(self.length)
        parts = leaves(element)
        known = (self.template is None or all(isinstance(column, Items) for column in self.columns)) and (
            self.template is None or same_form(self.template, element)
        )
        if known and at is not None and count is not None and 0 <= at < count <= LONGEST_ITEMS:
            columns: list[Column] = []
            for place, part in enumerate(parts):
                column = self.columns[place] if self.columns else Items((None,) * count)
                assert isinstance(column, Items)
                columns.append(Items((*column.values[:at], part, *column.values[at + 1 :])))
            return dataclasses.replace(self, template=element, columns=tuple(columns))
        whole = self.filled(op, element)
        mine, theirs = agree(op, whole.template, element)
        if not same_form(whole.template, mine):
            raise op.unsupported("a list whose elements are of different kinds")
        row = op.Reshape(op.cast(index, np.int64), [1, 1])
        columns = [
            Stacked(op.ScatterND(column.stack(op, self.length), row, op.Unsqueeze(part, [0])))
            for column, part in zip(whole.columns, leaves(theirs), strict=True)
        ]
        return dataclasses.replace(whole, template=rebuild(theirs, leaves(theirs)), columns=tuple(columns))

    def push(self, op: OpContext, element: Any) -> TensorList:
        """The list with one more element at its end."""
        from pullback_export.lowering.flows.forms import leaves, same_form

        count = constant_index(self.length)
        parts = leaves(element)
        columns: list[Column]
        if count == 0:
            columns = [Items((part,)) for part in parts]
        elif self.template is not None and not same_form(self.template, element):
            raise op.unsupported("a list whose elements are of different kinds")
        elif count is not None and count < LONGEST_ITEMS and all(isinstance(c, Items) for c in self.columns):
            columns = []
            for place, part in enumerate(parts):
                column = self.columns[place] if self.columns else Items((None,) * count)
                assert isinstance(column, Items)
                columns.append(Items((*column.values, part)))
        else:
            whole = self.filled(op, element)
            columns = [
                Stacked(op.Concat(column.stack(op, self.length), op.Unsqueeze(part, [0]), axis=0))
                for column, part in zip(whole.columns, parts, strict=True)
            ]
        return dataclasses.replace(self, length=self.length + 1, template=element, columns=tuple(columns))

    def pop(self, op: OpContext, dims: tuple[Size | None, ...] | None = None) -> tuple[TensorList, Any]:
        """The list without its last element, and that element."""
        last = self.length - 1
        return self.resized(op, last), self.get(op, last, dims)

    def resized(self, op: OpContext, length: Value) -> TensorList:
        """The first ``length`` elements, with zeros at the end where there are not as many."""
        count = constant_index(length)
        columns: list[Column] = []
        for column in self.columns:
            if isinstance(column, Items) and count is not None:
                values = column.values[:count] + (None,) * (count - len(column.values))
                if all(value is None for value in values):
                    return dataclasses.replace(self, length=length, template=None, columns=())
                columns.append(Items(values))
            elif isinstance(column, Repeated | Counted | Ragged) and _shrinks(self.length, length):
                columns.append(column)
            else:
                columns.append(Stacked(_first_rows(op, column.stack(op, self.length), self.length, length)))
        return dataclasses.replace(self, length=length, columns=tuple(columns))

    def stack(self, op: OpContext, dims: tuple[Size | None, ...] | None = None) -> Any:
        """All elements along a new first axis (complex ones by parts)."""
        from pullback_export.lowering.flows.forms import rebuild

        if self.template is None:
            known = merge_dims(self.dims, dims)
            if self.dtype is None or known is None or any(size is None for size in known):
                raise op.unsupported("a list that was never written to, of a shape that is not known")
            return repeat(op, zeros(op, [size for size in known if size is not None], self.dtype), self.length)
        return rebuild(self.template, [column.stack(op, self.length) for column in self.columns])

    def dense(self, op: OpContext) -> TensorList:
        """The same list as rows of tensors."""
        whole = self
        if self.template is None:
            whole = self.filled(op, self._zeros(op, None))
        return dataclasses.replace(
            whole, columns=tuple(Stacked(column.stack(op, self.length)) for column in whole.columns)
        )

    def zeros_like(self, op: OpContext) -> TensorList:
        """A list of as many zeros."""
        like = None if self.dtype is not None else self.like if self.template is None else self
        return TensorList(self.dtype, self.element_dims(), self.length, like=like)

    def plus(self, op: OpContext, other: Any) -> Any:
        """Sums of elements at equal places."""
        if not isinstance(other, TensorList):
            return other.plus(op, self)
        if self.template is None or other.template is None:
            return other if self.template is None else self
        columns: list[Column] = []
        for mine, theirs, is_length in zip(self.columns, other.columns, lengths(self.template), strict=True):
            if is_length:
                columns.append(mine)
            elif isinstance(mine, Ragged) and isinstance(theirs, Ragged):
                columns.append(dataclasses.replace(mine, flat=mine.flat + theirs.flat))
            elif isinstance(mine, Repeated) and isinstance(theirs, Repeated):
                columns.append(Repeated(mine.value + theirs.value))
            elif isinstance(mine, Items) and isinstance(theirs, Items) and len(mine.values) == len(theirs.values):
                columns.append(Items(tuple(_sum(a, b) for a, b in zip(mine.values, theirs.values, strict=True))))
            else:
                columns.append(Stacked(mine.stack(op, self.length) + theirs.stack(op, other.length)))
        return dataclasses.replace(self, columns=tuple(columns))


def _sum(a: Value | None, b: Value | None) -> Value | None:
    return b if a is None else a if b is None else a + b


def lengths(flow: Any) -> list[bool]:
    """For each tensor of a flow, whether it is the length of a list."""
    from pullback_export.lowering.flows.forms import Choice, Optional, leaves

    if isinstance(flow, TensorList):
        inner = lengths(flow.template)
        return [True, *[mark for column, mark in zip(flow.columns, inner, strict=True) for _ in column.leaves()]]
    if isinstance(flow, Optional):
        return [True, *lengths(flow.content)]
    if isinstance(flow, Choice):
        return [True, *lengths(flow.then), *lengths(flow.otherwise)]
    return [False] * len(leaves(flow))


def agree(op: OpContext, left: Any, right: Any) -> tuple[Any, Any]:
    """Two flows in one form: lists that are kept differently become rows of tensors."""
    from pullback_export.lowering.flows.forms import map_lists, same_form

    if same_form(left, right):
        return left, right
    if isinstance(left, TensorList) and isinstance(right, TensorList):
        if left.template is None and right.template is not None:
            left = left.filled(op, _element_of(op, right))
        elif right.template is None and left.template is not None:
            right = right.filled(op, _element_of(op, left))
        if left.template is None:
            return left, right
        return left.dense(op), right.dense(op)
    return map_lists(left, lambda item: item.dense(op)), map_lists(right, lambda item: item.dense(op))


def _element_of(op: OpContext, full: TensorList) -> Any:
    """Zeros of the form of the elements of ``full``."""
    from pullback_export.lowering.flows.forms import rebuild

    samples: list[Value] = []
    for column in full.columns:
        stacked = column.stack(op, full.length)
        samples.append(zeros(op, stacked.dims[1:], stacked.dtype))
    return rebuild(full.template, samples)


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


def merge_dims(
    left: tuple[Size | None, ...] | None, right: tuple[Size | None, ...] | None
) -> tuple[Size | None, ...] | None:
    """What two partly known shapes know together."""
    if left is None or right is None:
        return right if left is None else left
    return tuple(b if a is None else a for a, b in zip(left, right, strict=True))


def same_number(left: Value, right: Value) -> bool:
    """Whether two whole numbers are known to be equal."""
    if left is right:
        return True
    if left.sizes is None or right.sizes is None:
        return False
    return bool(left.sizes.item() == right.sizes.item())


def _shrinks(before: Value, after: Value) -> bool:
    if before.sizes is None or after.sizes is None:
        return False
    difference = before.sizes.item() - after.sizes.item()
    return isinstance(difference, int) and difference >= 0


def _first_rows(op: OpContext, buffer: Value, before: Value, after: Value) -> Value:
    if _shrinks(before, after):
        return op.Slice(buffer, [0], op.Reshape(after, [1]), [0])
    missing = op.Max(after - before, 0)
    padding = op.Expand(
        op.const(0, buffer.dtype),
        op.Concat(op.Reshape(missing, [1]), op.Slice(op.shape_of(buffer), [1], [2**31 - 1], [0]), axis=0),
    )
    return op.Slice(op.Concat(buffer, padding, axis=0), [0], op.Reshape(after, [1]), [0])
