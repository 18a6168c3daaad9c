"""Rows for the elementwise functions of ``keras.ops``, and for its activations and losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, integers, normal, uniform

ROWS: dict[str, list[Case]] = {}
ODD = fixed([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5]])
KINKS = fixed([[0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 0.2, -2.0]])
POSITIVE = uniform(0.2, 3, 3, 5)
BOTH = (normal(3, 5), uniform(0.3, 2, 3, 5))
BOOLS = (fixed([True, True, False, False], "bool"), fixed([True, False, True, False], "bool"))
INTS = (integers(-9, 10, 4, 3), integers(1, 6, 4, 3))


def row(
    name: str, *inputs: Arg | tuple[int, ...], tag: str = "", options: Mapping[str, Any] | None = None, **case: Any
) -> None:
    """One row for ``keras.ops.<name>(*inputs, **options)``."""
    function = getattr(keras.ops, name)
    rows = ROWS.setdefault(name, [])
    title = f"ops_{name}_{tag or len(rows)}"
    rows.append(Case(title, (), lambda *xs: function(*xs, **(options or {})), inputs, **{"order": 2, **case}))


def complex_row(name: str, function: Any = None, **case: Any) -> None:
    """A row of complex operands that are made from two real inputs."""
    function = function or getattr(keras.ops, name)
    rows = ROWS.setdefault(name, [])
    inputs = (normal(3, 5), normal(3, 5))
    rows.append(Case(f"ops_{name}_complex", (), lambda x, y: function(tf.complex(x, y)), inputs, **case))


for name in (
    "abs",
    "absolute",
    "fabs",
    "arcsinh",
    "arctan",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "deg2rad",
    "exp",
    "expm1",
    "floor",
    "i0",
    "negative",
    "rad2deg",
    "round",
    "sign",
    "sin",
    "sinc",
    "sinh",
    "square",
    "tan",
    "tanh",
    "trunc",
    "erf",
    "erfc",
    "copy",
    "stop_gradient",
    "real",
    "conj",
    "conjugate",
    "nan_to_num",
):
    row(name, (3, 5), smooth=name != "stop_gradient")
row("exp2", (3, 5), dtypes=("float32",))  # Keras itself fails for float64
for name in ("log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt"):
    row(name, POSITIVE)
for name in ("arcsin", "arccos", "arctanh", "erfinv"):
    row(name, uniform(-0.9, 0.9, 3, 5))
row("arccosh", uniform(1.1, 4, 3, 5))
for name in ("abs", "fabs", "sign", "sinc", "cbrt", "nan_to_num", "trunc", "round", "i0"):
    row(name, KINKS, tag="kinks", order=1, smooth=False)
row("nan_to_num", ODD, tag="odd", order=1, smooth=False)
row("round", (3, 5), tag="decimals", options={"decimals": 2}, order=1, smooth=False)
for name in ("isfinite", "isinf", "isnan", "isneginf", "isposinf", "isreal", "signbit"):
    row(name, ODD, order=0)
for name in (
    "add",
    "subtract",
    "multiply",
    "divide",
    "true_divide",
    "divide_no_nan",
    "maximum",
    "minimum",
    "fmax",
    "fmin",
    "arctan2",
    "hypot",
    "logaddexp",
    "logaddexp2",
):
    row(name, *BOTH)
    row(name, (3, 5), Arg((5,), lambda rng, size: rng.uniform(0.3, 2, size), free=()), tag="row")
for name in ("mod", "floor_divide", "fmod"):
    row(name, *BOTH, order=1)
for name in ("mod", "floor_divide"):
    row(name, *INTS, tag="int", order=0)
for name in ("maximum", "minimum", "fmax", "fmin"):
    row(name, fixed([1.0, 2.0, 3.0]), fixed([1.0, 3.0, 2.0]), tag="tie", order=1, smooth=False)
for name in ("fmax", "fmin"):
    row(name, fixed([np.nan, 1.0, np.nan]), fixed([1.0, np.nan, np.nan]), tag="nan", order=0)
row("divide_no_nan", fixed([1.0, 0.0, 2.0]), fixed([0.0, 0.0, 4.0]), tag="zero", order=1, smooth=False)
row("power", POSITIVE, (3, 5))
row("power", (3, 5), tag="cube", options={"x2": 3.0})
row("heaviside", (3, 5), (3, 5), order=1)
row("heaviside", KINKS, fixed([[0.5]], free=()), tag="kinks", order=1, smooth=False)
row("nextafter", *BOTH, order=0)
row("ldexp", (3, 5), integers(-3, 4, 3, 5), order=1)
for name in ("gcd", "lcm"):
    row(name, *INTS, order=0, free=(False,))  # Keras itself wants known shapes
row("clip", (3, 5), options={"x_min": -0.5, "x_max": 0.7})
row("clip", KINKS, tag="kinks", options={"x_min": -1.0, "x_max": 1.0}, order=1, smooth=False)
row("where", fixed([True, False, True], "bool"), normal(3), normal(3))
ROWS["select"] = [
    Case(
        "ops_select_0",
        (),
        lambda c, x, y: keras.ops.select([c, ~c], [x * y, y], 0.0),
        (fixed([True, False, True], "bool"), normal(3), normal(3)),
        order=2,
    )
]
for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isclose", "allclose"):
    row(name, ODD, fixed([[1.0, np.inf, 1.0, -0.0, 0.0, 1.5, 0.0]]), order=0)
for name in ("logical_and", "logical_or", "logical_xor"):
    row(name, *BOOLS, order=0)
row("logical_not", BOOLS[0], order=0)
for name in (
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "left_shift",
    "right_shift",
):
    row(name, *INTS, order=0)
for name in ("bitwise_invert", "bitwise_not"):
    row(name, INTS[0], order=0)
ROWS["cast"] = [Case("ops_cast_0", (), lambda x: keras.ops.cast(x, "int32"), ((3, 5),), order=0)]
row("saturate_cast", fixed([300.0, -5.0, 7.9]), options={"dtype": "uint8"}, order=0)
row("angle", (3, 5), order=1, smooth=False)
row("imag", (3, 5), order=0)
for name in ("imag", "real", "conj", "conjugate", "abs", "exp"):
    complex_row(name)
for name in ("angle", "sqrt"):
    complex_row(name, smooth=False, tolerance={"float64": 1e-5}, reason="Keras computes it in complex64")
complex_row("view_as_real")
ROWS["view_as_complex"] = [
    Case("ops_view_as_complex_0", (), lambda x: keras.ops.view_as_complex(x), ((3, 2),), order=2, smooth=False)
]
row("polar", POSITIVE, (3, 5))
for name in (
    "celu",
    "elu",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh_shrink",
):
    row(name, uniform(-4, 4, 5, 6))
    row(name, KINKS, tag="kinks", order=1, smooth=False)
row("softsign", (3, 5), order=1)
row("glu", (3, 6))
row("threshold", (3, 5), options={"threshold": 0.1, "default_value": -2.0})
row("gelu", (3, 5), tag="exact", options={"approximate": False})
row("softmax", (2, 3, 4), tag="axis", options={"axis": 1})
row("log_softmax", (2, 3, 4), tag="axis", options={"axis": 0})
row("leaky_relu", (3, 5), tag="steep", options={"negative_slope": 0.7})
row("celu", (3, 5), tag="alpha", options={"alpha": 2.0})
PROBABILITIES = uniform(0.05, 0.95, 4, 5)
row("binary_crossentropy", PROBABILITIES, PROBABILITIES, order=2)
row("binary_crossentropy", PROBABILITIES, normal(4, 5), tag="logits", options={"from_logits": True})
row("categorical_crossentropy", PROBABILITIES, PROBABILITIES)
# TensorFlow's gradient takes it for granted that the labels of a sample sum to 1.
row("categorical_crossentropy", PROBABILITIES, normal(4, 5), tag="logits", options={"from_logits": True}, smooth=False)
row("sparse_categorical_crossentropy", integers(0, 5, 4), PROBABILITIES)
row("sparse_categorical_crossentropy", integers(0, 5, 4), normal(4, 5), tag="logits", options={"from_logits": True})
