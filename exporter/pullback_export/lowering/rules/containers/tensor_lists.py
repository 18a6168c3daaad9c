"""Tensor lists (tensorflow/core/kernels/list_kernels.h); ``lists.py`` says how they are kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.columns import Stacked
from pullback_export.lowering.flows.complex_value import ComplexValue
from pullback_export.lowering.flows.forms import leaves
from pullback_export.lowering.flows.tensor_lists import TensorList, merge_dims
from pullback_export.lowering.loops.list_variables import ListFlow, LoopList, joined
from pullback_export.lowering.loops.one_element import OneElement, settled
from pullback_export.lowering.registry import lowers
from pullback_export.precision import check_dtype

Dims = tuple[Size | None, ...] | None


def _dims(shape: Value) -> Dims:
    """A list's element shape: -1 for an open size, a scalar -1 for an open rank."""
    if shape.shape == () or shape.sizes is None:
        return None
    return tuple(None if isinstance(size, int) and size < 0 else size for size in shape.sizes.ravel())


def _dtype(op: OpContext) -> np.dtype[Any] | None:
    dtype = op.tf_op.get_attr("element_dtype")
    if dtype == tf.variant:
        return None
    check_dtype(dtype)
    result: np.dtype[Any] = np.dtype(dtype.as_numpy_dtype)
    return result


def _number(op: OpContext, value: Value) -> Value:
    return (
        op.Reshape(op.cast(value, np.int64), np.zeros(0, np.int64)) if value.shape != () else op.cast(value, np.int64)
    )


@lowers("EmptyTensorList")
def empty(op: OpContext, element_shape: Value, max_elements: Value) -> TensorList:
    """No elements; ``max_elements`` is only a check."""
    return TensorList(_dtype(op), _dims(element_shape), op.const(np.int64(0)))


@lowers("TensorListReserve")
def reserve(op: OpContext, element_shape: Value, count: Value) -> TensorList:
    """``count`` elements that were not set: they read as zeros."""
    return TensorList(_dtype(op), _dims(element_shape), _number(op, count))


@lowers("TensorListFromTensor")
def from_tensor(op: OpContext, tensor: Any, element_shape: Value) -> TensorList:
    """The rows of a tensor."""
    parts = leaves(tensor)
    template = ComplexValue(*parts) if isinstance(tensor, ComplexValue) else parts[0]
    length = op.Squeeze(op.Shape(parts[0], start=0, end=1), [0])
    return TensorList(_dtype(op), _dims(element_shape), length, template, tuple(map(Stacked, parts)))


@lowers("TensorListPushBack")
def push_back(op: OpContext, items: ListFlow, element: Any) -> ListFlow:
    """One more element at the end."""
    return items.push(op, settled(op, element))


@lowers("TensorListPopBack")
def pop_back(op: OpContext, items: ListFlow, element_shape: Value) -> list[Any]:
    """The list without its last element, and that element."""
    return list(items.pop(op, _dims(element_shape)))


@lowers("TensorListGetItem")
def get_item(op: OpContext, items: ListFlow, index: Value, element_shape: Value) -> Any:
    """Element ``index``; zeros where it was never set."""
    return items.get(op, _number(op, index), merge_dims(_dims(element_shape), op.output_shape()))


@lowers("TensorListSetItem")
def set_item(op: OpContext, items: ListFlow, index: Value, element: Any) -> ListFlow:
    """The list with another element at ``index``; a list that is too short grows if the op says so."""
    index = _number(op, index)
    grows = bool(op.attr("resize_if_index_out_of_bounds"))
    if isinstance(items, LoopList):
        return items.set(op, index, settled(op, element), grows)
    if isinstance(items, TensorList) and grows:
        items = items.resized(op, op.Max(items.length, index + 1))
    if isinstance(items, TensorList) and items.template is None and op.graph.parent is not None:
        return OneElement(items, index, settled(op, element))
    return items.set(op, index, settled(op, element))


@lowers("TensorListStack")
def stack(op: OpContext, items: ListFlow, element_shape: Value) -> Any:
    """All elements along a new first axis; the shape of no elements comes from ``element_shape``."""
    return items.stack(op, _dims(element_shape))


@lowers("TensorListLength")
def length(op: OpContext, items: ListFlow) -> Value:
    """Number of elements."""
    return op.cast(items.length, np.int32)


@lowers("TensorListElementShape")
def element_shape_of(op: OpContext, items: ListFlow) -> Value:
    """Shape of an element, -1 where it is open. Lists here know more than TensorFlow's, which only makes it safer."""
    dims, dtype = items.element_dims(), op.output_dtype()
    if dims is None:
        return op.const(-1, dtype)
    sizes = []
    for size in dims:
        sizes.append(op.sizes([size if size is not None and op.graph.knows_size(size) else -1]))
    return op.cast(op.Concat(*sizes, axis=0) if sizes else op.const(np.zeros(0, np.int64)), dtype)


@lowers("TensorListResize")
def resize(op: OpContext, items: ListFlow, size: Value) -> ListFlow:
    """The first ``size`` elements, with unset ones at the end where there are not as many."""
    return items.resized(op, _number(op, size))


def _rows(op: OpContext, items: ListFlow) -> TensorList:
    plain = settled(op, items)
    if not isinstance(plain, TensorList):
        raise op.unsupported(
            "this form of tensor list is not supported here; use tf.stack, or a tf.TensorArray of one dtype and shape"
        )
    return plain


@lowers("TensorListGather")
def gather(op: OpContext, items: ListFlow, indices: Value, element_shape: Value) -> Any:
    """The elements at ``indices`` along a new first axis."""
    rows = items.stack(op, _dims(element_shape))
    return op.Gather(rows, op.cast(indices, np.int64), axis=0)


def _zero_rows(op: OpContext, count: Value, tensor: Value, dtype: np.dtype[Any] | None) -> TensorList:
    shape = op.Concat(op.Reshape(count, [1]), op.Slice(op.shape_of(tensor), [1], [2**31 - 1], [0]), axis=0)
    buffer = op.full(shape, np.zeros((), tensor.dtype), tensor.dtype)
    return TensorList(dtype, None, count, tensor, (Stacked(buffer),))


@lowers("TensorListScatterV2", "TensorListScatter")
def scatter(op: OpContext, tensor: Value, indices: Value, element_shape: Value, *count: Value) -> TensorList:
    """A list whose element ``indices[k]`` is row ``k``; as long as the last index or ``num_elements`` says."""
    last = op.ReduceMax(op.cast(op.Concat(indices, op.const([-1], indices.dtype), axis=0), np.int64), [0], keepdims=0)
    size = last + 1
    if count:
        given = _number(op, count[0])
        unlimited = given.const is not None and int(given.const.item()) < 0
        size = size if unlimited else given if given.const is not None else op.Where(given < 0, size, given)
    zero = _zero_rows(op, size, tensor, _dtype(op))
    places = op.Reshape(op.cast(indices, np.int64), [-1, 1])
    buffer = op.ScatterND(zero.columns[0].stack(op, size), places, tensor)
    return dataclasses.replace(zero, columns=(Stacked(buffer),))


@lowers("TensorListScatterIntoExistingList")
def scatter_into(op: OpContext, items: ListFlow, tensor: Value, indices: Value) -> TensorList:
    """The list with row ``k`` at place ``indices[k]``; it grows as far as the last index."""
    before = _rows(op, items)
    last = op.ReduceMax(op.cast(op.Concat(indices, op.const([-1], indices.dtype), axis=0), np.int64), [0], keepdims=0)
    if before.template is None:
        size = op.Max(before.length, last + 1)
        before = _zero_rows(op, size, tensor, before.dtype)
    else:
        before = before.resized(op, op.Max(before.length, last + 1))
    places = op.Reshape(op.cast(indices, np.int64), [-1, 1])
    buffer = op.ScatterND(before.columns[0].stack(op, before.length), places, tensor)
    return dataclasses.replace(before, columns=(Stacked(buffer),))


@lowers("TensorListConcatV2", "TensorListConcat")
def concat(op: OpContext, items: ListFlow, *settings: Value) -> list[Any]:
    """All elements one after the other along their first axis, and the length of each."""
    plain = _rows(op, items)
    rows = plain.stack(op, _dims(settings[0]) if settings else None)
    lengths = op.Expand(op.Shape(rows, start=1, end=2), op.Reshape(plain.length, [1]))
    return [op.reshape(rows, [-1, *rows.dims[2:]]), lengths]


@lowers("TensorListSplit")
def split(op: OpContext, tensor: Value, element_shape: Value, lengths: Value) -> TensorList:
    """Pieces of a tensor, ``lengths`` long: all equal, so that they are rows of one tensor."""
    known = lengths.sizes
    if known is None or known.size == 0 or any(item != known[0] for item in known):
        equal = lengths.node is not None and lengths.node.op_type == "Expand"
        if not equal:
            raise op.unsupported("TensorArray.split into pieces of different lengths; use equal lengths, or tf.split")
    padded = op.Concat(op.cast(lengths, np.int64), op.const([0], np.int64), axis=0)  # there may be no piece
    piece = op.ReduceMax(padded, [0], keepdims=1)
    shape = op.Concat(op.shape_of(lengths), piece, op.Slice(op.shape_of(tensor), [1], [2**31 - 1], [0]), axis=0)
    rows = op.Reshape(tensor, shape, allowzero=1)
    count = op.Squeeze(op.shape_of(lengths), [0])
    return TensorList(_dtype(op), None, count, tensor, (Stacked(rows),))


@lowers("TensorListConcatLists")
def concat_lists(op: OpContext, first: ListFlow, second: ListFlow) -> TensorList:
    """The elements of the second list after those of the first."""
    return joined(op, _rows(op, first), _rows(op, second))


@lowers("TensorListPushBackBatch")
def push_back_batch(op: OpContext, *operands: Any) -> TensorList:
    """Pushes row ``b`` to list ``b`` of a batch of lists."""
    raise op.unsupported(
        "batched tensor lists (a TensorArray inside tf.vectorized_map) are not supported; use tf.map_fn"
    )
