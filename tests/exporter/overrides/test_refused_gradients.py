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
