"""Rows for ``lowering/linear.py`` and ``lowering/einsum.py``."""

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from tests.lowering.case import Arg, Case, integers, normal

WEIGHTS = np.random.default_rng(0).normal(size=(5, 4))


def weights(x: Any) -> Any:
    """A constant matrix in the dtype of ``x``."""
    return tf.constant(WEIGHTS, x.dtype)


def matmul(transpose_a: bool, transpose_b: bool) -> Any:
    return lambda a, b: tf.raw_ops.MatMul(a=a, b=b, transpose_a=transpose_a, transpose_b=transpose_b)


def complex_matmul(a: Any, b: Any, c: Any, d: Any) -> Any:
    return tf.matmul(tf.complex(a, b), tf.complex(c, d), adjoint_b=True)


def xla_einsum(x: Any, y: Any) -> Any:
    """What ``tf.einsum`` writes for a TPU."""
    return gen_xla_ops.xla_einsum(a=x, b=y, equation="abc,cd->abd")


def einsum_row(name: str, equation: str, *shapes: tuple[int, ...], axes: tuple[int, ...] = (0,)) -> Case:
    """``axes`` of the first operand are free, and those of the second that have the same place and label."""

    def function(*operands: Any) -> Any:
        return tf.raw_ops.Einsum(inputs=list(operands), equation=equation)

    labels = [
        text.replace("...", "." * (len(shape) - len(text) + 3))
        for text, shape in zip(equation.split("->")[0].split(","), shapes, strict=True)
    ]
    args = [
        Arg(
            shape,
            free=tuple(
                axis
                for axis in axes
                if axis < len(text) and text[axis] == labels[0][axis] and shape[axis] == shapes[0][axis]
            ),
        )
        for text, shape in zip(labels, shapes, strict=True)
    ]
    return Case(f"einsum_{name}", "Einsum", function, tuple(args), order=2)


def free(shape: tuple[int, ...], *axes: int) -> Arg:
    return Arg(shape, free=axes)


CASES = [
    Case("matmul", "MatMul", matmul(False, False), (free((3, 5), 0), free((5, 4), 1)), order=2),
    Case("matmul_transpose_a", "MatMul", matmul(True, False), (free((5, 3), 1), free((5, 4), 0)), order=2),
    Case("matmul_transpose_b", "MatMul", matmul(False, True), ((3, 5), free((4, 5), 1)), order=2),
    Case("matmul_transpose_ab", "MatMul", matmul(True, True), (free((5, 3), 1), free((4, 5), 0)), order=2),
    Case("matmul_weights", "MatMul", lambda x: tf.matmul(x, weights(x)), ((3, 5),), order=2),
    Case("matmul_no_columns", "MatMul", matmul(False, False), (free((3, 5), 0), Arg((5, 0), free=())), smooth=False),
    Case("matmul_nothing_summed", "MatMul", matmul(False, False), (free((3, 0), 0), Arg((0, 4), free=()))),
    Case("matmul_leading_ones", "BatchMatMulV2", tf.matmul, (free((4, 2), 0), Arg((1, 1, 2, 7), free=()))),
    Case("matmul_empty_stack", "BatchMatMulV2", tf.matmul, (free((1, 0, 1, 3), 1), free((0, 3, 5), 0))),
    Case("matmul_no_rows", "MatMul", lambda x: tf.matmul(x, weights(x)), ((0, 5),), smooth=False),
    Case("matmul_empty_sum", "MatMul", matmul(False, True), ((3, 0), free((4, 0))), smooth=False),
    Case(
        "matmul_integers",
        "MatMul",
        lambda x, i, j: x * tf.cast(tf.matmul(i, j, transpose_b=True), x.dtype),
        ((3, 4), integers(-9, 9, 3, 5), Arg((4, 5), lambda rng, size: rng.integers(-9, 9, size), "int32", ())),
    ),
    Case(
        "matmul_sparse_hint",
        "SparseMatMul",
        lambda a, b: tf.raw_ops.SparseMatMul(a=a, b=b, a_is_sparse=True),
        ((3, 5), free((5, 4))),
        dtypes=("float32",),
    ),
    Case(
        "matmul_complex", ("MatMul", "Complex"), complex_matmul, ((3, 5), (3, 5), free((4, 5)), free((4, 5))), order=2
    ),
    Case("matmul_batch", "BatchMatMulV2", tf.matmul, ((3, 2, 5), (3, 5, 4)), order=2),
    Case("matmul_batch_broadcast", "BatchMatMulV2", tf.matmul, (free((3, 1, 2, 5), 0, 2), free((6, 5, 4))), order=2),
    Case(
        "matmul_batch_adjoint",
        "BatchMatMulV2",
        partial(tf.matmul, adjoint_a=True, adjoint_b=True),
        ((3, 5, 2), (3, 4, 5)),
        order=2,
    ),
    Case(
        "matmul_batch_weights", "BatchMatMulV2", lambda x: tf.matmul(x, weights(x)), (free((3, 2, 5), 0, 1),), order=2
    ),
    Case(
        "matmul_batch_complex",
        ("BatchMatMulV2", "Complex"),
        complex_matmul,
        ((2, 3, 5), (2, 3, 5), (2, 4, 5), (2, 4, 5)),
        order=2,
    ),
    Case(
        "matmul_batch_v1",
        "BatchMatMul",
        lambda a, b: tf.raw_ops.BatchMatMul(x=a, y=b, adj_y=True),
        ((3, 2, 5), (3, 4, 5)),
    ),
    Case(
        "matmul_batch_v3",
        "BatchMatMulV3",
        lambda a, b: tf.raw_ops.BatchMatMulV3(x=a, y=b, Tout=a.dtype),
        ((3, 2, 5), (3, 5, 4)),
        order=0,
    ),
    Case("matmul_batch_none", "BatchMatMulV2", tf.matmul, ((0, 2, 5), (0, 5, 4)), smooth=False),
    Case("matvec", "BatchMatMulV2", tf.linalg.matvec, ((3, 2, 5), (3, 5)), order=2),
    Case(
        "tensordot",
        "MatMul",
        partial(tf.tensordot, axes=[[2, 0], [0, 2]]),
        (free((3, 2, 5), 1), free((5, 4, 3))),
        order=2,
    ),
    Case("tensordot_outer", "MatMul", partial(tf.tensordot, axes=0), ((3,), free((2, 2))), order=2),
    Case("bias", ("BiasAdd", "BiasAddGrad"), tf.nn.bias_add, ((3, 2, 4), free((4,))), order=2),
    Case(
        "bias_nchw",
        ("BiasAdd", "BiasAddGrad"),
        partial(tf.nn.bias_add, data_format="NCHW"),
        ((3, 4, 2, 5), free((4,))),
        order=2,
    ),
    Case("bias_v1", "BiasAddV1", lambda x, b: tf.raw_ops.BiasAddV1(value=x, bias=b), ((3, 2, 4), free((4,)))),
    Case("cross", "Cross", tf.linalg.cross, ((4, 3), (4, 3)), order=2),
    Case(
        "tridiagonal_matmul",
        "TridiagonalMatMul",
        lambda u, m, lo, x: tf.linalg.tridiagonal_matmul((u, m, lo), x, "sequence"),
        (normal(2, 5), normal(2, 5), normal(2, 5), normal(2, 5, 3)),
        order=2,
    ),
    Case("einsum_xla", "XlaEinsum", xla_einsum, ((2, 3, 4), Arg((4, 5), free=())), order=2, dtypes=("float32",)),
    # Its gradient only works in graphs: no central differences.
    Case("xla_sharding", "XlaSharding", lambda x: gen_xla_ops.xla_sharding(x * x), ((3, 4),), smooth=False),
    einsum_row("dense", "abc,cd->abd", (2, 3, 4), (4, 5), axes=(0, 1)),
    einsum_row("heads", "abc,cde->abde", (2, 3, 4), (4, 5, 2), axes=(0,)),
    einsum_row("heads_back", "abcd,cde->abe", (2, 3, 4, 5), (4, 5, 2)),
    einsum_row("attention_scores", "aecd,abcd->acbe", (2, 3, 4, 5), (2, 6, 4, 5)),
    einsum_row("attention_values", "acbe,aecd->abcd", (2, 4, 6, 3), (2, 3, 4, 5)),
    einsum_row("batch_swapped", "bij,bkj->bki", (2, 3, 4), (2, 5, 4)),
    einsum_row("dot", "i,i->", (4,), (4,)),
    einsum_row("vector_matrix", "i,ij->j", (4,), (4, 3)),
    einsum_row("matrix_vector", "ij,j->i", (3, 4), (4,)),
    einsum_row("outer", "i,j->ji", (3,), (4,)),
    einsum_row("hadamard", "ij,ji->ij", (3, 3), (3, 3), axes=(0, 1)),
    einsum_row("summed_labels", "abc,cde->ae", (2, 3, 4), (4, 5, 2)),
    einsum_row("transpose", "abc->cab", (2, 3, 4)),
    einsum_row("sum", "abc->ca", (2, 3, 4)),
    einsum_row("sum_all", "ab->", (2, 3)),
    einsum_row("trace", "ii->", (4, 4), axes=(0, 1)),
    einsum_row("diagonal", "aii->ia", (2, 4, 4)),
    einsum_row("diagonal_free", "ii->i", (4, 4), axes=(0, 1)),
    einsum_row("write_diagonal", "ai->iai", (2, 3)),
    einsum_row("triple_diagonal", "iiia->ai", (3, 3, 3, 2), axes=()),
    einsum_row("diagonals_product", "aab,bb->a", (2, 2, 3), (3, 3), axes=()),
    einsum_row("ellipsis", "...ij,...jk->...ik", (2, 3, 4), (2, 4, 5)),
    einsum_row("ellipsis_broadcast", "...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)),
    einsum_row("ellipsis_one_side", "i...j,jk->ki...", (2, 3, 4), (4, 5)),
    einsum_row("ellipsis_empty", "...ij,...jk->...ki", (3, 4), (4, 5)),
    einsum_row("two_sums", "abcd,cdae->be", (2, 3, 4, 5), (4, 5, 2, 3), axes=(1,)),
    Case("einsum_no_rows", "Einsum", partial(tf.einsum, "ab,bc->ac"), ((0, 3), free((3, 2))), smooth=False),
    Case(
        "einsum_complex",
        ("Einsum", "Complex"),
        lambda a, b, c, d: tf.einsum("...ij,jk->...ki", tf.complex(a, b), tf.complex(c, d)),
        ((2, 3, 4), (2, 3, 4), free((4, 5)), free((4, 5))),
        order=2,
    ),
    Case("einsum_three", "Einsum", partial(tf.einsum, "ij,jk,kl->il"), ((2, 3), free((3, 4)), free((4, 2))), order=2),
]
