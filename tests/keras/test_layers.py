"""Every class of ``keras.layers``: value and derivatives agree with TensorFlow at batches 1, 2 and 7 of one graph."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export.overrides.strided_1x1_convolution import safe_convolution

from tests import rotation
from tests.keras.layer_row import LayerRow
from tests.keras.layer_rows import EXCLUDED, RECURRENT, ROWS
from tests.lowering.case import (
    TOLERANCE,
    Arg,
    Case,
    answers_of,
    assert_close,
    convert,
    derivative_function,
    run_onnx,
)


def build(row: LayerRow, dtype: str) -> Any:
    """The layer, with no weight 0 or 1."""
    options = {key: item(dtype) if inspect.isfunction(item) else item for key, item in row.options.items()}
    made_from = getattr(keras.layers, row.layer)
    if row.layer != "Pipeline":
        options["dtype"] = dtype
    layer = made_from(**options)
    tensors = [tf.constant(array) for array in draw(row.args(2), dtype)]
    row.call(layer, tensors)
    rng = np.random.default_rng(3)
    for weight in layer.weights:
        if not weight.dtype.startswith("float"):
            continue
        noise = (
            rng.uniform(0.5, 1.5, weight.shape) if "variance" in weight.path else rng.normal(size=weight.shape) * 0.2
        )
        weight.assign(noise if "variance" in weight.path else np.asarray(weight) + noise)
    return layer


def draw(args: Sequence[Arg], dtype: str) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(zlib.crc32(repr([arg.shape for arg in args]).encode()))
    return [
        np.asarray(rng.normal(size=arg.shape) if arg.draw is None else arg.draw(rng, arg.shape)).astype(
            arg.dtype or dtype
        )
        for arg in args
    ]


def rows_and_dtypes(rows: Sequence[LayerRow]) -> list[Any]:
    """Every row in every dtype; the quick suite runs each row in one dtype, in turn (see :mod:`tests.rotation`)."""
    pairs = []
    for row in rows:
        chosen = rotation.chosen(row.title, len(row.dtypes))
        for index, dtype in enumerate(row.dtypes):
            slow = index != chosen
            pairs.append(pytest.param(row, dtype, id=f"{row.title}-{dtype}", marks=[pytest.mark.slow] if slow else []))
    return pairs


@pytest.mark.parametrize(("row", "dtype"), rows_and_dtypes(ROWS))
def test_layer_agrees_with_tensorflow(row: LayerRow, dtype: str) -> None:
    check_layer(row, dtype)


def check_layer(row: LayerRow, dtype: str) -> None:
    """One graph agrees with TensorFlow at batches 1, 2 and 7: values, gradients and second order."""
    keras.utils.set_random_seed(1)
    layer = build(row, dtype)
    args = row.args(2)
    case = Case(row.title, (), lambda *tensors: row.call(layer, tensors), args, order=row.order)
    specs = [
        tf.TensorSpec([None if axis in arg.free else size for axis, size in enumerate(arg.shape)], arg.dtype or dtype)
        for arg in args
    ]
    with safe_convolution():
        concrete = tf.function(derivative_function(case), autograph=False).get_concrete_function(*specs)
    model = convert(concrete, args, free=True)
    for batch in (1, 2, 7):
        arrays = draw(row.args(batch), dtype)
        expected = answers_of(concrete, arrays)
        for index, (mine, theirs) in enumerate(zip(run_onnx(model, arrays), expected, strict=True)):
            assert_close(mine, theirs, row.tolerance.get(dtype, TOLERANCE[dtype]), f"batch {batch} output {index}")


def test_every_layer_has_a_row_or_a_reason() -> None:
    public = {name: item for name, item in vars(keras.layers).items() if inspect.isclass(item)}
    covered = {getattr(keras.layers, row.layer) for row in ROWS}
    known = {getattr(keras.layers, name) for name in RECURRENT | set(EXCLUDED) if hasattr(keras.layers, name)}
    assert sorted(name for name, item in public.items() if item not in covered | known) == []


def test_no_layer_is_both_covered_and_excluded() -> None:
    assert sorted({row.layer for row in ROWS} & (RECURRENT | set(EXCLUDED))) == []
