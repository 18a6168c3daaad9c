"""Rows for ``lowering/quantization.py``."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, uniform

VARS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsGradient")
CHANNELS = ("FakeQuantWithMinMaxVarsPerChannel", "FakeQuantWithMinMaxVarsPerChannelGradient")
ARGS = ("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxArgsGradient")


def limit(value: Any) -> Arg:
    return fixed(np.asarray(value), free=())


def dequantized(version: str, **options: Any) -> Any:
    def apply(x: Any) -> Any:
        low, high = (tf.constant(end, x.dtype) for end in (-1.3, 2.1))
        extra = {"num_bits": 4} if version == "V3" else {"num_bits": 5}
        return getattr(tf.raw_ops, f"QuantizeAndDequantize{version}")(
            input=x, input_min=low, input_max=high, **extra, **options
        )

    return apply


def row(name: str, ops: Any, function: Any, *inputs: Any, order: int = 1) -> Case:
    return Case(name, ops, function, inputs, order=order, smooth=False, dtypes=("float32",))


CASES = [
    row("fakequant_args", ARGS, tf.quantization.fake_quant_with_min_max_args, uniform(-9, 9, 4, 5), order=2),
    row(
        "fakequant_args_narrow",
        ARGS,
        partial(tf.quantization.fake_quant_with_min_max_args, min=-1.3, max=2.1, num_bits=4, narrow_range=True),
        uniform(-3, 3, 4, 5),
    ),
    row(
        "fakequant_vars",
        VARS,
        tf.quantization.fake_quant_with_min_max_vars,
        uniform(-3, 3, 4, 5),
        limit(-1.3),
        limit(2.1),
    ),
    row(
        "fakequant_vars_positive",
        VARS,
        partial(tf.quantization.fake_quant_with_min_max_vars, num_bits=3),
        uniform(-3, 3, 4, 5),
        limit(0.4),
        limit(2.1),
    ),
    row(
        "fakequant_vars_zero",
        VARS,
        tf.quantization.fake_quant_with_min_max_vars,
        uniform(-3, 3, 4, 5),
        limit(0.0),
        limit(0.0),
    ),
    row(
        "fakequant_channels",
        CHANNELS,
        tf.quantization.fake_quant_with_min_max_vars_per_channel,
        uniform(-3, 3, 4, 3),
        limit([-1.3, 0.0, -0.2]),
        limit([2.1, 0.0, 2.0]),
    ),
    *[
        Case(
            f"dequantized_{name}",
            f"QuantizeAndDequantize{version}",
            dequantized(version, **options),
            (uniform(-3, 3, 4, 3),),
            smooth=False,
        )
        for name, version, options in (
            ("v2", "V2", {"range_given": True}),
            ("v2_own_range", "V2", {}),
            ("v3", "V3", {"range_given": True}),
            ("v4", "V4", {"range_given": True}),
            ("v4_up", "V4", {"range_given": True, "round_mode": "HALF_UP"}),
            ("v4_unsigned", "V4", {"range_given": True, "signed_input": False}),
            ("v4_narrow", "V4", {"range_given": True, "narrow_range": True}),
        )
    ],
    Case(
        "dequantized_gradient",
        "QuantizeAndDequantizeV4Grad",
        dequantized("V4", range_given=True),
        (uniform(-3, 3, 4, 3),),
        smooth=False,
    ),
]
