"""Rows for ``lowering/sets.py``: what is in the sets weighs floats that are differentiated."""

from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, integers


def weighed(kind: str) -> Any:
    """All three parts of a result, dense, as weights."""

    def function(x: Any, one: Any, other: Any) -> Any:
        found = getattr(tf.sets, kind)(one, other)
        dense = tf.sparse.to_dense(found, default_value=-1)
        weights = tf.reduce_sum(tf.cast(dense, x.dtype), -1)
        return weights * x**3, dense, found.dense_shape, tf.cast(found.indices, x.dtype)

    return function


def difference_the_other_way(x: Any, one: Any, other: Any) -> Any:
    found = tf.sets.difference(one, other, aminusb=False)
    return tf.cast(tf.reduce_sum(found.values), x.dtype) * x**2, found.values


def share_of_the_union(x: Any, one: Any, other: Any) -> Any:
    """The index of Jaccard of each pair of sets."""
    shared, both = (tf.sets.size(getattr(tf.sets, kind)(one, other)) for kind in ("intersection", "union"))
    share = tf.cast(shared, x.dtype) / tf.cast(both, x.dtype)
    return tf.ensure_shape(share, x.shape) * x**2


def size_of_stored(x: Any, values: Any) -> Any:
    """Elements that occur twice count once, and there is a row without any."""
    indices = tf.constant([[0, 0], [0, 1], [2, 0], [2, 1], [2, 2]], tf.int64)
    return x**2 * tf.cast(tf.sets.size(tf.sparse.SparseTensor(indices, values, (4, 3))), x.dtype)


X, A, B = Arg((3,)), integers(0, 5, 3, 4), integers(2, 8, 3, 5)
DEEP = (
    Arg((2, 3), free=(0, 1)),
    Arg((2, 3, 4), A.draw, "int64", (0, 1, 2)),
    Arg((2, 3, 2), A.draw, "int64", (0, 1, 2)),
)

CASES = [
    *(
        Case(f"set_{kind}", "DenseToDenseSetOperation", weighed(kind), (X, A, B), order=2)
        for kind in ("intersection", "union", "difference")
    ),
    Case("set_difference_of_the_other", "DenseToDenseSetOperation", difference_the_other_way, (X, A, B)),
    Case("set_of_deep_rows", "DenseToDenseSetOperation", weighed("union"), DEEP),
    Case("set_intersection_of_deep_rows", "DenseToDenseSetOperation", weighed("intersection"), DEEP),
    Case("set_of_no_elements", "DenseToDenseSetOperation", weighed("union"), (X, integers(0, 5, 3, 0), B)),
    Case("set_of_none", "DenseToDenseSetOperation", weighed("intersection"), (X, integers(0, 5, 3, 0), B)),
    Case(
        "set_of_no_rows",
        "DenseToDenseSetOperation",
        weighed("difference"),
        (Arg((0,)), integers(0, 5, 0, 2), integers(0, 5, 0, 3)),
    ),
    Case(
        "set_of_bytes",
        "DenseToDenseSetOperation",
        weighed("difference"),
        (X, integers(0, 5, 3, 4, dtype="int8"), integers(2, 8, 3, 5, dtype="int8")),
    ),
    Case("set_size", ("DenseToDenseSetOperation", "SetSize"), share_of_the_union, (X, A, B), order=2),
    Case("set_size_of_stored", "SetSize", size_of_stored, (Arg((4,), free=()), integers(0, 2, 5)), order=2),
]
