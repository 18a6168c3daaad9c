"""Rows for ``lowering/sorting.py``, ``partition.py`` and ``diagonal.py``."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, integers

raw = tf.raw_ops


def free(*shape: int) -> Arg:
    """Every axis free."""
    return Arg(shape, free=tuple(range(len(shape))))


TIES = fixed([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0], [0.0, -0.0, -1.0, 5.0]])
LABELS = fixed([1, 0, 3, 1, 0], "int32", (0,))
BANDS = {
    "tall": (-2, 1, 4, 3),
    "wide": (-1, 2, 3, 5),
    "above": (1, 2, 3, 3),
    "below": (-2, -1, 4, 4),
    "single": (1, 1, 2, 3),
    "lowest": (-3, -3, 4, 2),
}
ALIGNMENTS = ("LEFT_RIGHT", "RIGHT_LEFT", "LEFT_LEFT", "RIGHT_RIGHT")


def diagonals(band: tuple[int, int, int, int]) -> tuple[int, ...]:
    """Shape of the diagonals ``low`` to ``high`` of a matrix."""
    low, high, rows, columns = band
    longest = min(rows + min(high, 0), columns - max(low, 0))
    return (2, longest) if low == high else (2, high - low + 1, longest)


CASES = [
    Case("top_k", "TopKV2", lambda x: tf.math.top_k(x, 2)[0] ** 2, (free(3, 4),), order=2),
    Case("top_k_indices", "TopKV2", lambda x: list(tf.math.top_k(x, 3)), ((3, 4),)),
    Case("top_k_ties", "TopKV2", lambda x: list(tf.math.top_k(x, 3)), (TIES,), smooth=False),
    Case("top_k_all", "TopKV2", lambda x: tf.math.top_k(x, 4)[0] * x, (TIES,), smooth=False),
    Case("top_k_vector", "TopKV2", lambda x: tf.math.top_k(x, 2)[0] ** 2, (free(5),), order=2),
    Case("top_k_of_data", "TopKV2", lambda x, k: tf.math.top_k(x, k[0])[0] ** 2, ((3, 4), fixed([2], "int32", ()))),
    Case("top_k_int", "TopKV2", lambda x: list(tf.math.top_k(tf.cast(x * 9, tf.int32), 2)), ((3, 4),), order=0),
    Case("top_k_none", "TopKV2", lambda x: tf.math.top_k(x, 0)[0], ((3, 4),)),
    Case("sort", "TopKV2", lambda x: tf.sort(x, 0) * tf.sort(x, 1, "DESCENDING"), (free(3, 4),), order=2),
    Case("sort_ties", "TopKV2", lambda x: tf.sort(x, 1) ** 2 * x, (TIES,), smooth=False),
    Case(
        "argsort", "TopKV2", lambda x: [tf.argsort(x, 1), tf.argsort(x, 1, "DESCENDING", stable=True)], (TIES,), order=0
    ),
    Case("nth_element", "NthElement", lambda x: tf.raw_ops.NthElement(input=x, n=1) ** 2, ((3, 4),)),
    Case(
        "nth_element_reverse",
        "NthElement",
        lambda x: tf.raw_ops.NthElement(input=x, n=2, reverse=True) ** 2,
        (TIES,),
        smooth=False,
    ),
    Case(
        "in_top_k",
        "InTopKV2",
        lambda x, t: tf.math.in_top_k(t, x, 2),
        (TIES, fixed([0, 3, 9], "int32")),
        order=0,
        dtypes=("float32",),
    ),
    Case(
        "in_top_k_not_finite",
        "InTopK",
        lambda x, t: raw.InTopK(predictions=x, targets=t, k=2),
        (fixed([[1.0, np.inf], [np.nan, 0.0], [1.0, 2.0]]), fixed([0, 1, -1], "int32")),
        order=0,
        dtypes=("float32",),
    ),
    Case(
        "search_sorted",
        ("LowerBound", "UpperBound"),
        lambda x, v: [tf.searchsorted(x, v), tf.searchsorted(x, v, "right", tf.int64)],
        (fixed([[0.0, 1.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0]]), fixed([[1.0, -1.0], [9.0, 3.0]])),
        order=0,
    ),
    Case(
        "bucketize",
        "Bucketize",
        lambda x: raw.Bucketize(input=x, boundaries=[-0.5, 0.0, 0.7]),
        (fixed([[-1.0, -0.5, 0.0], [0.1, 0.7, 9.0]]),),
        order=0,
    ),
    Case(
        "bucketize_int",
        "Bucketize",
        lambda x: raw.Bucketize(input=tf.cast(x * 5, tf.int32), boundaries=[-2.5, 0.0, 3]),
        ((3, 4),),
        order=0,
    ),
    Case(
        "bincount",
        "Bincount",
        lambda v: raw.Bincount(arr=v, size=3, weights=tf.constant([], tf.float32)),
        (integers(0, 5, 9),),
        order=0,
    ),
    Case(
        "bincount_weights",
        "Bincount",
        lambda w, v: raw.Bincount(arr=v, size=3, weights=w),
        ((9,), integers(0, 5, 9)),
        order=0,
    ),
    Case(
        "dense_bincount",
        "DenseBincount",
        lambda w, v: tf.math.bincount(v, w, minlength=4, maxlength=5),
        ((9,), integers(0, 7, 9)),
        order=0,
    ),
    Case(
        "dense_bincount_rows",
        "DenseBincount",
        lambda v: tf.math.bincount(v, minlength=4, maxlength=5, axis=-1, dtype=tf.float32),
        (integers(0, 7, 3, 9),),
        order=0,
    ),
    Case(
        "dense_bincount_binary",
        "DenseBincount",
        lambda v: tf.math.bincount(v, minlength=4, maxlength=5, axis=-1, binary_output=True),
        (integers(0, 7, 3, 9),),
        order=0,
    ),
    Case("where", "Where", lambda x: tf.where(x > 0), (free(3, 4),), order=0),
    Case("where_float", "Where", lambda x: raw.Where(condition=x), (fixed([[0.0, 1.0], [-2.0, -0.0]]),), order=0),
    Case(
        "where_complex",
        "Where",
        lambda x: raw.Where(condition=tf.complex(x, x[:, ::-1])),
        (fixed([[0.0, 1.0], [-0.0, 0.0]]),),
        order=0,
    ),
    Case(
        "unique",
        ("Unique", "UniqueWithCounts"),
        lambda x: [*tf.unique(x), *tf.unique_with_counts(x, tf.int64)],
        (fixed([3.0, 1.0, 3.0, 2.0, 1.0]),),
        order=0,
    ),
    Case("unique_int", "Unique", lambda x: list(tf.unique(x)), (fixed([3, 1, 3, 2, 1], "int32"),), order=0),
    Case(
        "unique_v2",
        ("UniqueV2", "UniqueWithCountsV2"),
        lambda x: [*raw.UniqueV2(x=x, axis=[0]), *raw.UniqueWithCountsV2(x=x, axis=[0])],
        (fixed([[3.0, 1.0], [2.0, 2.0], [3.0, 1.0]]),),
        order=0,
    ),
    Case(
        "list_diff",
        "ListDiff",
        lambda x, y: list(raw.ListDiff(x=x, y=y)),
        (fixed([3, 1, 5, 1, 2], "int32"), fixed([1, 2], "int32", ())),
        order=0,
    ),
    Case(
        "list_diff_constant",
        "ListDiff",
        lambda x: tf.reduce_prod(tf.transpose(x, raw.ListDiff(x=[2, 0, 1], y=[5])[0]), 1),
        ((3, 2, 4),),
    ),
    Case(
        "dynamic_partition",
        "DynamicPartition",
        lambda x, p: [part**2 for part in tf.dynamic_partition(x, p, 3)],
        (free(5, 2), fixed([2, 0, 2, 0, 0], "int32")),
        order=2,
    ),
    Case(
        "dynamic_partition_matrix",
        "DynamicPartition",
        lambda x, p: [part**2 for part in tf.dynamic_partition(x, p, 2)],
        (free(2, 3, 2), fixed([[0, 1, 1], [1, 0, 0]], "int32")),
    ),
    Case(
        "dynamic_stitch",
        "DynamicStitch",
        lambda x, y: tf.dynamic_stitch([[2, 0], [[1, 3], [4, 1]]], [x, y]) ** 2,
        (Arg((2, 3), free=()), Arg((2, 2, 3), free=())),
        order=2,
        smooth=False,
    ),  # TensorFlow does not mind repeats
    Case(
        "dynamic_stitch_of_data",
        "DynamicStitch",
        lambda x, i: tf.dynamic_stitch([i, [5, 2]], [x, x[:2]]) ** 2,
        (free(4, 3), fixed([3, 0, 1, 4], "int32")),
        order=2,
    ),
    Case(
        "dynamic_stitch_complex",
        "DynamicStitch",
        lambda x, y: tf.dynamic_stitch([[1, 0]], [tf.complex(x, y)]) ** 2,
        (Arg((2, 3), free=()), Arg((2, 3), free=())),
    ),
    Case(
        "parallel_dynamic_stitch",
        "ParallelDynamicStitch",
        lambda x, y: raw.ParallelDynamicStitch(indices=[[2, 0], [1]], data=[x, y]) ** 2,
        (Arg((2, 3), free=()), Arg((1, 3), free=())),
        order=2,
    ),
    Case(
        "one_hot",
        "OneHot",
        lambda x, i: tf.one_hot(i, 4, dtype=x.dtype) * x,
        ((3, 4), fixed([1, 9, -1], "int32")),
        order=2,
    ),
    Case(
        "one_hot_axis",
        "OneHot",
        lambda x, i: tf.one_hot(i, 4, 2.0, -1.5, axis=0, dtype=x.dtype) * x,
        (Arg((4, 3, 2), free=()), Arg((3, 2), lambda rng, size: rng.integers(0, 5, size), "int64", ())),
    ),
    Case(
        "one_hot_middle",
        "OneHot",
        lambda i: tf.one_hot(i, 4, True, False, axis=1),
        (integers(0, 5, 3, 2, dtype="uint8"),),
        order=0,
    ),
    Case(
        "one_hot_depth",
        "OneHot",
        lambda x, i: tf.one_hot(i, tf.shape(x)[1], dtype=x.dtype) * x,
        (free(3, 4), fixed([1, 0, 3], "int32")),
    ),
    Case(
        "unravel_index",
        "UnravelIndex",
        lambda i: tf.unravel_index(i, [3, 4, 2]),
        (fixed([0, 7, 23], "int32"),),
        order=0,
    ),
    Case("matrix_diag", "MatrixDiag", lambda x: raw.MatrixDiag(diagonal=x) ** 2, (free(2, 3),), order=2),
    Case("matrix_diag_part", "MatrixDiagPart", lambda x: raw.MatrixDiagPart(input=x) ** 2, (free(2, 3, 4),), order=1),
    Case(
        "matrix_set_diag",
        "MatrixSetDiag",
        lambda x, d: raw.MatrixSetDiag(input=x, diagonal=d) ** 2,
        ((2, 3, 4), (2, 3)),
        order=2,
    ),
    Case("matrix_diag_bool", "MatrixDiagV3", lambda x: tf.linalg.diag(x > 0, k=1), ((2, 3),), order=0),
    Case("matrix_diag_infinite", "MatrixDiagV3", lambda x: tf.linalg.diag(x), (fixed([[1.0, np.inf]]),), order=0),
    Case(
        "matrix_diag_padding",
        "MatrixDiagV3",
        lambda x: tf.linalg.diag(x, k=-1, num_rows=5, padding_value=2.5) ** 2,
        ((2, 3),),
        order=2,
    ),
    Case(
        "matrix_diag_inferred",
        "MatrixDiagV3",
        lambda x: tf.linalg.diag(x, k=(-1, 1), num_cols=3) ** 2,
        ((2, 3, 3),),
        order=2,
    ),
    Case(
        "matrix_diag_complex",
        ("MatrixDiagV3", "MatrixDiagPartV3"),
        lambda x, y: tf.linalg.diag(tf.complex(x, y), k=1) ** 2,
        ((2, 3), (2, 3)),
    ),
    Case("matrix_diag_no_batch", "MatrixDiagV3", lambda x: tf.linalg.diag(x, k=(-1, 1)) ** 2, ((0, 3, 3),)),
    *[
        Case(
            f"matrix_diag_{name}_{align}".lower(),
            ("MatrixDiagV3", "MatrixDiagPartV3"),
            lambda x, b=band, a=align: tf.linalg.diag(x, k=b[:2], num_rows=b[2], num_cols=b[3], align=a) ** 2,
            (diagonals(band),),
            order=2,
        )
        for name, band in BANDS.items()
        for align in ALIGNMENTS
        if align == "RIGHT_LEFT" or name in ("tall", "wide")
    ],
    *[
        Case(
            f"matrix_diag_part_{name}_{align}".lower(),
            "MatrixDiagPartV3",
            lambda x, b=band, a=align: tf.linalg.diag_part(x, k=b[:2], padding_value=0.5, align=a) ** 2,
            ((2, *band[2:]),),
        )
        for name, band in BANDS.items()
        for align in ALIGNMENTS
        if align == "RIGHT_LEFT" or name in ("tall", "wide")
    ],
    Case(
        "matrix_diag_part_free",
        "MatrixDiagPartV3",
        lambda x: tf.linalg.diag_part(x, k=(-2, 1)) ** 2,
        (free(2, 4, 3),),
        order=0,
    ),
    *[
        Case(
            f"matrix_set_diag_{name}_{align}".lower(),
            "MatrixSetDiagV3",
            lambda x, d, b=band, a=align: tf.linalg.set_diag(x, d, k=b[:2], align=a) ** 2,
            (Arg((2, *band[2:]), free=()), Arg(diagonals(band), free=())),
            order=2,
        )
        for name, band in BANDS.items()
        for align in ALIGNMENTS
        if align == "RIGHT_LEFT" or name in ("tall", "wide")
    ],
    Case(
        "matrix_set_diag_free",
        "MatrixSetDiagV3",
        lambda x: tf.linalg.set_diag(x, tf.linalg.diag_part(x) ** 2) * x,
        (free(2, 3, 3),),
        order=2,
    ),
    Case(
        "matrix_diag_v2",
        "MatrixDiagV2",
        lambda x: (
            raw.MatrixDiagV2(diagonal=x, k=[-1, 1], num_rows=3, num_cols=4, padding_value=tf.zeros([], x.dtype)) ** 2
        ),
        (diagonals((-1, 1, 3, 4)),),
        order=2,
    ),
    Case(
        "matrix_diag_part_v2",
        "MatrixDiagPartV2",
        lambda x: raw.MatrixDiagPartV2(input=x, k=[-1, 1], padding_value=tf.zeros([], x.dtype)) ** 2,
        ((2, 3, 4),),
    ),
    Case(
        "matrix_set_diag_v2",
        "MatrixSetDiagV2",
        lambda x, d: raw.MatrixSetDiagV2(input=x, diagonal=d, k=[-1, 1]) ** 2,
        (Arg((2, 3, 4), free=()), Arg(diagonals((-1, 1, 3, 4)), free=())),
        order=2,
    ),
    Case("trace", "MatrixDiagPartV3", lambda x: tf.linalg.trace(x @ x), ((2, 3, 3),), order=2),
    *[
        Case(
            f"band_part_{lower}_{upper}",
            "MatrixBandPart",
            lambda x, a=lower, b=upper: tf.linalg.band_part(x, a, b) ** 2,
            (free(2, 3, 4),),
            order=2,
        )
        for lower, upper in [(-1, 0), (0, -1), (1, 1), (-1, -1), (0, 0), (2, 3)]
    ],
    *[
        Case(
            f"band_part_of_data_{lower}_{upper}",
            "MatrixBandPart",
            lambda x, n: tf.linalg.band_part(x, n[0], n[1]) ** 2,
            (Arg((2, 4, 5), free=(0, 1, 2)), fixed([lower, upper], dtype, ())),
            order=2,
        )
        for dtype, bands in (("int32", ((1, 2), (0, -1), (4, 5))), ("int64", ((-1, 0), (-2, -1))))
        for lower, upper in bands
    ],
    Case(
        "band_part_nan",
        "MatrixBandPart",
        lambda x: tf.linalg.band_part(x, 0, -1),
        (fixed([[[1.0, 2.0], [np.nan, np.inf]]]),),
        order=0,
    ),
    Case("diag", ("Diag", "DiagPart"), lambda x: tf.linalg.tensor_diag(x) ** 2, (Arg((2, 3), free=()),), order=2),
    Case("diag_vector", ("Diag", "DiagPart"), lambda x: tf.linalg.tensor_diag(x) ** 2, (free(3),), order=2),
    Case(
        "diag_part",
        ("DiagPart", "Diag"),
        lambda x: tf.linalg.tensor_diag_part(x) ** 2,
        (Arg((2, 3, 2, 3), free=()),),
        order=2,
    ),
    Case("diag_complex", ("Diag", "DiagPart"), lambda x, y: tf.linalg.tensor_diag(tf.complex(x, y)) ** 2, ((3,), (3,))),
]
