"""How a row of a table runs: TensorFlow against ONNX Runtime, and central differences in float64."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests import rotation
from tests.lowering.case import (
    TOLERANCE,
    Case,
    _differentiable,
    _gradients,
    _real_dot,
    answers_of,
    assert_close,
    convert,
    derivative_function,
    draw_inputs,
    op_types,
    run_onnx,
)


def variants(cases: Iterable[Case]) -> list[Any]:
    """Each row in each dtype with free and with fixed sizes. One of the four runs in ``make test``, the next one at the
    next commit (see :mod:`tests.rotation`); the others are marked slow and run in ``make test-all``.
    """
    parameters = []
    for case in cases:
        pairs = [(dtype, free) for dtype in case.dtypes for free in case.free]
        chosen = rotation.chosen(case.name, len(pairs))
        for index, (dtype, free) in enumerate(pairs):
            label = f"{case.name}-{dtype}-{'free' if free else 'fixed'}"
            marks = [] if index == chosen else [pytest.mark.slow]
            parameters.append(pytest.param(case, dtype, free, id=label, marks=marks))
    return parameters


def check_row(case: Case, dtype: str, free: bool) -> None:
    """The row reaches its ops, and ONNX Runtime gives TensorFlow's values and derivatives."""
    arrays = draw_inputs(case, dtype)
    specs = [
        tf.TensorSpec([None if free and axis in arg.free else size for axis, size in enumerate(arg.shape)], array.dtype)
        for arg, array in zip(case.args, arrays, strict=True)
    ]
    concrete = tf.function(derivative_function(case), autograph=False).get_concrete_function(*specs)
    wanted = {case.ops} if isinstance(case.ops, str) else set(case.ops)
    assert wanted <= op_types(concrete.graph), f"the row does not reach {wanted - op_types(concrete.graph)}"
    expected = answers_of(concrete, arrays)
    actual = run_onnx(convert(concrete, case.args, free), arrays)
    for index, (mine, theirs) in enumerate(zip(actual, expected, strict=True)):
        tolerance = case.tolerance.get(dtype, TOLERANCE[dtype])
        assert_close(mine, theirs, tolerance, f"{case.name} {dtype} free={free} output {index}")
    if case.smooth and case.order and dtype == "float64":
        check_central_differences(case, arrays)


def check_central_differences(case: Case, arrays: list[np.ndarray[Any, Any]]) -> None:
    """The directional derivative of the weighted sum of the outputs, against TensorFlow's own gradient."""
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
        outputs = tf.nest.flatten(
            case.function(*[next(it) if t.dtype.is_floating else t for it in [iter(watched)] for t in tensors])
        )
        value = tf.add_n([_real_dot(output) for output in outputs if _differentiable(output)])
    gradients = _gradients(tape, value, watched)
    predicted = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    size = sum(float(tf.reduce_sum(tf.abs(g * d))) for g, d in zip(gradients, directions, strict=True))
    step = 1e-6
    measured = float(total(step) - total(-step)) / (2 * step)
    assert abs(measured - predicted) <= 1e-6 * max(size, 1.0) + 1e-4 * abs(predicted)
