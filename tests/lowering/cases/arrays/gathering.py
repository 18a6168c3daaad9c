"""Rows for ``lowering/gathering.py``, ``scattering.py`` and ``segment.py``."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, integers

raw = tf.raw_ops
SUM = ("GatherV2", "UnsortedSegmentSum")
TABLE = np.random.default_rng(3).normal(size=(6, 3))
VARIABLES = {dtype: tf.Variable(TABLE, dtype=dtype, trainable=False) for dtype in ("float32", "float64")}


def free(*shape: int) -> Arg:
    """Every axis free."""
    return Arg(shape, free=tuple(range(len(shape))))


def index(values: object, dtype: str = "int32", axes: tuple[int, ...] = ()) -> Arg:
    return fixed(values, dtype, axes)


SORTED = index([0, 0, 1, 3, 3])
UNSORTED = index([3, 0, -1, 3, 1])
ROWS = Arg((5, 3), free=(1,))
TIES = fixed([[1.0, 2.0], [1.0, 1.0], [0.5, 2.0], [3.0, 0.0], [3.0, 0.0]], None, (1,))


CASES = [
    Case("gather_rows", SUM, lambda x, i: tf.gather(x, i) ** 2, (Arg((4, 3), free=(1,)), index([1, 0, 1, 3])), order=2),
    Case("gather_constant", SUM, lambda x: tf.gather(x, [1, 0, 1, 3]) ** 2, (Arg((4, 3), free=()),), order=2),
    Case("gather_scalar", SUM, lambda x: tf.gather(x, 2) ** 2, (free(4, 3),), order=2),
    Case("gather_matrix", SUM, lambda x, i: tf.gather(x, i) ** 2, (free(4, 3), integers(0, 4, 4, 2)), order=2),
    Case("gather_int64", SUM, lambda x, i: tf.gather(x, i) ** 2, (free(4, 3), integers(0, 4, 4, 2, dtype="int64"))),
    Case(
        "gather_axis", "GatherV2", lambda x, i: tf.gather(x, i, axis=1) ** 2, (free(2, 4, 3), index([1, 0, 1])), order=2
    ),
    Case("gather_last_axis", "GatherV2", lambda x: tf.gather(x, [[2, 0], [1, 2]], axis=-1) ** 2, ((2, 4, 3),), order=2),
    Case("gather_axis_constant", "GatherV2", lambda x: tf.gather(x, [2, 0, 2], axis=1) ** 2, ((2, 4, 3),), order=2),
    Case(
        "gather_batch",
        "GatherV2",
        lambda x, i: tf.gather(x, i, batch_dims=1) ** 2,
        (free(2, 4, 3), integers(0, 4, 2, 5)),
        order=2,
    ),
    Case(
        "gather_batch_axis",
        "GatherV2",
        lambda x, i: tf.gather(x, i, axis=2, batch_dims=1) ** 2,
        ((2, 4, 3), integers(0, 3, 2, 2)),
        order=2,
    ),
    Case(
        "gather_batch_last",
        "GatherV2",
        lambda x, i: tf.gather(x, i, axis=-1, batch_dims=-1) ** 2,
        ((2, 4, 3), integers(0, 3, 2, 4, 2)),
        order=2,
    ),
    Case(
        "gather_batch_scalar",
        "GatherV2",
        lambda x, i: tf.gather(x, i, axis=1, batch_dims=1) ** 2,
        ((2, 4, 3), integers(0, 4, 2)),
        order=2,
    ),
    Case(
        "gather_batch_2",
        "GatherV2",
        lambda x, i: tf.gather(x, i, axis=3, batch_dims=2) ** 2,
        ((2, 3, 2, 4), integers(0, 4, 2, 3, 2)),
        order=2,
    ),
    Case("gather_none", SUM, lambda x, i: tf.gather(x, i) ** 2, (free(4, 3), index(np.zeros(0, "int32")))),
    Case(
        "gather_no_batch",
        "GatherV2",
        lambda x, i: tf.gather(x, i, batch_dims=1) ** 2,
        ((0, 4, 3), integers(0, 4, 0, 5)),
        order=2,
    ),
    Case("gather_complex", SUM, lambda x, y: tf.gather(tf.complex(x, y), [1, 0, 1]) ** 2, (free(4, 3), free(4, 3))),
    Case("gather_v1", "Gather", lambda x: raw.Gather(params=x, indices=[1, 0, 1]) ** 2, ((4, 3),), order=0),
    Case("gather_bool", "GatherV2", lambda x: tf.gather(x > 0, [1, 0, 1]), ((4, 3),), order=0),
    Case(
        "gather_variable",
        "ResourceGather",
        lambda x, i: tf.gather(VARIABLES[x.dtype.name], i) * x,
        ((2, 3), index([5, 0])),
        order=2,
    ),
    Case(
        "gather_nd_variable",
        "ResourceGatherNd",
        lambda x, i: VARIABLES[x.dtype.name].gather_nd(i) * x,
        ((2,), index([[5, 0], [2, 1]])),
    ),
    Case(
        "gather_nd",
        ("GatherNd", "ScatterNd"),
        lambda x, i: tf.gather_nd(x, i) ** 2,
        (free(3, 4), index([[0, 1], [2, 3], [0, 1]])),
        order=2,
    ),
    Case(
        "gather_nd_rows",
        ("GatherNd", "UnsortedSegmentSum"),
        lambda x: tf.gather_nd(x, [[1], [0], [1]]) ** 2,
        (free(3, 4),),
        order=2,
    ),
    Case(
        "gather_nd_deep",
        ("GatherNd", "ScatterNd"),
        lambda x: tf.gather_nd(x, [[[0, 1]], [[2, 1]]]) ** 2,
        (free(3, 4, 2),),
        order=2,
    ),
    Case(
        "gather_nd_none_of_each_batch",  # indices are tiled to none
        ("GatherNd", "ScatterNd"),
        lambda x: tf.gather_nd(x**2, tf.zeros((tf.shape(x)[0], 0, 0), tf.int32), batch_dims=1),
        (free(3, 4),),
        smooth=False,
    ),
    Case(
        "gather_nd_none_by_data",
        ("GatherNd",),
        lambda x, i: tf.gather_nd(x**2, i, batch_dims=1),
        ((1, 1), integers(0, 1, 1, 0, 0)),
        smooth=False,
    ),
    Case(
        "gather_nd_whole", "GatherNd", lambda x: tf.gather_nd(x, np.zeros((3, 0), "int32")) ** 2, (free(3, 4),), order=0
    ),
    Case(
        "gather_nd_batch",
        "GatherNd",
        lambda x, i: tf.gather_nd(x, i, batch_dims=1) ** 2,
        (Arg((2, 4, 3), free=()), index([[[1], [0]], [[3], [3]]])),
        order=2,
    ),
    Case(
        "gather_nd_complex",
        "GatherNd",
        lambda x, y: tf.gather_nd(tf.complex(x, y), [[1], [0], [1]]) ** 2,
        (free(3, 4), free(3, 4)),
    ),
    Case(
        "scatter_nd",
        ("ScatterNd", "GatherNd"),
        lambda x, i: tf.scatter_nd(i, x, [6, 3]) ** 2,
        (Arg((4, 3), free=()), index([[1], [0], [1], [5]])),
        order=2,
    ),
    Case(
        "scatter_nd_free",
        "ScatterNd",
        lambda x, i: tf.scatter_nd(i, x, [6, tf.shape(x)[1]]) ** 2,
        (free(4, 3), index([[1], [0], [1], [5]], axes=(0,))),
        order=2,
    ),
    Case(
        "scatter_nd_elements",
        "ScatterNd",
        lambda x: tf.scatter_nd([[1, 2], [0, 0], [1, 2]], x, [2, 3]) ** 2,
        (Arg((3,), free=()),),
        order=2,
    ),
    Case(
        "scatter_nd_none",
        "ScatterNd",
        lambda x: tf.scatter_nd(np.zeros((0, 1), "int32"), x, [4, 3]) ** 2,
        (Arg((0, 3), free=()),),
    ),
    Case(
        "scatter_nd_int",
        "ScatterNd",
        lambda x: tf.scatter_nd([[1], [1]], tf.cast(x * 9, tf.int32), [4]),
        (Arg((2,), free=()),),
        order=0,
    ),
    Case(
        "scatter_nd_bool", "ScatterNd", lambda x: tf.scatter_nd([[1], [2]], x > 0, [4]), (Arg((2,), free=()),), order=0
    ),
    Case(
        "scatter_nd_complex",
        "ScatterNd",
        lambda x, y: tf.scatter_nd([[1], [0], [1]], tf.complex(x, y), [4, 2]) ** 2,
        (Arg((3, 2), free=()), Arg((3, 2), free=())),
    ),
    *[
        Case(
            f"tensor_scatter_{name.lower()}",
            f"TensorScatter{name}",
            lambda x, u, i, op=getattr(raw, f"TensorScatter{name}"): op(tensor=x, indices=i, updates=u) ** 2,
            (free(5, 3), Arg((3, 3), free=(1,)), index([[1], [4], [4]] if name in ("Add", "Sub") else [[1], [4], [0]])),
            order=1 if name in ("Max", "Min") else 2,
        )
        for name in ("Add", "Sub", "Update", "Max", "Min")
    ],
    *[
        Case(
            f"tensor_scatter_{name.lower()}_ties",
            f"TensorScatter{name}",
            lambda x, u, op=getattr(raw, f"TensorScatter{name}"): op(tensor=x, indices=[[1], [1], [0]], updates=u) * x,
            (fixed([1.0, 2.0, 3.0], None, ()), fixed([2.0, 2.0, 1.0], None, ())),
            smooth=False,
        )
        for name in ("Max", "Min")
    ],
    Case(
        "tensor_scatter_update_last",
        "TensorScatterUpdate",
        lambda x, u: tf.tensor_scatter_nd_update(x, [[1], [1], [0]], u) * x,
        (Arg((3,), free=()), Arg((3,), free=())),
        order=0,
    ),
    Case(
        "tensor_scatter_complex",
        "TensorScatterAdd",
        lambda x, y: tf.tensor_scatter_nd_add(tf.complex(x, y), [[1]], tf.complex(y, x)[:1]) ** 2,
        ((4, 3), (4, 3)),
    ),
    Case(
        "scatter_non_aliasing_add",
        "ScatterNdNonAliasingAdd",
        lambda x, u: raw.ScatterNdNonAliasingAdd(input=x, indices=[[1], [1], [0]], updates=u) ** 2,
        (free(5, 3), Arg((3, 3), free=(1,))),
        order=2,
    ),
    *[
        Case(
            f"unsorted_segment_{name}_{label}",
            f"UnsortedSegment{name.title()}",
            lambda x, i, f=getattr(tf.math, f"unsorted_segment_{name}"): f(x, i, 5) * tf.ones([5, 3], x.dtype) * 0.5,
            (
                ROWS if label != "free" else free(5, 3),
                UNSORTED if label != "free" else index([3, 0, -1, 3, 1], axes=(0,)),
            ),
            order=2 if name == "sum" else 1,
        )
        for name in ("sum", "prod")
        for label in ("fixed", "free")
    ],
    Case(
        "unsorted_segment_constant",
        "UnsortedSegmentSum",
        lambda x: tf.math.unsorted_segment_sum(x, [3, 0, 0, 3, 1], 5) ** 2,
        (ROWS,),
        order=2,
    ),
    Case(
        "unsorted_segment_matrix",
        "UnsortedSegmentSum",
        lambda x, i: tf.math.unsorted_segment_sum(x, i, 4) ** 2,
        (free(3, 2, 4), index([[1, -1], [0, 3], [3, 3]])),
        order=2,
    ),
    Case(
        "unsorted_segment_count",
        "UnsortedSegmentSum",
        lambda x, i: tf.math.unsorted_segment_sum(x, i, tf.reduce_max(i) + 1) ** 2,
        (ROWS, UNSORTED),
    ),
    Case(
        "unsorted_segment_complex",
        "UnsortedSegmentSum",
        lambda x, y, i: tf.math.unsorted_segment_sum(tf.complex(x, y), i, 5) ** 2,
        (ROWS, ROWS, UNSORTED),
    ),
    Case(
        "unsorted_segment_prod_zeros",
        "UnsortedSegmentProd",
        lambda x, i: tf.math.unsorted_segment_prod(x, i, 4),
        (fixed([[0.0, 2.0], [0.0, 1.5], [3.0, 0.0], [2.0, 2.0], [1.0, 4.0]], None, (1,)), UNSORTED),
    ),
    *[
        Case(
            f"unsorted_segment_{name}_ties",
            f"UnsortedSegment{name.title()}",
            lambda x, i, f=getattr(tf.math, f"unsorted_segment_{name}"): tf.gather(f(x, i, 5), [0, 1, 3]) ** 2,
            (TIES, UNSORTED),
            smooth=False,
        )
        for name in ("max", "min")
    ],
    *[
        Case(
            f"unsorted_segment_{name}_empty",
            f"UnsortedSegment{name.title()}",
            lambda x, i, f=getattr(tf.math, f"unsorted_segment_{name}"): f(x, i, 5),
            (ROWS, UNSORTED),
            order=0,
        )
        for name in ("max", "min")
    ],
    Case(
        "unsorted_segment_mean",
        "UnsortedSegmentSum",
        lambda x, i: tf.math.unsorted_segment_mean(x, i, 5) ** 2,
        (ROWS, UNSORTED),
        order=2,
    ),
    *[
        Case(
            f"segment_{name}",
            f"Segment{name.title()}",
            lambda x, i, f=getattr(tf.math, f"segment_{name}"): f(x, i) ** 2,
            (ROWS, SORTED),
            order=2 if name in ("sum", "mean") else 1,
        )
        for name in ("sum", "mean", "max", "min")
    ],
    Case("segment_prod", "SegmentProd", lambda x, i: tf.math.segment_prod(x, i), (ROWS, SORTED)),
    Case(
        "segment_ties",
        ("SegmentMax", "SegmentMin"),
        lambda x, i: tf.math.segment_max(x, i) * tf.math.segment_min(x, i),
        (TIES, SORTED),
        smooth=False,
    ),
    Case(
        "segment_constant_ids", "SegmentSum", lambda x: tf.math.segment_sum(x, [0, 0, 1, 3, 3]) ** 2, (ROWS,), order=2
    ),
    Case(
        "segment_none",
        "SegmentSum",
        lambda x, i: tf.math.segment_sum(x, i) ** 2,
        (Arg((0, 3), free=(1,)), index(np.zeros(0, "int32"))),
        order=0,
    ),
    *[
        Case(
            f"sparse_segment_{name}_{count}_{sparse}".lower(),
            (f"SparseSegment{op}" + ("WithNumSegments" if count else ""), f"SparseSegment{op}Grad" + "V2" * sparse),
            lambda x, i, s, f=getattr(tf.sparse, f"segment_{name}"), n=count, g=sparse: (
                f(x, i, s, num_segments=n, sparse_gradient=g) ** 2
            ),
            (Arg((6, 3), free=(1,)), index([4, 0, 4, 2, 5]), SORTED),
            order=1,
        )
        for name, op in (("sum", "Sum"), ("mean", "Mean"), ("sqrt_n", "SqrtN"))
        for count in (None, 5)
        for sparse in (False, True)
    ],
    *[
        Case(
            f"sparse_segment_{name}_grad".lower(),
            f"SparseSegment{name}Grad",
            lambda x, i, s, f=getattr(raw, f"SparseSegment{name}Grad"): f(
                grad=x, indices=i, segment_ids=s, output_dim0=6
            ),
            (Arg((4, 3), free=()), index([4, 0, 4, 2, 5]), SORTED),
            order=0,
        )
        for name in ("Sum", "Mean", "SqrtN")
    ],
    Case("embedding_lookup", SUM, lambda x, i: tf.nn.embedding_lookup(x, i) ** 2, (free(5, 3), integers(0, 5, 5, 2))),
    Case(
        "boolean_mask",
        ("Where", "GatherV2"),
        lambda x, m: tf.boolean_mask(x, m) ** 2,
        (free(4, 3), fixed([True, False, True, True], "bool")),
        order=2,
    ),
    Case("repeat", "GatherV2", lambda x: tf.repeat(x, [2, 0, 3], 1) ** 2, ((2, 3),), order=2),
    Case(
        "segment_max_infinite",
        ("SegmentMax", "SegmentMin"),
        lambda x: (tf.math.segment_max(x, [0, 0, 2]), tf.math.segment_min(-x, [0, 0, 2])),
        (fixed([[-np.inf, 1.0], [-np.inf, -np.inf], [-np.inf, 2.0]], free=()),),
        smooth=False,
    ),
    Case(
        "inplace_update",
        ("Empty", "InplaceUpdate"),
        lambda x: tf.raw_ops.InplaceUpdate(
            x=tf.raw_ops.Empty(shape=tf.shape(x), dtype=x.dtype, init=True), i=tf.range(tf.shape(x)[0])[::-1], v=x
        ),
        ((3, 4),),
        order=0,
    ),
]
