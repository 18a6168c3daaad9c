"""Every function of ``keras.activations``; a name that this file does not know is a failure."""

from __future__ import annotations

import inspect

import keras
import pytest

from tests.lowering.case import Case, fixed, normal, uniform
from tests.lowering.row import check_row, variants

NOT_ACTIVATIONS = {"deserialize", "get", "serialize"}
NAMES = sorted(
    name
    for name in dir(keras.activations)
    if not name.startswith("_") and name not in NOT_ACTIVATIONS and inspect.isfunction(getattr(keras.activations, name))
)
KNOWN = {
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
}
ARGUMENTS = {"threshold": (0.3, -1.5)}
# TensorFlow itself has no second derivative of softsign.
FIRST_ORDER_ONLY = {"softsign"}
OPTIONS = [
    ("relu", {"negative_slope": 0.2, "max_value": 2.0, "threshold": 0.5}),
    ("gelu", {"approximate": True}),
    ("elu", {"alpha": 0.4}),
    ("celu", {"alpha": 0.4}),
    ("leaky_relu", {"negative_slope": 0.5}),
    ("softmax", {"axis": 1}),
    ("log_softmax", {"axis": 1}),
    ("squareplus", {"b": 1}),
    ("glu", {"axis": 1}),
    ("sparsemax", {"axis": 1}),
    ("hard_shrink", {"threshold": 0.2}),
    ("soft_shrink", {"threshold": 0.2}),
]
KINKS = fixed([[0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 0.3]])


def _rows(name: str) -> list[Case]:
    function, arguments = getattr(keras.activations, name), ARGUMENTS.get(name, ())
    order = 1 if name in FIRST_ORDER_ONLY else 2

    def apply(x):  # type: ignore[no-untyped-def]
        return function(x, *arguments)

    return [
        Case(f"activation_{name}", (), apply, (normal(3, 6),), order=order),
        Case(f"activation_{name}_wide", (), apply, (uniform(-25, 25, 4, 8),), order=1, smooth=False),
        Case(f"activation_{name}_kinks", (), apply, (KINKS,), order=1, smooth=False),
        Case(f"activation_{name}_empty", (), apply, (normal(0, 6),), order=1, smooth=False),
    ]


def _with_options() -> list[Case]:
    return [
        Case(
            f"activation_{name}_{'_'.join(options)}",
            (),
            lambda x, function=getattr(keras.activations, name), options=options: function(x, **options),
            (normal(2, 4, 3),),
            order=2,
        )
        for name, options in OPTIONS
    ]


def test_every_activation_is_known() -> None:
    assert set(NAMES) == KNOWN


@pytest.mark.parametrize(
    ("case", "dtype", "free"), variants([case for name in NAMES for case in _rows(name)] + _with_options())
)
def test_activation(case: Case, dtype: str, free: bool) -> None:
    check_row(case, dtype, free)
