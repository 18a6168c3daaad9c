"""Rows for ``lowering/reduction.py`` and ``cumulative.py``."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, uniform

raw = tf.raw_ops


def free(*shape: int) -> Arg:
    """Every axis free."""
    return Arg(shape, free=tuple(range(len(shape))))


TIES = fixed([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -0.0, -1.0]])
ZEROS = fixed([[1.5, 0.0, 2.0, -1.0], [0.0, 3.0, 0.0, 2.0], [1.0, 2.0, -3.0, 0.5]])
PROD = ("Prod", "Cumprod")

NAN, INF = np.nan, np.inf
NOT_FINITE = fixed([[1, NAN, -2, 3], [NAN, NAN, NAN, NAN], [NAN, 1, 7, 0], [2, 5, -1, NAN], [INF, 1, -INF, 0]])

CASES = [
    Case("sum", "Sum", lambda x: tf.reduce_sum(x**2, 1), ((3, 4, 2),), order=2),
    Case("sum_all", "Sum", lambda x: tf.reduce_sum(x**2), ((3, 4),), order=2),
    Case("sum_keep", "Sum", lambda x: tf.reduce_sum(x, -1, keepdims=True) * x, (free(3, 4),), order=2),
    Case("sum_axes", "Sum", lambda x: tf.reduce_sum(x, [0, 2]) ** 2, (free(3, 4, 2),), order=2),
    Case("sum_no_axes", "Sum", lambda x: tf.reduce_sum(x, []) ** 2, ((3, 4),)),
    Case("sum_of_none", "Sum", lambda x: tf.reduce_sum(x**2, 0), ((0, 4),), order=2),
    Case(
        "sum_axis_of_data", "Sum", lambda x, a: tf.reduce_sum(x**2, a, keepdims=True), ((3, 4), fixed([1], "int32", ()))
    ),
    Case("sum_axis_computed", "Sum", lambda x: tf.reduce_sum(x**2, tf.range(1, tf.rank(x))), ((3, 4, 2),), order=2),
    Case("sum_int", "Sum", lambda x: tf.reduce_sum(tf.cast(x * 5, tf.int32), 1), ((3, 4),), order=0),
    Case("sum_complex", "Sum", lambda x, y: tf.reduce_sum(tf.complex(x, y) ** 2, 1), ((3, 4), (3, 4))),
    Case("mean", "Mean", lambda x: tf.reduce_mean(x**2, 1), ((3, 4, 2),), order=2),
    Case("mean_all", "Mean", lambda x: tf.reduce_mean(x**2), (free(3, 4),), order=2),
    Case("mean_keep", "Mean", lambda x: tf.reduce_mean(x, -1, keepdims=True) * x, (free(3, 4),), order=2),
    Case("mean_batch", "Mean", lambda x: tf.reduce_mean(x, 0) ** 2, ((3, 4),), order=2),
    Case("mean_of_none", "Mean", lambda x: tf.reduce_mean(x, 0), ((0, 4),), smooth=False),
    Case("mean_of_no_rows", "Mean", lambda x: tf.reduce_mean(x, 1) ** 2, ((0, 4),), order=2),
    Case("mean_int", "Mean", lambda x: tf.reduce_mean(tf.cast(x * 5, tf.int32), 1), ((3, 4),), order=0),
    Case(
        "mean_axis_of_data",
        "Mean",
        lambda x, a: tf.reduce_mean(x**2, a, keepdims=True),
        ((3, 4), fixed([1], "int32", ())),
    ),
    Case("mean_complex", "Mean", lambda x, y: tf.reduce_mean(tf.complex(x, y), 1) ** 2, ((3, 4), (3, 4))),
    Case("prod", PROD, lambda x: tf.reduce_prod(x, 1), ((3, 4),), order=2),
    Case("prod_all", PROD, lambda x: tf.reduce_prod(x), ((2, 3),), order=2),
    Case(
        "prod_middle", PROD, lambda x: tf.reduce_prod(x, [0, 2], keepdims=True), (Arg((2, 3, 2), free=(1,)),), order=2
    ),
    Case("prod_free", PROD, lambda x: tf.reduce_prod(x, 1), (free(3, 5),), order=2),
    Case("prod_zeros", PROD, lambda x: tf.reduce_prod(x, 1), (ZEROS,), order=2),
    Case("prod_of_none", PROD, lambda x: tf.reduce_prod(x, 1), ((3, 0),)),
    Case("max", "Max", lambda x: tf.reduce_max(x, 1) ** 2, ((3, 4),), order=2),
    Case("max_ties", "Max", lambda x: tf.reduce_max(x, 1, keepdims=True) * x, (TIES,), smooth=False),
    Case("max_free", "Max", lambda x: tf.reduce_max(x, [0, 1]) ** 2, (free(3, 4),)),
    Case("max_of_none", "Max", lambda x: tf.reduce_max(x, 1), ((3, 0),), smooth=False),
    Case(
        "max_infinite",
        "Max",
        lambda x: tf.reduce_max(x, 1),
        (fixed([[1.0, -np.inf], [np.inf, 2.0], [-np.inf, -np.inf]]),),
        smooth=False,
    ),
    Case("max_int", "Max", lambda x: tf.reduce_max(tf.cast(x * 5, tf.int64), 1), ((3, 4),), order=0),
    Case("min", "Min", lambda x: tf.reduce_min(x, -1) ** 2, ((3, 4),), order=2),
    Case("min_ties", "Min", lambda x: tf.reduce_min(x, 1, keepdims=True) * x, (TIES,), smooth=False),
    Case("min_of_none", "Min", lambda x: tf.reduce_min(x, 1), ((3, 0),), smooth=False),
    Case(
        "all_any", ("All", "Any"), lambda x: [tf.reduce_all(x > -0.7, 1), tf.reduce_any(x > 0.7, 1)], ((9, 3),), order=0
    ),
    Case(
        "all_any_of_none",
        ("All", "Any"),
        lambda x: [tf.reduce_all(x > 0, 1), tf.reduce_any(x > 0, 1)],
        ((3, 0),),
        order=0,
    ),
    Case(
        "all_any_everything",
        ("All", "Any"),
        lambda x: [tf.reduce_all(x > 0), tf.reduce_any(x > 0, [0, 1], True)],
        (free(3, 2),),
        order=0,
    ),
    Case("euclidean_norm", "EuclideanNorm", lambda x: tf.math.reduce_euclidean_norm(x, 1), ((3, 4),), order=2),
    Case(
        "euclidean_norm_zero",
        "EuclideanNorm",
        lambda x: tf.math.reduce_euclidean_norm(x, 1),
        (fixed([[0.0, 0.0], [3.0, 4.0]]),),
        smooth=False,
    ),
    Case(
        "euclidean_norm_complex",
        "EuclideanNorm",
        lambda x, y: tf.math.reduce_euclidean_norm(tf.complex(x, y), 1),
        ((3, 4), (3, 4)),
        order=0,
    ),
    Case(
        "arg_extrema", ("ArgMax", "ArgMin"), lambda x: [tf.argmax(x, -1), tf.argmin(x, 0, tf.int32)], ((3, 4),), order=0
    ),
    Case("arg_extrema_ties", ("ArgMax", "ArgMin"), lambda x: [tf.argmax(x, 1), tf.argmin(x, 1)], (TIES,), order=0),
    Case("arg_extrema_bool", "ArgMax", lambda x: tf.argmax(x > 0, 1), ((3, 4),), order=0),
    Case("logsumexp", ("Max", "Sum"), lambda x: tf.reduce_logsumexp(x * 100, 1), (free(3, 4),), order=2),
    Case("variance", "Mean", lambda x: tf.math.reduce_variance(x, 1), (free(3, 4),), order=2),
    *[
        Case(
            f"cumsum_{exclusive}_{reverse}".lower(),
            "Cumsum",
            lambda x, e=exclusive, r=reverse: tf.cumsum(x, 1, exclusive=e, reverse=r) ** 2,
            (free(3, 5),),
            order=2,
        )
        for exclusive in (False, True)
        for reverse in (False, True)
    ],
    Case("cumsum_negative_axis", "Cumsum", lambda x: tf.cumsum(x, -2) ** 2, ((3, 5, 2),), order=2),
    Case("cumsum_int", "Cumsum", lambda x: tf.cumsum(tf.cast(x * 5, tf.int32), 1), ((3, 5),), order=0),
    Case("cumsum_of_none", "Cumsum", lambda x: tf.cumsum(x, 0), ((0, 5),)),
    *[
        Case(
            f"cumprod_{exclusive}_{reverse}_{name}".lower(),
            "Cumprod",
            lambda x, e=exclusive, r=reverse: tf.math.cumprod(x, 1, exclusive=e, reverse=r),
            (arg,),
            order=1,
        )
        for exclusive in (False, True)
        for reverse in (False, True)
        for name, arg in [
            ("static", uniform(0.5, 2, 3, 7)),
            ("free", Arg((3, 7), lambda r, s: r.uniform(0.5, 2, s), free=(0, 1))),
        ]
    ],
    Case("cumprod_one", "Cumprod", lambda x: tf.math.cumprod(x, 1), (free(3, 1),)),
    Case("cumprod_none", "Cumprod", lambda x: tf.math.cumprod(x, 1), (free(3, 0),)),
    Case("cumprod_forward_zeros", "Cumprod", lambda x: tf.math.cumprod(x, 1), (ZEROS,), order=0),
    Case("cumprod_zeros", "Cumprod", lambda x: tf.math.cumprod(x, 1), (ZEROS,), smooth=False),
    *[
        Case(
            f"cumulative_logsumexp_{exclusive}_{reverse}".lower(),
            "CumulativeLogsumexp",
            lambda x, e=exclusive, r=reverse: tf.math.cumulative_logsumexp(x * 3, 1, exclusive=e, reverse=r),
            (free(3, 6),),
            smooth=not exclusive,
        )
        for exclusive in (False, True)
        for reverse in (False, True)
    ],
    Case(
        "cumulative_logsumexp_range",
        "CumulativeLogsumexp",
        lambda x: tf.math.cumulative_logsumexp(x, 1),
        (fixed([[-800.0, 0.0, 700.0, 3.0], [-np.inf, -np.inf, 1.0, 2.0]]),),
        order=0,
    ),
    *[
        Case(f"reduce_{name}_not_finite", name.title(), function, (NOT_FINITE,), smooth=False)
        for name, function in (("max", lambda x: tf.reduce_max(x, 1)), ("min", lambda x: tf.reduce_min(x, 1)))
    ],
    *[
        Case(f"{name.lower()}_not_finite", name, function, (NOT_FINITE,), order=0)
        for name, function in (("ArgMax", lambda x: tf.argmax(x, 1)), ("ArgMin", lambda x: tf.argmin(x, 1)))
    ],
]
