"""Rows for complex arithmetic and functions: all quadrants, branch cuts, zero."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from tests.lowering.case import Case, fixed, normal, uniform

raw = tf.raw_ops
AXES = fixed([1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 0.3]), fixed([0.5, 0.5, -2.0, -1.0, 0.0, 0.25, -0.4])


def of_one(function: Any) -> Any:
    return lambda x, y: function(tf.complex(x, y))


def of_two(function: Any) -> Any:
    return lambda a, b, c, d: function(tf.complex(a, b), tf.complex(c, d))


def unary(op: str, low: float = -2, high: float = 2, order: int = 2) -> Case:
    function = getattr(raw, op)
    return Case(
        f"complex_{op.lower()}",
        op,
        of_one(lambda z: function(x=z)),
        (uniform(low, high, 5, 6), uniform(low, high, 5, 6)),
        order=order,
    )


# TensorFlow's own complex gradients of the *_no_nan and x*y functions lack the conjugate, hence ``smooth=False``.
FOUR = (normal(3, 5),) * 4

CASES = [
    Case(
        "complex",
        ("Complex", "Real", "Imag"),
        of_one(lambda z: (tf.math.real(z), tf.math.imag(z), z)),
        ((3, 5), (3, 5)),
    ),
    Case("complex_broadcast", "Complex", of_one(lambda z: z * z), ((3, 5), normal(5)), order=0),
    Case("complex_conj", "Conj", of_one(lambda z: tf.math.conj(z) * z), ((3, 5), (3, 5)), order=2),
    Case("complex_abs", "ComplexAbs", of_one(tf.abs), ((3, 5), (3, 5)), order=2),
    Case(
        "complex_abs_zero", "ComplexAbs", of_one(tf.abs), (fixed([0.0, 3.0, 0.0]), fixed([0.0, 4.0, 2.0])), smooth=False
    ),
    Case("complex_abs_extreme", "ComplexAbs", of_one(tf.abs), (fixed([1e25, 3e-30]), fixed([2e25, 4e-30])), order=0),
    Case("complex_angle", "Angle", of_one(tf.math.angle), ((3, 5), (3, 5)), order=2),
    Case(
        "complex_angle_axes",
        "Angle",
        of_one(tf.math.angle),
        (fixed([0.0, 1.0, -1.0, 0.0, 0.0, -1.0]), fixed([0.0, 0.0, 0.0, 1.0, -1.0, -0.0])),
        order=0,
    ),
    Case("complex_add", "AddV2", of_two(tf.add), FOUR, order=2),
    Case("complex_sub", "Sub", of_two(tf.subtract), FOUR, order=2),
    Case("complex_mul", "Mul", of_two(tf.multiply), FOUR, order=2),
    Case("complex_div", "RealDiv", of_two(tf.divide), FOUR, order=2),
    Case(
        "complex_div_by_infinity",
        "Reciprocal",
        lambda x: tf.stack(
            [*(part(tf.math.reciprocal(tf.complex(x, 0.5 * x))) for part in (tf.math.real, tf.math.imag))]
        ),
        (fixed([float("inf")]),),  # one number: of more, TensorFlow makes NaN of those that fill its registers
        order=0,
    ),
    Case(
        "complex_div_no_nan",
        "DivNoNan",
        of_two(tf.math.divide_no_nan),
        (fixed([1.0, 2.0]), fixed([1.0, 2.0]), fixed([0.0, 1.0]), fixed([0.0, -1.0])),
        smooth=False,
    ),
    Case("complex_mul_no_nan", "MulNoNan", of_two(tf.math.multiply_no_nan), FOUR, smooth=False),
    Case("complex_squared_difference", "SquaredDifference", of_two(tf.math.squared_difference), FOUR, order=0),
    Case("complex_pow", "Pow", of_two(tf.pow), FOUR, order=2),
    Case(
        "complex_xlogy",
        ("Xlogy", "Xdivy"),
        of_two(lambda z, w: tf.math.xlogy(z, w) + tf.math.xdivy(z, w)),
        FOUR,
        smooth=False,
    ),
    Case("complex_xlog1py", "Xlog1py", of_two(tf.math.xlog1py), FOUR, smooth=False),
    Case("complex_add_n", "AddN", of_two(lambda z, w: tf.add_n([z, w, z])), FOUR),
    Case(
        "complex_equal",
        ("Equal", "NotEqual"),
        of_two(lambda z, w: (tf.equal(z, w), tf.not_equal(z, w))),
        (fixed([1.0, 1.0, 1.0]), fixed([2.0, 2.0, 2.0]), fixed([1.0, 1.0, 0.0]), fixed([2.0, 3.0, 2.0])),
        order=0,
    ),
    Case("complex_select", "SelectV2", of_two(lambda z, w: tf.where(tf.math.real(z) > 0, z, w)), FOUR, order=2),
    Case(
        "complex_select_rows",
        "Select",
        of_two(lambda z, w: raw.Select(condition=tf.math.real(z)[:, 0] > 0, x=z, y=w)),
        FOUR,
    ),
    Case(
        "complex_cast",
        "Cast",
        lambda x: tf.cast(tf.cast(x, tf.complex64), tf.complex128) * 2,
        ((3, 5),),
        dtypes=("float32",),
    ),
    Case("complex_cast_to_real", "Cast", of_one(lambda z: tf.cast(z, tf.float64)), ((3, 5), (3, 5)), order=0),
    *[
        unary(op)
        for op in (
            "Neg",
            "Square",
            "Exp",
            "Expm1",
            "Log",
            "Sqrt",
            "Rsqrt",
            "Sin",
            "Cos",
            "Sinh",
            "Cosh",
            "Tanh",
            "Sigmoid",
            "Reciprocal",
            "Inv",
        )
    ],
    unary("Sign", order=0),  # TensorFlow's gradient is 0
    *[unary(op, order=1) for op in ("Tan", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh")],
    unary("Log1p", -0.6, 2),
    *[
        Case(
            f"complex_{op.lower()}_axes",
            op,
            partial(lambda x, y, op: getattr(raw, op)(x=tf.complex(x, y)), op=op),
            AXES,
            order=0,
        )
        for op in ("Log", "Sqrt", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "Tan", "Tanh", "Log1p", "Sign")
    ],
]
