"""Rows for arithmetic, exponentials, rounding and comparison: signs, ties, zeros, broadcasting, integers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, integers, uniform

raw = tf.raw_ops
POSITIVE = uniform(0.2, 3, 3, 5)
SIGNED = fixed([-2.5, -2.0, -1.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.5])
PAIRS_X, PAIRS_Y = np.meshgrid([-7, -6, -1, 0, 1, 6, 7], [-3, -2, 2, 3])
ODD = fixed([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0])
FLOAT32 = ("float32",)


def xy(op: Any) -> Any:
    return lambda x, y: op(x=x, y=y)


def whole(dtype: str, shift: int = 0) -> tuple[Arg, Arg]:
    """Integers of both signs in all combinations (``shift``: as unsigned ones)."""
    return fixed(PAIRS_X + shift, dtype), fixed(PAIRS_Y + shift, dtype)


def both(name: str, op: Any, ops: str) -> list[Case]:
    """A binary op on equal shapes, with broadcasting of either operand, and on an empty batch."""
    return [
        Case(name, ops, op, ((3, 5), uniform(0.3, 2, 3, 5)), order=2),
        Case(
            f"{name}_row", ops, op, ((3, 5), Arg((5,), lambda rng, size: rng.uniform(0.3, 2, size), free=())), order=2
        ),
        Case(f"{name}_column", ops, op, (Arg((5,), free=()), uniform(0.3, 2, 3, 1)), order=2),
        Case(f"{name}_empty", ops, op, ((0, 5), uniform(0.3, 2, 0, 5)), order=1),
    ]


CASES = [
    *both("add", tf.add, "AddV2"),
    *both("sub", tf.subtract, "Sub"),
    *both("mul", tf.multiply, "Mul"),
    *both("div", tf.divide, "RealDiv"),
    *both("squared_difference", tf.math.squared_difference, "SquaredDifference"),
    *both("maximum", tf.maximum, "Maximum"),
    *both("minimum", tf.minimum, "Minimum"),
    *both("atan2", tf.atan2, "Atan2"),
    *both("xdivy", tf.math.xdivy, "Xdivy"),
    *both("xlogy", tf.math.xlogy, "Xlogy"),
    *both("xlog1py", tf.math.xlog1py, "Xlog1py"),
    *both("div_no_nan", tf.math.divide_no_nan, "DivNoNan"),
    *both("mul_no_nan", tf.math.multiply_no_nan, "MulNoNan"),
    *both("floor_mod", tf.math.floormod, "FloorMod"),
    Case("add_v1", "Add", xy(raw.Add), ((3, 5), (3, 5)), order=2),
    Case("add_n", "AddN", lambda x, y: tf.add_n([x, y, x]), ((3, 5), (3, 5)), order=2),
    Case("div_v1", "Div", xy(raw.Div), ((3, 5), POSITIVE), order=2),
    Case("neg", "Neg", tf.negative, ((3, 5),), order=2),
    Case("square", "Square", tf.square, ((3, 5),), order=2),
    Case("reciprocal", ("Reciprocal", "ReciprocalGrad"), tf.math.reciprocal, (POSITIVE,), order=2),
    Case("inv", ("Inv", "InvGrad"), lambda x: raw.Inv(x=x) + raw.InvGrad(y=x, dy=x), (POSITIVE,)),
    Case("inv_grad", "InvGrad", lambda x, y: raw.InvGrad(y=x, dy=y), ((3, 5), (3, 5)), order=2),
    Case(
        "div_no_nan_zero",
        "DivNoNan",
        tf.math.divide_no_nan,
        (fixed([1.0, 0.0, np.inf, 2.0]), fixed([0.0, 0.0, 0.0, -0.0])),
        smooth=False,
    ),
    Case(
        "mul_no_nan_zero",
        "MulNoNan",
        tf.math.multiply_no_nan,
        (fixed([1.0, np.nan, np.inf, 2.0]), fixed([0.0, 0.0, 0.0, 3.0])),
        smooth=False,
        order=0,
    ),
    Case(
        "xlogy_zero",
        "Xlogy",
        tf.math.xlogy,
        (fixed([0.0, 0.0, 0.0, 2.0]), fixed([0.0, -1.0, np.inf, 3.0])),
        smooth=False,
    ),
    Case("xlog1py_zero", "Xlog1py", tf.math.xlog1py, (fixed([0.0, 0.0, 2.0]), fixed([-1.0, -2.0, 3.0])), smooth=False),
    Case("xdivy_zero", "Xdivy", tf.math.xdivy, (fixed([0.0, 0.0, 2.0]), fixed([0.0, np.inf, 3.0])), smooth=False),
    Case("power", "Pow", tf.pow, (POSITIVE, (3, 5)), order=2),
    Case("power_broadcast", "Pow", tf.pow, (uniform(0.2, 3, 3, 1), Arg((5,), free=())), order=2),
    *[
        Case(
            f"power_{number}",
            "Pow",
            partial(lambda x, y: tf.pow(x, tf.constant(y, x.dtype)), y=number),
            (uniform(0.2, 2, 3, 5),),
            order=2,
        )
        for number in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 2.3)
    ],
    *[
        Case(
            f"power_negative_base_{number}",
            "Pow",
            partial(lambda x, y: tf.pow(x, tf.constant(y, x.dtype)), y=number),
            (uniform(-2, -0.2, 3, 5),),
            order=2,
        )
        for number in (2.0, 3.0, 5.0)
    ],
    Case("power_zero_base", "Pow", tf.pow, (fixed([0.0, 0.0, 2.0]), fixed([2.0, 3.0, 0.0])), smooth=False),
    Case("power_int", "Pow", tf.pow, (integers(-3, 4, 9), integers(0, 5, 9)), order=0),
    Case(
        "maximum_tie", "Maximum", tf.maximum, (fixed([1.0, 2.0, 3.0, 0.0]), fixed([1.0, 3.0, 2.0, -0.0])), smooth=False
    ),
    Case(
        "minimum_tie", "Minimum", tf.minimum, (fixed([1.0, 2.0, 3.0, 0.0]), fixed([1.0, 3.0, 2.0, -0.0])), smooth=False
    ),
    Case(
        "maximum_nan",
        ("Maximum", "Minimum"),
        lambda x, y: (tf.maximum(x, y), tf.minimum(x, y)),
        (ODD, fixed([1.0, np.nan, np.nan, 2.0, -1.0, 3.0])),
        order=0,
    ),
    *[
        Case(
            f"maximum_{dtype}",
            ("Maximum", "Minimum"),
            lambda x, y: (tf.maximum(x, y), tf.minimum(x, y)),
            whole(dtype, 8 if dtype[0] == "u" else 0),
            order=0,
            dtypes=FLOAT32,
        )
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    ],
    Case(
        "clip_by_value",
        "ClipByValue",
        lambda x: raw.ClipByValue(t=x, clip_value_min=x * 0 - 0.5, clip_value_max=x * 0 + 0.7),
        ((3, 5),),
        order=1,
    ),
    Case("clip_kinks", ("Maximum", "Minimum"), lambda x: tf.clip_by_value(x, -1.0, 1.0), (SIGNED,), smooth=False),
    Case("clip_by_norm", "Maximum", lambda x: tf.clip_by_norm(x, 1.5), ((3, 5),), order=2),
    Case("abs", "Abs", tf.abs, ((3, 5),), order=2),
    Case("abs_kink", ("Abs", "Sign"), tf.abs, (SIGNED,), smooth=False),
    Case("abs_int", ("Abs", "Sign"), lambda x: (tf.abs(x), tf.sign(x)), (integers(-3, 4, 9),), order=0),
    Case("sign", "Sign", tf.sign, (SIGNED,), smooth=False),
    Case("sign_odd", "Sign", tf.sign, (ODD,), order=0),
    Case("exp", "Exp", tf.exp, ((3, 5),), order=2),
    Case("expm1", "Expm1", tf.math.expm1, ((3, 5),), order=2),
    Case("expm1_small", "Expm1", tf.math.expm1, (uniform(-1e-9, 1e-9, 3, 5),)),
    Case("expm1_wide", "Expm1", tf.math.expm1, (uniform(-60, 5, 3, 5),)),
    Case("log", "Log", tf.math.log, (POSITIVE,), order=2),
    Case("log_zero", "Log", tf.math.log, (fixed([0.0, 1.0, -1.0, np.inf]),), order=0),
    Case("log1p", "Log1p", tf.math.log1p, (uniform(-0.8, 3, 3, 5),), order=2),
    Case("log1p_small", "Log1p", tf.math.log1p, (uniform(-1e-9, 1e-9, 3, 5),), order=2),
    Case("log1p_edge", "Log1p", tf.math.log1p, (fixed([-1.0, np.inf, -2.0, 1e30, 1.0, -0.5]),), order=0),
    Case("log_sigmoid", "Softplus", tf.math.log_sigmoid, (uniform(-30, 30, 3, 5),), order=2),
    Case("sqrt", ("Sqrt", "SqrtGrad"), tf.sqrt, (POSITIVE,), order=2),
    Case("sqrt_zero", ("Sqrt", "SqrtGrad"), tf.sqrt, (fixed([0.0, 1.0, -1.0]),), smooth=False),
    *[
        Case(
            f"guarded_{op.lower()}",
            (op, f"{op}Grad"),
            partial(lambda x, op: tf.where(x > 0, getattr(raw, op)(x=x), 0 * x), op=op),
            (fixed([-1.0, 0.0, 2.0]),),
            smooth=False,
        )
        for op in ("Sqrt", "Rsqrt", "Reciprocal")
    ],
    Case(
        "maximum_of_layer",
        ("Maximum", "Minimum"),
        lambda x: tf.clip_by_value(tf.maximum(x, 0.1) @ tf.ones([5, 2], x.dtype), -1.0, 1.0),
        ((3, 5),),
    ),
    Case("sqrt_of_maximum", ("SqrtGrad", "Maximum"), lambda x: tf.sqrt(tf.maximum(x, 0.0)), (fixed([-1.0, 2.0]),)),
    Case("rsqrt", ("Rsqrt", "RsqrtGrad"), tf.math.rsqrt, (POSITIVE,), order=2),
    Case(
        "floor",
        ("Floor", "Ceil", "Round", "Rint"),
        lambda x: (tf.floor(x), tf.math.ceil(x), tf.round(x), tf.math.rint(x)),
        (SIGNED,),
        smooth=False,
    ),
    Case("floor_div", "FloorDiv", tf.math.floordiv, ((3, 5), POSITIVE), order=1),
    Case(
        "floor_mod_signs",
        ("FloorMod", "FloorDiv"),
        lambda x, y: (tf.math.floormod(x, y), tf.math.floordiv(x, y)),
        (fixed(PAIRS_X * 1.0), fixed(PAIRS_Y * 0.5)),
        smooth=False,
    ),
    Case(
        "truncate_mod_signs",
        ("TruncateMod", "Mod", "TruncateDiv"),
        lambda x, y: (raw.TruncateMod(x=x, y=y), raw.Mod(x=x, y=y), raw.TruncateDiv(x=x, y=y)),
        (fixed(PAIRS_X * 1.0), fixed(PAIRS_Y * 0.75)),
        order=0,
    ),
    *[
        Case(
            f"int_division_{dtype}",
            ("FloorDiv", "FloorMod", "TruncateDiv"),
            lambda x, y: (x // y, x % y, raw.TruncateDiv(x=x, y=y)),
            whole(dtype, 8 if dtype[0] == "u" else 0),
            order=0,
            dtypes=FLOAT32,
        )
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    ],
    Case("int_truncate_mod", "TruncateMod", xy(raw.TruncateMod), whole("int32"), order=0),
    Case(
        "next_after",
        "NextAfter",
        tf.math.nextafter,
        (
            fixed([0.0, 1.0, 1.0, -1.0, 1e-30, 0.1, 3e7, 2.0, -2.0, 5.0]),
            fixed([1.0, 2.0, 0.0, 5.0, 1.0, -3.0, 1e9, 0.0, -9.0, 5.0]),
        ),
        order=0,
        tolerance={"float32": 0.0, "float64": 0.0},
        reason="exact, not looser",
    ),
    Case("next_after_gradient", "NextAfter", tf.math.nextafter, ((3, 5), (3, 5))),
    Case(
        "next_after_edge",
        "NextAfter",
        tf.math.nextafter,
        (fixed([np.inf, -np.inf, np.nan, 0.0]), fixed([0.0, 0.0, 1.0, -1.0])),
        order=0,
    ),
    *[
        Case(
            f"compare_{dtype}",
            ("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"),
            lambda x, y: (x == y, x != y, x < y, x <= y, x > y, x >= y),
            (fixed([1, 2, 3], dtype), fixed([2, 2, 2], dtype)),
            order=0,
            dtypes=FLOAT32,
        )
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    ],
    Case(
        "compare",
        ("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"),
        lambda x, y: (x == y, x != y, x < y, x <= y, x > y, x >= y),
        (ODD, fixed([np.nan, np.inf, 1.0, -0.0, 0.0, 1.0])),
        order=0,
    ),
    Case(
        "compare_bool",
        ("Equal", "NotEqual"),
        lambda x, y: (tf.equal(x, y), tf.not_equal(x, y)),
        (fixed([True, True, False], "bool"), fixed([True, False, False], "bool")),
        order=0,
    ),
    Case(
        "approximate_equal",
        "ApproximateEqual",
        lambda x, y: raw.ApproximateEqual(x=x, y=y, tolerance=0.1),
        (fixed([1.0, 1.0, 2.0]), fixed([1.05, 1.2, 1.95])),
        order=0,
    ),
    Case(
        "logic",
        ("LogicalAnd", "LogicalOr", "LogicalNot"),
        lambda x, y: (tf.logical_and(x, y), tf.logical_or(x, y), tf.logical_not(x), tf.math.logical_xor(x, y)),
        (fixed([True, True, False, False], "bool"), fixed([True, False, True, False], "bool")),
        order=0,
    ),
    Case(
        "finite",
        ("IsNan", "IsInf", "IsFinite"),
        lambda x: (tf.math.is_nan(x), tf.math.is_inf(x), tf.math.is_finite(x)),
        (ODD,),
        order=0,
    ),
    Case("select", "SelectV2", lambda x, y: tf.where(x > 0, x * y, y), ((3, 5), (3, 5)), order=2),
    Case(
        "select_broadcast",
        "SelectV2",
        lambda x, y: tf.where(x[:, :1] > 0, x, y),
        ((3, 5), Arg((1, 5), free=())),
        order=2,
    ),
    Case(
        "select_guards",
        "SelectV2",
        lambda x: tf.where(x > 0, tf.math.log(tf.where(x > 0, x, tf.ones_like(x))), x),
        (fixed([-1.0, 0.0, 2.0]),),
        smooth=False,
    ),
    Case(
        "select_nan", "SelectV2", lambda x: tf.where(x > 0, tf.math.log(x), x), (fixed([-1.0, 0.0, 2.0]),), smooth=False
    ),
    Case(
        "select_missing",
        "SelectV2",
        lambda x: tf.where(tf.math.is_nan(x), tf.zeros_like(x), x) * x,
        (fixed([np.nan, 1.0, -2.0]),),
        order=0,
    ),
    Case("select_v1", "Select", lambda x, y: raw.Select(condition=x > 0, x=x, y=y), ((3, 5), (3, 5)), order=2),
    Case(
        "select_v1_rows", "Select", lambda x, y: raw.Select(condition=x[:, 0] > 0, x=x, y=y), ((3, 5), (3, 5)), order=2
    ),
    Case(
        "select_v1_scalar",
        "Select",
        lambda x, y: raw.Select(condition=tf.reduce_sum(x) > 0, x=x, y=y),
        ((3, 5), (3, 5)),
    ),
    *[
        Case(
            f"select_{dtype}",
            "SelectV2",
            lambda x, y: tf.where(x > y, x, y),
            whole(dtype, 8 if dtype[0] == "u" else 0),
            order=0,
            dtypes=FLOAT32,
        )
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    ],
    Case("select_bool", "SelectV2", lambda x, y: tf.where(x > 0, x > y, y > 0), ((3, 5), (3, 5)), order=0),
    *[
        Case(
            f"bitwise_{dtype}",
            ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "Invert", "PopulationCount"),
            lambda x, y: (
                tf.bitwise.bitwise_and(x, y),
                tf.bitwise.bitwise_or(x, y),
                tf.bitwise.bitwise_xor(x, y),
                tf.bitwise.invert(x),
                raw.PopulationCount(x=x),
            ),
            whole(dtype, 8 if dtype[0] == "u" else 0),
            order=0,
            dtypes=FLOAT32,
        )
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    ],
    *[
        Case(
            f"shift_{dtype}",
            ("LeftShift", "RightShift"),
            lambda x, y: (tf.bitwise.left_shift(x, y), tf.bitwise.right_shift(x, y)),
            (
                fixed([1, 2, 100, 7, 5, 3] if dtype[0] == "u" else [1, -2, 100, -128, 5, -1], dtype),
                fixed([0, 1, 2, 3, 7, 7], dtype),
            ),
            order=0,
            dtypes=FLOAT32,
        )
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    ],
    Case(
        "broadcast_two_free",
        "BroadcastGradientArgs",
        tf.multiply,
        ((3, 5), Arg((3, 5), free=(1,))),
        order=2,
        free=(True,),
    ),
    Case(
        "broadcast_meets_one",
        "BroadcastGradientArgs",
        tf.multiply,
        (Arg((3, 1), free=(0, 1)), (3, 5)),
        order=2,
        free=(True,),
    ),
    Case(
        "cast_integers",
        "Cast",
        lambda x: [tf.cast(x, dtype) for dtype in ("int8", "int16", "int32", "int64", "bool")],
        (fixed([-2.5, -1.0, -0.5, 0.0, 0.5, 1.5, 3.0]),),
        order=0,
    ),
    *[
        Case(
            f"bits_{name}_{dtype}",
            "Bitcast",
            partial(lambda x, dtype: tf.bitcast(x, dtype), dtype=dtype),
            (
                fixed(
                    [
                        0.0,
                        -0.0,
                        1.0,
                        -1.5,
                        3.1,
                        1e-40,
                        -1e-320,
                        2.0**-126,
                        1.7e308,
                        np.inf,
                        -np.inf,
                        0.125,
                        7.999999,
                        1e30,
                    ]
                ),
            ),
            order=0,
            dtypes=(name,),
        )
        for name, dtype in (("float32", "int32"), ("float32", "uint32"), ("float64", "int64"), ("float64", "uint64"))
    ],
    Case("bits_of_integers", "Bitcast", lambda x: tf.bitcast(x, "uint32"), (integers(-5, 5, 7),), order=0),
    Case(
        "cast_widths",
        "Cast",
        lambda x: tf.cast(tf.cast(x, "float64") * 3, "float32"),
        ((3, 5),),
        order=2,
        tolerance={"float64": 1e-5},
        reason="the function itself rounds to float32",
        smooth=False,
    ),
]
