"""Rows for ``lowering/ragged.py``: ragged tensors made dense, made sparse, gathered from and filled."""

from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed

SPLITS = np.array([0, 2, 2, 5, 6], np.int64)
OUTER = np.array([0, 3, 3, 4], np.int64)
VALUES = Arg((6,), free=())
PAIRS = Arg((6, 2), free=())
SCALAR = Arg((), free=())


def ragged(values: Any, splits: Any = SPLITS) -> Any:
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


def nested(values: Any) -> Any:
    return tf.RaggedTensor.from_nested_row_splits(values, [OUTER, SPLITS], validate=False)


def from_rows(values: Any) -> Any:
    rows = np.repeat(np.arange(4), np.diff(SPLITS))
    return tf.RaggedTensor.from_value_rowids(values, rows, nrows=5, validate=False)


def from_nested_rows(values: Any) -> Any:
    rows = [np.array([0, 0, 0, 2], np.int64), np.repeat(np.arange(4), np.diff(SPLITS))]
    return tf.RaggedTensor.from_nested_value_rowids(values, rows, [4, 4], validate=False)


def counted(weights: bool = False, **options: Any) -> Any:
    """Numbers in each row of a ragged tensor, one of which has none and some of which are too large to count."""

    def function(values: Any) -> Any:
        given = tf.cast(values[:6] if weights else tf.constant([], values.dtype), values.dtype)
        number = tf.constant([1, 1, 0, 3, 5, 2])
        counts = tf.raw_ops.RaggedBincount(splits=SPLITS, values=number, size=4, weights=given, **options)
        return counts * tf.reshape(values, [1, -1])[:, :1]

    return function


def dense(make: Any, shape: Any = None) -> Any:
    return lambda values, default: make(values).to_tensor(default, shape=shape) ** 2


def as_sparse(make: Any) -> Any:
    def function(values: Any) -> Any:
        tensor = make(values).to_sparse()
        return tensor.values**2, tensor.indices, tensor.dense_shape

    return function


def gathered(make: Any, at: Any) -> Any:
    def function(values: Any) -> Any:
        result = tf.gather(make(values), at)
        return result.flat_values**2, *result.nested_row_splits

    return function


def gathered_by_data(values: Any, splits: Any, at: Any) -> Any:
    return gathered(lambda flat: ragged(flat, splits), at)(values)


def filled(rows: Any, count: int) -> Any:
    def function(values: Any, default: Any) -> Any:
        result = tf.raw_ops.RaggedFillEmptyRows(
            value_rowids=np.array(rows, np.int64), values=values, nrows=count, default_value=default
        )
        return result.output_values**2, *(item for item in result if item is not result.output_values)

    return function


def dense_complex(values: Any, default: Any) -> Any:
    result = ragged(tf.complex(values, values * values)).to_tensor(tf.complex(default, 1 - default))
    return tf.math.real(result), tf.math.imag(result)


def dense_of_data(values: Any, splits: Any, default: Any) -> Any:
    return ragged(values, splits).to_tensor(default) ** 2


def ranges(kind: str) -> Any:
    """Ragged ranges of numbers up, down and to nowhere, or with ends and steps that all rows share."""
    starts, limits, deltas = {
        "each": ([0, 5, 3, 2, 7], [7, 0, 3, 1, 0], [2, -2, 1, 1, -7]),
        "shared": ([0, 5, 3], 6, 2),
        "scalar": (1, 6, 2),
    }[kind]

    def function(values: Any) -> Any:
        result = tf.ragged.range(starts, limits, deltas, row_splits_dtype=tf.int32)
        return tf.gather(values, result.flat_values), result.row_splits

    return function


FILL = ("RaggedFillEmptyRows", "RaggedFillEmptyRowsGrad")

CASES = [
    Case("ragged_to_tensor", "RaggedTensorToTensor", dense(ragged), (VALUES, SCALAR), order=2),
    Case("ragged_to_tensor_rows", "RaggedTensorToTensor", dense(from_rows), (VALUES, SCALAR)),
    Case("ragged_to_tensor_nested", "RaggedTensorToTensor", dense(nested), (VALUES, SCALAR)),
    Case("ragged_to_tensor_nested_rows", "RaggedTensorToTensor", dense(from_nested_rows), (VALUES, SCALAR)),
    Case("ragged_to_tensor_cut", "RaggedTensorToTensor", dense(ragged, [3, 2]), (VALUES, SCALAR)),
    Case("ragged_to_tensor_filled", "RaggedTensorToTensor", dense(nested, [None, 5, 2]), (VALUES, SCALAR)),
    Case("ragged_to_tensor_pairs", "RaggedTensorToTensor", dense(ragged), (PAIRS, Arg((2,), free=()))),
    Case("ragged_to_tensor_pairs_cut", "RaggedTensorToTensor", dense(ragged, [None, 2, 2]), (PAIRS, SCALAR)),
    Case("ragged_to_tensor_complex", "RaggedTensorToTensor", dense_complex, (VALUES, SCALAR)),
    Case(
        "ragged_to_tensor_of_data",
        "RaggedTensorToTensor",
        dense_of_data,
        (VALUES, fixed(SPLITS, "int64"), SCALAR),
    ),
    Case(
        "ragged_to_tensor_empty",
        "RaggedTensorToTensor",
        dense(lambda values: ragged(values, np.zeros(4, np.int64))),
        (Arg((0,), free=()), SCALAR),
    ),
    Case("ragged_to_sparse", "RaggedTensorToSparse", as_sparse(ragged), (VALUES,)),
    Case("ragged_to_sparse_nested", "RaggedTensorToSparse", as_sparse(nested), (VALUES,)),
    Case("ragged_to_sparse_pairs", "RaggedTensorToSparse", as_sparse(ragged), (Arg((6, 2, 3), free=()),)),
    Case("ragged_gather", "RaggedGather", gathered(ragged, [2, 0, 1, 2]), (VALUES,)),
    Case("ragged_gather_nested", "RaggedGather", gathered(nested, [2, 0, 1, 0]), (PAIRS,)),
    Case("ragged_gather_matrix", "RaggedGather", gathered(ragged, [[2, 0, 1], [3, 3, 0]]), (VALUES,)),
    Case(
        "ragged_gather_of_data",
        "RaggedGather",
        gathered_by_data,
        (VALUES, fixed(SPLITS, "int64"), fixed([3, 1, 2], "int32", free=())),
    ),
    Case("ragged_counts", "RaggedBincount", counted(), (Arg((6,), free=()),)),
    Case("ragged_counts_of_any", "RaggedBincount", counted(binary_output=True), (Arg((6,), free=()),)),
    Case("ragged_sums_of_weights", "RaggedBincount", counted(weights=True), (Arg((6,), free=()),), order=0),
    *[Case(f"ragged_range_{kind}", "RaggedRange", ranges(kind), (Arg((9,)),)) for kind in ("each", "shared", "scalar")],
    Case("ragged_fill", FILL, filled([0, 0, 2, 2, 2, 4], 6), (VALUES, SCALAR)),
    Case("ragged_fill_full", FILL, filled([0, 0, 1, 2, 2, 3], 4), (VALUES, SCALAR)),
]
