"""Rows for ``lowering/sparse.py``, ``lowering/isotonic.py`` and odd ops that only raw TensorFlow reaches."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import gen_nn_ops

from tests.lowering.case import Arg, Case, fixed, uniform

INDICES = np.array([[0, 1], [1, 0], [1, 3], [2, 2]])


def sparse(values: Any) -> Any:
    return tf.sparse.SparseTensor(INDICES, values, (3, 4))


def product(values: Any, b: Any) -> Any:
    return tf.sparse.sparse_dense_matmul(sparse(values), b)


def adjoint_product(values: Any, b: Any) -> Any:
    return tf.sparse.sparse_dense_matmul(sparse(values), b, adjoint_a=True, adjoint_b=True)


def dense(values: Any, default: Any) -> Any:
    return tf.sparse.to_dense(sparse(values), default_value=default)


def printed(x: Any) -> Any:
    return tf.compat.v1.Print(x * x, [], "x")


def checked(x: Any) -> Any:
    return tf.raw_ops.CheckNumericsV2(tensor=x * x, message="x")


def accumulated(x: Any) -> Any:
    return tf.raw_ops.AccumulateNV2(inputs=[x, x * x, tf.sin(x)], shape=x.shape)


def isotonic(x: Any) -> Any:
    return gen_nn_ops.isotonic_regression(x, output_dtype=x.dtype)


def unordered(values: Any) -> Any:
    shuffled = tf.sparse.SparseTensor(INDICES[[2, 0, 3, 1]], values, (3, 4))
    ordered = tf.sparse.reorder(shuffled)
    return ordered.values, ordered.indices


def reduced(axes: Any, keepdims: bool = False) -> Any:
    return lambda values: tf.sparse.reduce_sum(sparse(values), axes, keepdims)


def elementwise(kind: str) -> Any:
    op = getattr(tf.raw_ops, f"SparseDenseCwise{kind}")
    return lambda values, d: op(sp_indices=INDICES, sp_values=values, sp_shape=(3, 4), dense=d)


VALUES = Arg((4,), free=())

CASES = [
    Case(
        "approximate_top_k",
        "ApproxTopK",
        lambda x: tf.math.approx_max_k(x, 3),
        (Arg((3, 8), free=()),),
        order=1,
        dtypes=("float32",),
    ),
    Case("sparse_product", "SparseTensorDenseMatMul", product, (Arg((4,), free=()), Arg((4, 5), free=(1,))), order=2),
    Case(
        "sparse_product_adjoint",
        "SparseTensorDenseMatMul",
        adjoint_product,
        (Arg((4,), free=()), Arg((5, 3), free=(0,))),
        order=2,
    ),
    Case("sparse_to_dense", "SparseToDense", dense, (Arg((4,), free=()), Arg((), free=())), order=2),
    Case("print", "Print", printed, ((3, 4),), order=2),
    Case("check_numerics_v2", "CheckNumericsV2", checked, ((3, 4),), order=1),
    Case("accumulate", "AccumulateNV2", accumulated, (Arg((3, 4), free=()),), order=2, smooth=False),
    Case("isotonic", "IsotonicRegression", isotonic, (Arg((3, 9), free=()),)),
    Case(
        "isotonic_ties",
        "IsotonicRegression",
        isotonic,
        (fixed([[1.0, 3.0, 2.0, 2.0, 5.0], [5.0, 4.0, 4.0, 1.0, 2.0], [1.0, 3.0, 2.0, 0.0, 0.0]], free=()),),
        smooth=False,
    ),
    Case(
        "sparse_dense_add",
        "SparseTensorDenseAdd",
        lambda values, b: tf.sparse.add(sparse(values), b) ** 2,
        (VALUES, Arg((3, 4), free=())),
        order=2,
    ),
    Case(
        "sparse_dense_add_repeated",
        "SparseTensorDenseAdd",
        lambda values, b: tf.raw_ops.SparseTensorDenseAdd(
            a_indices=INDICES[[1, 1, 0, 2]], a_values=values, a_shape=(3, 4), b=b
        ),
        (VALUES, Arg((3, 4), free=())),
    ),
    *[
        Case(f"sparse_sum_{name}", "SparseReduceSum", lambda v, f=function: f(v) ** 2, (VALUES,), order=2)
        for name, function in (
            ("rows", reduced(1)),
            ("columns", reduced([0], keepdims=True)),
            ("negative", reduced(-1, keepdims=True)),
            ("all", reduced(None)),
        )
    ],
    Case("sparse_reorder", "SparseReorder", unordered, (VALUES,), order=2),
    Case(
        "sparse_softmax",
        "SparseSoftmax",
        lambda values: tf.sparse.softmax(sparse(values)).values,
        (VALUES,),
    ),
    Case("sparse_times_dense", "SparseDenseCwiseMul", elementwise("Mul"), (VALUES, Arg((3, 4), free=())), order=2),
    Case("sparse_times_row", "SparseDenseCwiseMul", elementwise("Mul"), (VALUES, Arg((1, 4), free=()))),
    Case("sparse_times_vector", "SparseDenseCwiseMul", elementwise("Mul"), (VALUES, Arg((4,), free=()))),
    Case("sparse_over_dense", "SparseDenseCwiseDiv", elementwise("Div"), (VALUES, uniform(0.5, 2.0, 3, 4)), order=2),
    Case("sparse_plus_dense", "SparseDenseCwiseAdd", elementwise("Add"), (VALUES, Arg((3, 4), free=())), order=0),
]
