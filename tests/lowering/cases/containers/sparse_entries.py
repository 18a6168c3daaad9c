"""Rows for ``lowering/sparse_entries.py``: sums, slices and filled rows of sparse tensors."""

from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed

A = np.array([[0, 1], [1, 0], [1, 3], [2, 2]])
B = np.array([[0, 0], [1, 0], [2, 2]])
REPEATED_A = np.array([[0, 1], [1, 0], [1, 0], [2, 2]])
REPEATED_B = np.array([[1, 0], [1, 1], [2, 2], [2, 2]])
VALUES = Arg((4,), free=())


def sparse(values: Any, at: Any = A, shape: tuple[int, ...] = (3, 4)) -> Any:
    return tf.sparse.SparseTensor(at, values, shape)


def parts(tensor: Any) -> Any:
    return tensor.values**2, tensor.indices, tensor.dense_shape


def added(a: Any, b: Any, at_a: Any = A, at_b: Any = B, threshold: float = 0) -> Any:
    return parts(tf.sparse.add(sparse(a, at_a), sparse(b, at_b), threshold=threshold))


def added_from_data(x: Any, y: Any) -> Any:
    return parts(tf.sparse.add(tf.sparse.from_dense(tf.nn.relu(x)), tf.sparse.from_dense(tf.nn.relu(y))))


def added_complex(a: Any, b: Any) -> Any:
    total = tf.sparse.add(sparse(tf.complex(a, a * a)), sparse(tf.complex(b, 1 - b), B), threshold=0.5)
    return tf.math.real(total.values), tf.math.imag(total.values) ** 2, total.indices


def sliced(start: Any, size: Any, at: Any = A) -> Any:
    return lambda values: parts(tf.sparse.slice(sparse(values, at), start, size))


def sliced_from_data(x: Any, start: Any) -> Any:
    return parts(tf.sparse.slice(tf.sparse.from_dense(tf.nn.relu(x)), start, [2, 3]))


def sliced_complex(x: Any) -> Any:
    part = tf.sparse.slice(sparse(tf.complex(x, x * x)), [1, 0], [2, 3])
    return tf.math.real(part.values), tf.math.imag(part.values), part.indices


def filled(at: Any, rows: int) -> Any:
    def function(values: Any, default: Any) -> Any:
        result = tf.raw_ops.SparseFillEmptyRows(indices=at, values=values, dense_shape=[rows, 4], default_value=default)
        return result.output_values**2, result.output_indices, result.empty_row_indicator, result.reverse_index_map

    return function


def filled_from_data(x: Any, default: Any) -> Any:
    tensor, empty = tf.sparse.fill_empty_rows(tf.sparse.from_dense(tf.nn.relu(x)), default)
    return *parts(tensor), empty


def filled_complex(x: Any, default: Any) -> Any:
    tensor, _ = tf.sparse.fill_empty_rows(sparse(tf.complex(x, x * x), A, (5, 4)), tf.complex(default, default - 1))
    return tf.math.real(tensor.values), tf.math.imag(tensor.values), tensor.indices


def reordered_complex(x: Any) -> Any:
    ordered = tf.sparse.reorder(sparse(tf.complex(x, x * x), A[[2, 0, 3, 1]]))
    return tf.math.real(ordered.values), tf.math.imag(ordered.values), ordered.indices


SCALAR = Arg((), free=())
ADD, SLICE = ("SparseAdd", "SparseAddGrad"), ("SparseSlice", "SparseSliceGrad")
FILL = ("SparseFillEmptyRows", "SparseFillEmptyRowsGrad")
THREE = Arg((3,), free=())

CASES = [
    Case("sparse_add", ADD, added, (VALUES, THREE)),
    Case(
        "sparse_add_threshold",
        ADD,
        lambda a, b: added(a, b, threshold=0.5),
        (fixed([1.0, 2.0, 0.1, -1.0], free=()), fixed([0.2, -1.9, 0.5], free=())),
        smooth=False,
    ),
    Case(
        "sparse_add_nan",
        "SparseAdd",
        added,
        (fixed([1.0, np.nan, np.nan, np.inf], free=()), fixed([np.nan, 1.0, 2.0], free=())),
        order=0,
    ),
    Case(
        "sparse_add_repeated",
        ADD,
        lambda a, b: added(a, b, REPEATED_A, REPEATED_B),
        (VALUES, VALUES),
    ),
    Case(
        "sparse_add_empty",
        ADD,
        lambda a, b: added(a, b, at_b=np.zeros((0, 2), np.int64)),
        (VALUES, Arg((0,), free=())),
    ),
    Case("sparse_add_from_data", ADD, added_from_data, (Arg((3, 4)), Arg((3, 4)))),
    Case("sparse_add_complex", ADD, added_complex, (VALUES, THREE)),
    Case("sparse_slice", SLICE, sliced([1, 0], [2, 3]), (VALUES,)),
    Case("sparse_slice_overhanging", SLICE, sliced([1, 2], [5, 7]), (VALUES,)),
    Case("sparse_slice_before", SLICE, sliced([-1, 0], [3, 2]), (VALUES,)),
    Case("sparse_slice_beyond", "SparseSlice", sliced([1, 6], [2, 2]), (VALUES,)),
    Case("sparse_slice_repeated", SLICE, sliced([1, 0], [1, 2], REPEATED_A[[3, 1, 0, 2]]), (VALUES,)),
    Case("sparse_slice_from_data", SLICE, sliced_from_data, (Arg((3, 4)), fixed([1, 0], "int64", free=()))),
    Case("sparse_slice_complex", SLICE, sliced_complex, (VALUES,)),
    Case("sparse_fill", FILL, filled(A, 6), (VALUES, SCALAR)),
    Case("sparse_fill_unordered", FILL, filled(A[[3, 1, 0, 2]] * [2, 1], 6), (VALUES, SCALAR)),
    Case("sparse_fill_full", FILL, filled(A, 3), (VALUES, SCALAR)),
    Case("sparse_fill_all", FILL, filled(np.zeros((0, 2), np.int64), 3), (Arg((0,), free=()), SCALAR)),
    Case("sparse_fill_nothing", FILL, filled(np.zeros((0, 2), np.int64), 0), (Arg((0,), free=()), SCALAR)),
    Case(
        "sparse_fill_from_data",
        FILL,
        filled_from_data,
        (fixed([[0.0, 0.5, 0.0], [0.0, -1.0, 0.0], [1.5, 2.0, 0.5], [-1.0, 0.0, -1.0]]), SCALAR),
        smooth=False,
    ),
    Case("sparse_fill_complex", FILL, filled_complex, (VALUES, SCALAR)),
    Case("sparse_reorder_complex", "SparseReorder", reordered_complex, (VALUES,)),
]
