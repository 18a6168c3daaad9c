"""Rows for ``lowering/pooling.py`` and ``lowering/max_pooling.py``: overlap, padding, ties, free sizes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, normal

AVG2, AVG3, MAX2, MAX3 = (
    ("AvgPool", "AvgPoolGrad"),
    ("AvgPool3D", "AvgPool3DGrad"),
    ("MaxPool", "MaxPoolGrad"),
    ("MaxPool3D", "MaxPool3DGrad"),
)


def image(*shape: int) -> Arg:
    """Batch and every spatial size are free."""
    return Arg(shape, free=tuple(range(len(shape) - 1)))


def compiled(function: Any) -> Any:
    """By XLA, which alone runs channels first on a CPU."""
    return tf.function(function, jit_compile=True)


def pool(kind: str, ksize: Any, strides: Any, padding: Any, rank: int = 2, layout: str | None = None) -> Any:
    function = getattr(tf.nn, f"{kind}_pool{rank}d")
    return partial(
        function, ksize=ksize, strides=strides, padding=padding, data_format=layout or ("NHWC", "NDHWC")[rank - 2]
    )


def max_pool_v2(x: Any) -> Any:
    return tf.raw_ops.MaxPoolV2(input=x, ksize=[1, 3, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def max_pool_grad_grad_v2(x: Any, ddx: Any) -> Any:
    window = {"ksize": [1, 3, 2, 1], "strides": [1, 2, 2, 1], "padding": "SAME"}
    y = tf.raw_ops.MaxPoolV2(input=x, **window)
    return tf.raw_ops.MaxPoolGradGradV2(orig_input=x, orig_output=y, grad=ddx, **window)


def with_argmax(x: Any, batch: bool = False) -> Any:
    y, at = tf.raw_ops.MaxPoolWithArgmax(
        input=x, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME", include_batch_in_index=batch
    )
    return y, at


TIES = np.array([[0, 0, 1, 1, 0], [0, 0, 1, 1, 2], [3, 3, 0, 0, 2], [3, 3, 0, -1, 2]], float).reshape(1, 4, 5, 1)
EXPLICIT = [[0, 0], [1, 1], [0, 1], [0, 0]]

CASES = [
    Case("avgpool_same_odd", AVG2, pool("avg", 3, 2, "SAME"), (normal(2, 5, 7, 3),), order=2),
    Case("avgpool_same_free", AVG2, pool("avg", 3, 2, "SAME"), (image(2, 6, 7, 3),), order=2),
    Case("avgpool_same_free_below", AVG2, pool("avg", 2, 4, "SAME"), (image(2, 8, 12, 2),)),
    Case("avgpool_stride_one", AVG2, pool("avg", 3, 1, "SAME"), (image(2, 5, 6, 3),), order=2),
    Case("avgpool_stride_one_even", AVG2, pool("avg", (2, 4), 1, "SAME"), (image(2, 5, 6, 3),), order=2),
    Case("avgpool_stride_one_valid", AVG2, pool("avg", 3, 1, "VALID"), (image(2, 5, 6, 3),)),
    Case("avgpool_tiles", AVG2, pool("avg", 2, 2, "VALID"), (image(2, 5, 6, 3),), order=2),
    Case("avgpool_gaps", AVG2, pool("avg", 2, 3, "VALID"), (normal(2, 9, 7, 3),)),
    Case("avgpool_overlap", AVG2, pool("avg", (3, 2), (2, 1), "VALID"), (image(2, 6, 7, 3),)),
    Case("avgpool_empty_batch", AVG2, pool("avg", 3, 2, "SAME"), (normal(0, 6, 7, 3),), smooth=False),
    Case("avgpool_channels_first", AVG2, compiled(pool("avg", 3, 2, "SAME", layout="NCHW")), (normal(2, 3, 5, 6),)),
    Case("avgpool3d_same", AVG3, pool("avg", 3, 2, "SAME", 3), (image(2, 4, 5, 3, 2),), order=2, dtypes=("float32",)),
    Case("avgpool3d_valid", AVG3, pool("avg", 2, 2, "VALID", 3), (image(2, 4, 5, 3, 2),), order=2, dtypes=("float32",)),
    Case(
        "avgpool3d_stride_one", AVG3, pool("avg", (2, 3, 1), 1, "SAME", 3), (image(2, 4, 5, 3, 2),), dtypes=("float32",)
    ),
    Case("maxpool_same_odd", (*MAX2, "MaxPoolGradGrad"), pool("max", 3, 2, "SAME"), (normal(2, 5, 7, 3),), order=2),
    Case("maxpool_same_free", MAX2, pool("max", 3, 2, "SAME"), (image(2, 6, 7, 3),), order=2),
    Case("maxpool_same_free_below", "MaxPool", pool("max", 2, 4, "SAME"), (image(2, 8, 12, 2),), order=0),
    Case("maxpool_same_below", MAX2, pool("max", 2, 3, "SAME"), (normal(2, 9, 10, 2),)),
    Case("maxpool_stride_one", MAX2, pool("max", 3, 1, "SAME"), (image(2, 6, 7, 3),), order=2),
    Case("maxpool_tiles", MAX2, pool("max", 2, 2, "VALID"), (image(2, 6, 7, 3),), order=2),
    Case("maxpool_explicit", MAX2, pool("max", (2, 3), 2, EXPLICIT), (image(2, 6, 7, 3),)),
    Case("maxpool_ties", (*MAX2, "MaxPoolGradGrad"), pool("max", 3, 1, "SAME"), (fixed(TIES),), smooth=False, order=2),
    Case("maxpool_ties_tiles", MAX2, pool("max", 2, 2, "SAME"), (fixed(TIES),), smooth=False),
    Case("maxpool_empty_batch", MAX2, pool("max", 3, 2, "SAME"), (normal(0, 6, 7, 3),), smooth=False),
    Case("maxpool_channels_first", MAX2, compiled(pool("max", 3, 2, "SAME", layout="NCHW")), (normal(2, 3, 5, 6),)),
    Case("maxpool_v2", ("MaxPoolV2", "MaxPoolGradV2"), max_pool_v2, (normal(2, 5, 7, 3),)),
    Case("maxpool_grad_grad_v2", "MaxPoolGradGradV2", max_pool_grad_grad_v2, (normal(2, 5, 7, 3),) * 2, order=0),
    Case(
        "maxpool3d_same",
        (*MAX3, "MaxPool3DGradGrad"),
        pool("max", 3, 2, "SAME", 3),
        (image(2, 4, 5, 3, 2),),
        order=2,
        dtypes=("float32",),
    ),
    Case(
        "maxpool3d_valid", MAX3, pool("max", 2, 2, "VALID", 3), (normal(2, 4, 5, 3, 2),), order=2, dtypes=("float32",)
    ),
    Case(
        "maxpool3d_ties",
        MAX3,
        pool("max", (1, 3, 3), 1, "SAME", 3),
        (fixed(TIES[:, None]),),
        smooth=False,
        dtypes=("float32",),
    ),
    Case(
        "maxpool3d_channels_first_ties",
        MAX3,
        compiled(pool("max", (1, 3, 3), 1, "SAME", 3, "NCDHW")),
        (fixed(TIES.reshape(1, 1, 1, 4, 5)),),
        smooth=False,
        dtypes=("float32",),
    ),
    Case("maxpool_argmax", ("MaxPoolWithArgmax", "MaxPoolGradWithArgmax"), with_argmax, (normal(2, 5, 6, 3),)),
    Case(
        "maxpool_argmax_batch",
        ("MaxPoolWithArgmax", "MaxPoolGradWithArgmax"),
        partial(with_argmax, batch=True),
        (normal(2, 5, 6, 3),),
    ),
    Case("maxpool_argmax_ties", "MaxPoolWithArgmax", with_argmax, (fixed(TIES),), smooth=False),
    Case("maxpool_gaps_free", MAX2, pool("max", [2, 1], [4, 3], "SAME"), (image(2, 7, 8, 2),)),
    Case(
        "maxpool_argmax_gaps_free",
        ("MaxPoolWithArgmax", "MaxPoolGradWithArgmax"),
        lambda x: tf.nn.max_pool_with_argmax(x, [2, 1], [3, 4], "SAME", include_batch_in_index=True),
        (image(2, 7, 6, 2),),
    ),
]
