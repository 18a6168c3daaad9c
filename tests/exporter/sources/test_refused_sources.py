"""Functions and models that cannot be exported, each with a message that says what to do."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import ExportError, UnsupportedOpsError, export

SPEC = tf.TensorSpec([None, 2], tf.float32, name="x")


def untraceable() -> Any:
    """A function without a source text, whose branch TensorFlow cannot convert."""
    names: dict[str, Any] = {"tf": tf}
    exec("def f(x):\n    return x if tf.reduce_sum(x) > 0 else 2 * x", names)
    return names["f"]


REFUSED: dict[str, tuple[Any, str]] = {
    "a ragged output": (tf.RaggedTensor.from_tensor, "RaggedTensor; return a dense tensor"),
    "a sparse output": (tf.sparse.from_dense, "SparseTensor; return a dense tensor"),
    "no output": (lambda x: (tf.reduce_sum(x, -1), None), "output 1 of the function is NoneType; remove it"),
    "a text": (tf.as_string, "'y' has dtype string; outputs are floats"),
    "complex numbers": (lambda x: tf.complex(x, x), "return its real and imaginary part"),
    "Python in the graph, any shape": (lambda x: tf.numpy_function(np.sin, [x], tf.float32), "it calls Python"),
    "no source text": (untraceable(), "Define it in a file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: pathlib.Path) -> None:
    function, message = REFUSED[name]
    with pytest.raises(ExportError, match=message):
        export(function, tmp_path / "b", inputs=[SPEC])
    assert list(tmp_path.iterdir()) == []


class Counting(tf.Module):
    """Counts its calls."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.calls = tf.Variable(0.0)
        self.used = used

    @tf.function(input_signature=[SPEC])
    def __call__(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        return x**2 * self.calls if self.used else x**2


def test_a_state_that_outputs_depend_on(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnsupportedOpsError, match=r"AssignAddVariableOp.*make the state an input and an output"):
        export(Counting(True), tmp_path / "b", "jacobian(y, x)")
    inputs = keras.Input((3, 2), batch_size=2, name="x")
    model = keras.Model(inputs, keras.layers.LSTM(2, stateful=True, name="y")(inputs))
    before = model.layers[1].states[0].numpy()
    with pytest.raises(UnsupportedOpsError, match="AssignVariableOp"):
        export(model, tmp_path / "b", "jacobian(y, x)")
    np.testing.assert_array_equal(model.layers[1].states[0], before)


def test_a_state_that_no_output_depends_on(tmp_path: pathlib.Path) -> None:
    bundle = export(Counting(False), tmp_path / "b", "jacobian(y, x)", formats="onnx")
    np.testing.assert_allclose(bundle([[1.0, 3.0]]).dy_dx, [[[2, 0], [0, 6]]])
