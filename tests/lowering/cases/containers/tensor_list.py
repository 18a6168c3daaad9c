"""Rows for ``lowering/tensor_list.py``: ``tf.TensorArray`` in all its uses, and the raw list ops."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed

WHILE = "StatelessWhile"
raw = tf.raw_ops


def _array(x: Any, size: Any, **options: Any) -> Any:
    return tf.TensorArray(x.dtype, size=size, **options)


def _collect(x: Any) -> Any:
    """Written in order."""
    array = _array(x, 4)
    _, array = tf.while_loop(
        lambda i, a: i < 4, lambda i, a: (i + 1, a.write(i, tf.sin(x) * tf.cast(i, x.dtype))), (0, array)
    )
    return array.stack()


def _collect_backwards(x: Any) -> Any:
    n = tf.shape(x)[0]
    array = _array(x, n)
    _, array = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a.write(n - 1 - i, tf.sin(x[i]))), (0, array))
    return array.stack()


def _collect_partly(x: Any) -> Any:
    """Every second place; the others stay zero."""
    array = _array(x, 7, element_shape=x.shape)
    _, array = tf.while_loop(
        lambda i, a: i < 3, lambda i, a: (i + 1, a.write(2 * i + 1, x * tf.cast(i, x.dtype))), (0, array)
    )
    return array.stack()


def _collect_twice(x: Any) -> Any:
    """Two writes in an iteration."""

    def body(i: Any, a: Any) -> Any:
        return i + 1, a.write(2 * i, tf.sin(x)).write(2 * i + 1, x * x)

    return tf.while_loop(lambda i, a: i < 3, body, (0, _array(x, 6)))[1].stack()


def _recurrence(x: Any) -> Any:
    """Reads what an earlier iteration wrote."""
    array = _array(x, 5, clear_after_read=False).write(0, x).write(1, tf.sin(x))

    def body(i: Any, a: Any) -> Any:
        return i + 1, a.write(i, a.read(i - 1) * a.read(i - 2) + x)

    return tf.while_loop(lambda i, a: i < 5, body, (2, array))[1].stack()


def _in_place(x: Any) -> Any:
    """Reads and writes the same places."""
    array = _array(x, tf.shape(x)[0], clear_after_read=False).unstack(x)

    def body(i: Any, a: Any) -> Any:
        return i + 1, a.write(i, tf.sin(a.read(i)) * x[0])

    return tf.while_loop(lambda i, a: i < tf.shape(x)[0], body, (0, array))[1].stack()


def _by_data(x: Any, indices: Any) -> Any:
    """Places that come from the data, some of them more than once."""
    array = _array(x, 4, clear_after_read=False).unstack(x)

    def body(i: Any, total: Any) -> Any:
        return i + 1, tf.sin(total) + array.read(indices[i]) * total

    return tf.while_loop(lambda i, total: i < 5, body, (0, x[0]))[1]


def _written_by_data(x: Any, indices: Any) -> Any:
    array = _array(x, 4, element_shape=x.shape[1:])

    def body(i: Any, a: Any) -> Any:
        return i + 1, a.write(indices[i], x[i] * x[i])

    return tf.while_loop(lambda i, a: i < 3, body, (0, array))[1].stack()


def _last_only(x: Any) -> Any:
    """One place that every iteration writes."""
    array = _array(x, 1, element_shape=x.shape)
    _, total, array = tf.while_loop(
        lambda i, t, a: i < 4, lambda i, t, a: (i + 1, tf.sin(t) * x, a.write(0, t * t)), (0, x, array)
    )
    return array.stack(), total


def _two_loops(x: Any) -> Any:
    """One array through nested loops."""

    def outer(i: Any, a: Any) -> Any:
        return i + 1, tf.while_loop(
            lambda j, b: j < 2, lambda j, b: (j + 1, b.write(2 * i + j, tf.sin(x) * tf.cast(i + j, x.dtype))), (0, a)
        )[1]

    return tf.while_loop(lambda i, a: i < 3, outer, (0, _array(x, 6)))[1].stack()


def _unrolled(x: Any) -> Any:
    """Without a loop."""
    array = _array(x, 3, clear_after_read=False).write(0, tf.sin(x)).write(2, x * x)
    array = array.write(1, array.read(0) * array.read(2))
    return array.stack(), array.read(1)


def _unset(x: Any) -> Any:
    array = _array(x, 3, element_shape=x.shape).write(1, x)
    return array.stack()


def _gathered(x: Any, indices: Any) -> Any:
    return _array(x, 4, clear_after_read=False).unstack(x).gather(indices)


def _scattered(x: Any, indices: Any) -> Any:
    array = _array(x, 4, element_shape=x.shape[1:], clear_after_read=False).scatter(indices, x)
    return array.stack() * array.read(0)


def _concatenated(x: Any) -> Any:
    array = _array(x, 3, infer_shape=False)
    _, array = tf.while_loop(
        lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, tf.sin(x) * tf.cast(i, x.dtype))), (0, array)
    )
    return array.concat()


def _split(x: Any) -> Any:
    array = _array(x, 3, infer_shape=False).split(x, [2, 2, 2])
    return array.read(1) * array.read(2)


def _grown(x: Any) -> Any:
    """An array that grows as it is written."""
    array = _array(x, 0, dynamic_size=True)
    _, array = tf.while_loop(
        lambda i, a: i < 4, lambda i, a: (i + 1, a.write(i, tf.sin(x) * tf.cast(i, x.dtype))), (0, array)
    )
    return array.stack()


def _size_of(x: Any) -> Any:
    array = _array(x, tf.shape(x)[0]).unstack(x)
    return tf.cast(array.size(), x.dtype) * x


def _pushed(x: Any) -> Any:
    """A list as a stack of elements, with a loop in between."""
    items = raw.EmptyTensorList(element_shape=x.shape, max_num_elements=-1, element_dtype=x.dtype)
    items = raw.TensorListPushBack(input_handle=items, tensor=tf.sin(x))
    items = raw.TensorListPushBack(input_handle=items, tensor=x * x)
    count = raw.TensorListLength(input_handle=items)
    items, last = raw.TensorListPopBack(input_handle=items, element_shape=x.shape, element_dtype=x.dtype)
    rows = raw.TensorListStack(input_handle=items, element_shape=x.shape, element_dtype=x.dtype)
    return rows, last, count


def _pushed_in_loop(x: Any) -> Any:
    """A loop that pushes twice, one that pops and pushes, and one that pops."""
    items = raw.EmptyTensorList(element_shape=x.shape, max_num_elements=-1, element_dtype=x.dtype)

    def push(i: Any, items: Any) -> Any:
        items = raw.TensorListPushBack(input_handle=items, tensor=tf.sin(x) * tf.cast(i, x.dtype))
        return i + 1, raw.TensorListPushBack(input_handle=items, tensor=x)

    def replace(i: Any, items: Any) -> Any:
        items, last = raw.TensorListPopBack(input_handle=items, element_shape=x.shape, element_dtype=x.dtype)
        return i + 1, raw.TensorListPushBack(input_handle=items, tensor=last * x)

    def pop(i: Any, items: Any, total: Any) -> Any:
        items, last = raw.TensorListPopBack(input_handle=items, element_shape=x.shape, element_dtype=x.dtype)
        return i + 1, items, tf.sin(total) + last

    items = tf.while_loop(lambda i, items: i < 3, push, (0, items))[1]
    items = tf.while_loop(lambda i, items: i < 2, replace, (0, items))[1]
    _, items, total = tf.while_loop(lambda i, items, total: i < 4, pop, (0, items, x))
    return total, raw.TensorListStack(input_handle=items, element_shape=x.shape, element_dtype=x.dtype)


def _joined(x: Any) -> Any:
    one = raw.TensorListFromTensor(tensor=x, element_shape=x.shape[1:])
    two = raw.TensorListFromTensor(tensor=tf.sin(x), element_shape=x.shape[1:])
    both = raw.TensorListConcatLists(input_a=one, input_b=two, element_dtype=x.dtype)
    longer = raw.TensorListResize(input_handle=both, size=tf.shape(x)[0] * 2 + 1)
    item = raw.TensorListGetItem(input_handle=longer, index=1, element_shape=x.shape[1:], element_dtype=x.dtype)
    shape = raw.TensorListElementShape(input_handle=one, shape_type=tf.int32)
    return raw.TensorListStack(input_handle=longer, element_shape=x.shape[1:], element_dtype=x.dtype), item, shape


def _put(x: Any, indices: Any) -> Any:
    rows = raw.TensorListFromTensor(tensor=tf.sin(x), element_shape=x.shape[1:])
    rows = raw.TensorListScatterIntoExistingList(input_handle=rows, tensor=x[:2], indices=indices)
    old = raw.TensorListScatter(tensor=x[:2], indices=indices, element_shape=x.shape[1:])
    take = lambda items: raw.TensorListStack(input_handle=items, element_shape=x.shape[1:], element_dtype=x.dtype)  # noqa: E731
    joined, lengths = raw.TensorListConcat(input_handle=rows, element_dtype=x.dtype, element_shape=x.shape[1:])
    return take(rows), take(old), joined, lengths


def _complex(x: Any) -> Any:
    """Elements are complex."""
    z = tf.complex(x, x * x)
    array = tf.TensorArray(z.dtype, size=3)
    _, array = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, z * tf.cast(i, z.dtype))), (0, array))
    return tf.math.real(array.stack())


T4 = Arg((4, 3))


def _raw_scatter(kind: str, **size: Any) -> Any:
    """Rows in other places than they stood in; the list is as long as the last place, or as it is told."""

    def function(x: Any) -> Any:
        op = getattr(raw, kind)
        handle = op(tensor=tf.sin(x), indices=[3, 0, 1], element_shape=[2], **size)
        return raw.TensorListStack(input_handle=handle, element_shape=[2], element_dtype=x.dtype)

    return function


CASES = [
    Case("list_scatter_raw", "TensorListScatter", _raw_scatter("TensorListScatter"), (Arg((3, 2), free=()),)),
    Case(
        "list_scatter_raw_sized",
        "TensorListScatterV2",
        _raw_scatter("TensorListScatterV2", num_elements=6),
        (Arg((3, 2), free=()),),
    ),
    Case(
        "list_collect",
        (WHILE, "TensorListReserve", "TensorListSetItem", "TensorListStack"),
        _collect,
        ((2, 3),),
        order=2,
    ),
    Case("list_collect_backwards", "TensorListSetItem", _collect_backwards, (T4,), order=2),
    Case("list_collect_partly", "TensorListSetItem", _collect_partly, ((2, 3),), order=2, free=(False,)),
    Case("list_collect_twice", "TensorListSetItem", _collect_twice, ((2, 3),), order=2),
    Case("list_recurrence", "TensorListGetItem", _recurrence, ((2, 3),), order=2),
    Case("list_in_place", ("TensorListGetItem", "TensorListFromTensor"), _in_place, (T4,), order=2),
    Case("list_by_data", "TensorListGetItem", _by_data, (T4, fixed([3, 1, 1, 0, 3], "int32", free=())), order=2),
    Case(
        "list_written_by_data", "TensorListSetItem", _written_by_data, (T4, fixed([3, 1, 0], "int32", free=())), order=2
    ),
    Case("list_last_only", "TensorListSetItem", _last_only, ((2, 3),), order=2, free=(False,)),
    Case("list_two_loops", "TensorListSetItem", _two_loops, ((2, 3),), order=2),
    Case("list_unrolled", ("TensorListSetItem", "TensorListGetItem"), _unrolled, ((2, 3),), order=2),
    Case("list_unset", "TensorListSetItem", _unset, ((2, 3),), order=2, free=(False,)),
    Case("list_gather", "TensorListGather", _gathered, (T4, fixed([2, 2, 0], "int32", free=())), order=2),
    Case(
        "list_scatter",
        (),
        _scattered,
        (Arg((4, 3), free=()), fixed([2, 0, 1, 3], "int32", free=())),
        order=2,
    ),
    Case("list_concat", "TensorListConcatV2", _concatenated, ((2, 3),)),
    Case("list_split", "TensorListSplit", _split, (Arg((6, 3), free=()),)),
    Case("list_grown", "TensorListSetItem", _grown, ((2, 3),), order=2),
    Case("list_size", (), _size_of, (T4,), order=2),
    Case(
        "list_push",
        ("EmptyTensorList", "TensorListPushBack", "TensorListPopBack", "TensorListLength"),
        _pushed,
        ((2, 3),),
        order=2,
        free=(False,),
    ),
    Case(
        "list_push_in_loop",
        (WHILE, "TensorListPushBack", "TensorListPopBack"),
        _pushed_in_loop,
        ((2, 3),),
        free=(False,),
    ),
    Case(
        "list_joined", ("TensorListConcatLists", "TensorListResize", "TensorListElementShape"), _joined, (T4,), order=0
    ),
    Case(
        "list_put",
        ("TensorListScatterIntoExistingList", "TensorListScatter", "TensorListConcat"),
        _put,
        (T4, fixed([1, 3], "int32", free=())),
        order=0,
        free=(False,),
    ),
    Case("list_complex", "TensorListSetItem", _complex, ((2, 3),)),
]
