"""Every row of the tables: parity with TensorFlow in float32 and float64, free and fixed sizes, central differences."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pullback_export.lowering import registry
from tests.lowering import cases
from tests.lowering.case import (
    TOLERANCE, Case, assert_close, convert, derivative_function, draw_inputs, op_types, run_onnx, split_complex,
)

ROWS: list[Case] = [
    case
    for module in pkgutil.iter_modules(cases.__path__)
    for case in importlib.import_module(f"tests.lowering.cases.{module.name}").CASES
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_row_agrees_with_tensorflow(case: Case, dtype: str) -> None:
    if dtype not in case.dtypes:
        pytest.skip(f"the row is for {case.dtypes} only")
    evaluate = derivative_function(case)
    arrays = draw_inputs(case, dtype)
    expected: list[Any] | None = None
    for free in case.free:
        specs = [
            tf.TensorSpec([None if free and axis in arg.free else size for axis, size in enumerate(arg.shape)], array.dtype)
            for arg, array in zip(case.args, arrays, strict=True)
        ]
        concrete = tf.function(evaluate).get_concrete_function(*specs)
        wanted = {case.ops} if isinstance(case.ops, str) else set(case.ops)
        assert wanted <= op_types(concrete.graph), f"the row does not reach {wanted - op_types(concrete.graph)}"
        expected = split_complex([item.numpy() for item in concrete(*map(tf.constant, arrays))])
        actual = run_onnx(convert(concrete, case.args, free), arrays)
        for index, (mine, theirs) in enumerate(zip(actual, expected, strict=True)):
            assert_close(mine, theirs, case.tolerance.get(dtype, TOLERANCE[dtype]), f"{case.name} {dtype} free={free} output {index}")
    if case.smooth and case.order and dtype == "float64":
        check_central_differences(case, arrays)


def check_central_differences(case: Case, arrays: list[np.ndarray[Any, Any]]) -> None:
    """The directional derivative of the weighted sum of the outputs, against TensorFlow's own gradient."""
    from tests.lowering.case import _differentiable, _gradients, _real_dot

    rng = np.random.default_rng(1)
    tensors = [tf.constant(array) for array in arrays]
    watched = [tensor for tensor in tensors if tensor.dtype.is_floating]
    directions = [tf.constant(rng.normal(size=tensor.shape)) for tensor in watched]

    def total(step: float) -> Any:
        moved = iter([tensor + step * direction for tensor, direction in zip(watched, directions, strict=True)])
        outputs = tf.nest.flatten(case.function(*[next(moved) if t.dtype.is_floating else t for t in tensors]))
        return tf.add_n([_real_dot(output) for output in outputs if _differentiable(output)])

    with tf.GradientTape() as tape:
        tape.watch(watched)
        outputs = tf.nest.flatten(case.function(*[next(it) if t.dtype.is_floating else t for it in [iter(watched)] for t in tensors]))
        value = tf.add_n([_real_dot(output) for output in outputs if _differentiable(output)])
    gradients = _gradients(tape, value, watched)
    predicted = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    size = sum(float(tf.reduce_sum(tf.abs(g * d))) for g, d in zip(gradients, directions, strict=True))
    step = 1e-6
    measured = float(total(step) - total(-step)) / (2 * step)
    assert abs(measured - predicted) <= 1e-6 * max(size, 1.0) + 1e-4 * abs(predicted)


def test_every_rule_has_a_row() -> None:
    reached = {op for case in ROWS for op in ([case.ops] if isinstance(case.ops, str) else case.ops)}
    assert sorted(set(registry.load_rules()) - reached) == []


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in ROWS).items() if count > 1] == []
