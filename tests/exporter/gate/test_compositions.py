"""Operators without a float64 kernel: what takes their place in the exact reference says the same, more exactly."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.gate.exact_reference import ExactFunction
from pullback_export.gate.exact_reference.compositions import COMPOSITIONS
from pullback_export.sources.opening import open_source

RNG = np.random.default_rng(0)
raw = tf.raw_ops
VECTOR = [RNG.uniform(0.5, 1.5, 3).astype(np.float32) for _ in range(4)]


def normalized(op: Any, **options: Any) -> Any:
    def model(x: Any) -> Any:
        found = op(x=x, scale=VECTOR[0], offset=VECTOR[1], mean=VECTOR[2], variance=VECTOR[3], epsilon=1e-2, **options)
        return {"y": tf.reduce_sum(tf.tanh(found.y) ** 2, list(range(1, len(x.shape)))), "mean": found.batch_mean,
                "variance": found.batch_variance}  # fmt: skip

    return model


def pooled(padding: str, size: list[int], strides: list[int]) -> Any:
    def model(x: Any) -> Any:
        return {"y": tf.reduce_sum(tf.nn.avg_pool3d(x, size, strides, padding) ** 2, [1, 2, 3, 4])}

    return model


def resized(align: bool, half: bool, size: tuple[int, int]) -> Any:
    def model(x: Any) -> Any:
        found = raw.ResizeBilinear(images=x, size=size, align_corners=align, half_pixel_centers=half)
        return {"y": tf.reduce_sum(found**2, [1, 2, 3])}

    return model


def responded(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.nn.lrn(x, 2, 1.5, 0.7, 0.6) ** 2, [1, 2, 3])}


ROWS: list[tuple[str, Any, tuple[int, ...], tuple[str, ...]]] = [
    *(
        (
            f"{op.__name__} training={training} {layout}",
            normalized(op, is_training=training, data_format=layout, **more),
            shape,
            (f"FusedBatchNorm{suffix}", f"FusedBatchNormGrad{suffix}"),
        )
        for (suffix, op), training, (layout, shape) in itertools.product(
            (("", raw.FusedBatchNorm), ("V2", raw.FusedBatchNormV2), ("V3", raw.FusedBatchNormV3)),
            (False, True),
            (("NHWC", (4, 3, 2, 3)), ("NCHW", (4, 3, 2, 3)), ("NDHWC", (4, 2, 2, 3, 3))),
        )
        for more in (({"exponential_avg_factor": 0.5},) if training and layout == "NHWC" and suffix else ({},))
        if layout != "NDHWC" or suffix == "V3"
        if layout != "NCHW" or not training
    ),
    *(
        (f"AvgPool3D {padding} {size} {strides}", pooled(padding, size, strides), (2, 4, 5, 6, 2),
         ("AvgPool3D", "AvgPool3DGrad"))
        for padding, size, strides in (("SAME", [2, 3, 2], [2, 1, 3]), ("VALID", [3, 2, 2], [1, 2, 2]))
    ),
    ("LRN", responded, (2, 3, 3, 5), ("LRN", "LRNGrad")),
    *(
        (f"ResizeBilinear {align} {half} {size}", resized(align, half, size), (2, 5, 4, 2),
         ("ResizeBilinear", "ResizeBilinearGrad"))
        for align, half, size in (
            (False, True, (7, 3)), (False, False, (8, 9)), (True, False, (3, 6)), (True, False, (1, 2)),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "model", "shape", "ops"), ROWS, ids=[row[0] for row in ROWS])
def test_the_formula_is_the_operator(name: str, model: Any, shape: tuple[int, ...], ops: tuple[str, ...]) -> None:
    spec = tf.TensorSpec(shape, tf.float32, name="x")
    source = open_source(model, [spec], None, False, False)
    (function,) = Derivatives(source, [parse_request("gradient(y[0], x)")], "error").functions()
    traced = trace(function)
    x = RNG.normal(size=shape).astype(np.float32)
    plain, exact = ExactFunction(traced, composed=False), ExactFunction(traced)
    assert set(plain.coverage.left) <= set(ops)
    assert plain.coverage.left or "NCHW" in name
    assert exact.coverage.exact
    for key, found in exact({"x": x}).items():
        expected = plain({"x": x})[key]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max(), err_msg=key)


def test_every_composition_has_a_row() -> None:
    assert set(COMPOSITIONS) == {op for row in ROWS for op in row[3]}
