"""Rows for ``lowering/normalization.py``."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, normal, uniform

NORM = ("FusedBatchNormV3", "FusedBatchNormGradV3")


def vector(size: int) -> Arg:
    return Arg((size,), lambda rng, shape: rng.uniform(0.5, 1.5, shape), free=())


def batch_norm(training: bool, version: str = "V3", layout: str = "NHWC", factor: float = 1.0) -> Any:
    def apply(x: Any, scale: Any, offset: Any, mean: Any, variance: Any) -> Any:
        given = factor != 1 or not training
        extra = {} if factor == 1 else {"exponential_avg_factor": factor}
        results = getattr(tf.raw_ops, f"FusedBatchNorm{version}")(
            x=x,
            scale=scale,
            offset=offset,
            mean=mean if given else [],
            variance=variance if given else [],
            epsilon=0.01,
            data_format=layout,
            is_training=training,
            **extra,
        )
        return results[: 3 if training else 1]

    return apply


def lrn(x: Any) -> Any:
    return tf.raw_ops.LRN(input=x, depth_radius=2, bias=1.5, alpha=0.7, beta=0.6)


def row(name: str, ops: Any, function: Any, x: Arg | tuple[int, ...], channels: int = 3, **options: Any) -> Case:
    # TensorFlow has no kernel of these ops in double precision.
    return Case(name, ops, function, (x, *[vector(channels)] * 4), dtypes=("float32",), **options)


CASES = [
    row(
        "batchnorm_training",
        NORM,
        lambda *a: batch_norm(True)(*a)[0],
        (3, 4, 5, 3),
        order=2,
        tolerance={"float32": 5e-5},
        reason="sums over the batch nearly cancel in the second derivative",
    ),
    row("batchnorm_training_free", NORM, lambda *a: batch_norm(True)(*a)[0], Arg((3, 4, 5, 3), free=(0, 1, 2))),
    row("batchnorm_training_statistics", "FusedBatchNormV3", batch_norm(True, factor=0.3), (3, 4, 5, 3), order=0),
    row("batchnorm_training_one_element", "FusedBatchNormV3", batch_norm(True), (1, 1, 1, 3), order=0),
    row("batchnorm_training_nchw", NORM, lambda *a: batch_norm(True, layout="NCHW")(*a)[0], (3, 4, 2, 5), 4),
    row("batchnorm_training_ndhwc", NORM, lambda *a: batch_norm(True, layout="NDHWC")(*a)[0], (3, 2, 2, 2, 3)),
    row("batchnorm_inference", NORM, batch_norm(False), (2, 4, 5, 3)),
    row("batchnorm_inference_nchw", NORM, batch_norm(False, layout="NCHW"), (2, 4, 2, 5), 4),
    row("batchnorm_inference_empty_batch", "FusedBatchNormV3", batch_norm(False), (0, 4, 5, 3), order=0),
    row("batchnorm_v1", ("FusedBatchNorm", "FusedBatchNormGrad"), lambda *a: batch_norm(True, "")(*a)[0], (2, 4, 5, 3)),
    row(
        "batchnorm_v2",
        ("FusedBatchNormV2", "FusedBatchNormGradV2"),
        lambda *a: batch_norm(True, "V2")(*a)[0],
        (2, 4, 5, 3),
    ),
    Case("lrn", ("LRN", "LRNGrad"), lrn, ((2, 3, 4, 7),), dtypes=("float32",)),
    Case(
        "lrn_large",
        ("LRN", "LRNGrad"),
        tf.nn.local_response_normalization,
        (uniform(-9, 9, 2, 1, 4, 3),),
        dtypes=("float32",),
    ),
    Case("l2_normalize", "Rsqrt", lambda x: tf.math.l2_normalize(x, -1), (normal(3, 4),), order=2),
    Case("norm_zero", "Sqrt", lambda x: tf.norm(x, axis=1), (fixed([[0.0, 0.0], [3.0, 4.0]]),), smooth=False),
    Case(
        "l2_normalize_zero",
        "Rsqrt",
        lambda x: tf.math.l2_normalize(x, 1),
        (fixed([[0.0, 0.0], [3.0, 4.0]]),),
        order=2,
        smooth=False,
    ),
]
