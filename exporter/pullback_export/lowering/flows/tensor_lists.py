"""TensorFlow's tensor lists, as objects that exist only while a graph is converted.

A list holds one *column* for each tensor in an element (two where elements are complex, several where they are lists
themselves). Columns know what they can: elements that are all equal, or that count up, are never written out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import (
    Column,
    Counted,
    Items,
    Ragged,
    Repeated,
    Stacked,
    constant_index,
    repeat,
    zeros,
)
from pullback_export.lowering.flows.forms import Composite, leaves, lengths, map_lists, rebuild, same_form

# Longer lists that are written one element at a time become one tensor.
LONGEST_ITEMS = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class TensorList(Composite):
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

    def leaves(self) -> list[Value]:
        return [self.length, *[value for column in self.columns for value in column.leaves()]]

    def rebuild(self, values: Sequence[Value]) -> TensorList:
        columns, at = [], 1
        for column in self.columns:
            width = len(column.leaves())
            columns.append(column.rebuild(values[at : at + width]))
            at += width
        return dataclasses.replace(self, length=values[0], columns=tuple(columns))

    def same_form(self, other: Any) -> bool:
        if len(self.columns) != len(other.columns) or not same_form(self.template, other.template):
            return False
        return all(
            type(a) is type(b) and len(a.leaves()) == len(b.leaves())
            for a, b in zip(self.columns, other.columns, strict=True)
        )

    def lengths(self) -> list[bool]:
        inner = lengths(self.template)
        return [True, *[mark for column, mark in zip(self.columns, inner, strict=True) for _ in column.leaves()]]

    def map_lists(self, change: Callable[[Any], Any]) -> Any:
        return change(self)

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
            raise op.unsupported(
                "an element that was never set is read and its shape is unknown; give the TensorArray an element_shape"
            )
        return zeros(op, [size for size in known if size is not None], self.dtype)

    def filled(self, op: OpContext, like: Any) -> TensorList:
        """This list, where it was never set with zeros of the form of the element ``like``."""
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
            raise op.unsupported(
                "the elements of this list differ in kind (real, complex or nested); use one list for each kind"
            )
        row = op.Reshape(op.cast(index, np.int64), [1, 1])
        columns = [
            Stacked(op.ScatterND(column.stack(op, self.length), row, op.Unsqueeze(part, [0])))
            for column, part in zip(whole.columns, leaves(theirs), strict=True)
        ]
        return dataclasses.replace(whole, template=rebuild(theirs, leaves(theirs)), columns=tuple(columns))

    def push(self, op: OpContext, element: Any) -> TensorList:
        """The list with one more element at its end."""
        count = constant_index(self.length)
        parts = leaves(element)
        columns: list[Column]
        if count == 0:
            columns = [Items((part,)) for part in parts]
        elif self.template is not None and not same_form(self.template, element):
            raise op.unsupported(
                "the elements of this list differ in kind (real, complex or nested); use one list for each kind"
            )
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
        if self.template is None:
            known = merge_dims(self.dims, dims)
            if self.dtype is None or known is None or any(size is None for size in known):
                raise op.unsupported(
                    "this list was never written to and its element shape is unknown;"
                    " give the TensorArray an element_shape"
                )
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


def agree(op: OpContext, left: Any, right: Any) -> tuple[Any, Any]:
    """Two flows in one form: lists that are kept differently become rows of tensors."""
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
    samples: list[Value] = []
    for column in full.columns:
        stacked = column.stack(op, full.length)
        samples.append(zeros(op, stacked.dims[1:], stacked.dtype))
    return rebuild(full.template, samples)


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
