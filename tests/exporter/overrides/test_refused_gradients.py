"""What has no gradient in TensorFlow is refused with its operator and its place, never answered by zeros."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import tensorflow as tf
from pullback_export import ExportError, export


def dilated(x: Any) -> Any:
    with tf.name_scope("morphology"):
        return {"y": tf.nn.dilation2d(x, tf.ones([2, 2, 1]), [1, 1, 1, 1], "SAME", "NHWC", [1, 1, 1, 1])}


@pytest.mark.parametrize("request_", ["jvp(y, x)", "hessian(y[0, 0, 0], x)"])
def test_operator_and_place_are_named(tmp_path: pathlib.Path, request_: str) -> None:
    inputs = [tf.TensorSpec([None, 2, 2, 1], name="x")]
    with pytest.raises(ExportError, match=r"Dilation2DBackpropInput in .*morphology.* has no gradient"):
        export(dilated, tmp_path / "dilated", [request_], inputs=inputs)
    assert not list(tmp_path.iterdir())


def zeta(x: Any) -> Any:
    return tf.math.zeta(x + 2.0, 1.5)


def polygamma(x: Any) -> Any:
    return tf.math.polygamma(x + 2.0, 1.5) + x**2


def betainc(x: Any) -> Any:
    return tf.math.betainc(x + 1.0, x + 2.0, 0.5)


PARTIALS = {"Zeta": (zeta, "x"), "Polygamma": (polygamma, "a"), "Betainc": (betainc, "a and b")}


@pytest.mark.parametrize("op_type", PARTIALS)
@pytest.mark.parametrize("request_", ["gradient(y, x)", "jvp(y, x)", "hessian(y, x)"])
def test_a_partial_that_tensorflow_leaves_out_is_named(tmp_path: pathlib.Path, op_type: str, request_: str) -> None:
    function, operands = PARTIALS[op_type]
    inputs = [tf.TensorSpec([None, 3], name="x")]
    message = rf"cannot differentiate the model: {op_type} in .* has no gradient by {operands}; replace the operator"
    for unconnected in ("error", "zero"):
        with pytest.raises(ExportError, match=message):
            export(
                lambda x: {"y": tf.reduce_sum(function(x), 1)},
                tmp_path / "partial",
                [request_],
                inputs=inputs,
                unconnected=unconnected,
            )
    assert not list(tmp_path.iterdir())


def test_a_partial_that_nothing_needs_is_not_missed(tmp_path: pathlib.Path) -> None:
    """Neither where the operand is constant, nor in a tape of the model that differentiates by another one."""

    def function(x: Any) -> Any:
        order = tf.constant(2.5)
        with tf.GradientTape() as tape:
            tape.watch([x, order])
            y = tf.math.zeta(order, x**2 + 1.0)
        return {"y": tf.reduce_sum(tape.gradient(y, x), 1)}

    inputs = [tf.TensorSpec([None, 3], name="x")]
    bundle = export(function, tmp_path / "a.pullback", ["gradient(y, x)"], inputs=inputs, formats="onnx")
    assert bundle.verify().ok
