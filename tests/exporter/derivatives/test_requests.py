"""Every wrong request is an ``ExportError`` that says what to write instead, and leaves nothing behind."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import Derivative, ExportError, Gradient, Hessian, Jacobian, export


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Inputs x (B, 3), t (B, 1), k (B,) of int32; outputs y (B, 2), s (B, 1), n of int32; y does not depend on t."""
    keras.utils.set_random_seed(0)
    x, t = keras.Input((3,), name="x"), keras.Input((1,), name="t")
    k = keras.Input((), name="k", dtype="int32")
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(x)
    y = keras.layers.Dense(2, name="y_layer")(hidden)
    s = keras.layers.Dense(1, name="s_layer")(keras.layers.Concatenate()([hidden, t]))
    return keras.Model([x, t, k], {"y": y, "s": s, "n": k * 2})


# the request, and what the message must name
WRONG: list[tuple[Any, str]] = [
    ("gradient(y, x)", r"jacobian\(y, x\).*vjp\(y, x\)"),
    ("gradient(y, x)", r"gradient\(y\[0\], x\)"),
    ("gradient(z, x)", "'z'.*outputs.*s"),
    ("gradient(s, z)", "'z'.*inputs.*x"),
    ("gradient(s, z)", r"inputs: x, t, k; inner layers: (?!.*\b(x|t|k|y|s|n)\b)"),
    ("gradient(s, y)", "output"),
    ("gradient(s, k)", "int32"),
    ("jacobian(n, x)", "int32"),
    ("jacobian(y, t)", "unconnected"),
    ("gradient(y[0], t)", "unconnected"),
    ("gradient(y[2], x)", "2"),
    ("gradient(y[-3], x)", "-3"),
    ("gradient(y[0, 0], x)", "y"),
    ("jacobian(y, x[:, 3:7])", "x"),
    ("gradient(s, x[5])", "5"),
    ("gradient(s, sum(x))", "sum"),
    ("derivative(s, x)", r"x\[0\]"),
    ("derivative(s, t, t, t, t, t)", "4|order|1 or 2"),
    ("hessian(s, x, t, t)", "hessian"),
    ("jvp(y, x[0])", "x"),
    ("gradient(s)", "output and an input"),
    ("gradient", "gradient"),
    ("", "gradient"),
    ("divergence(y, x)", "jacobian"),
    ("gradient(s x)", "cannot read"),
    ("gradient(s, x", "cannot read"),
    ("gradient(s, x[)", "cannot read"),
    ("gradient(s, x[1.5])", "cannot read"),
    ("gradient(s, hidden.kernel)", "hidden.kernel"),
    ("forces(s)", r"forces\(energy, positions\)"),
    (3, "gradient"),
    (None, "gradient"),
    (("s", "x"), "gradient"),
    ("gradient(s, s)", "output"),
    ("laplacian(y, k)", "int32"),
]


@pytest.mark.parametrize(("wrong", "remedy"), WRONG, ids=lambda item: str(item))
def test_wrong_request(model: keras.Model, wrong: Any, remedy: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=remedy):
        export(model, tmp_path / "it.pullback", [wrong], formats="onnx")
    assert list(tmp_path.iterdir()) == []


def test_unconnected_can_be_zero(model: keras.Model, tmp_path: pathlib.Path) -> None:
    bundle = export(model, tmp_path / "it.pullback", ["jacobian(y, t)"], unconnected="zero", formats="onnx")
    result = bundle(x=np.ones((2, 3)), t=np.ones((2, 1)), k=np.ones(2, np.int32))
    assert result.dy_dt.shape == (2, 2, 1)
    assert not result.dy_dt.any()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"formats": "tflite"}, "onnx"),
        ({"formats": ()}, "onnx"),
        ({"unconnected": "ignore"}, "zero"),
        ({"opset": 11}, "18"),
        ({"opset": 99}, "18"),
        ({"tolerance": -1}, "positive"),
        ({"tolerance": 0.0}, "positive"),
        ({"tolerance": pullback.manifest.Tolerance(0.0, 1e-9)}, "positive"),
        ({"tolerance": float("nan")}, "positive"),
        ({"tolerance": "small"}, "positive"),
        ({"outputs": ["only_one"]}, "3 output"),
        ({"outputs": "abc"}, "list"),
        ({"outputs": ["a", "a", "b"]}, "'a'"),
        ({"outputs": ["x", "b", "c"]}, "'x'"),
        ({"outputs": ["a b", "c", "d"]}, "letters"),
        ({"samples": {"q": [1]}}, "'q'.*inputs"),
        ({"samples": {"x": np.ones((2, 4))}}, "shape"),
        ({"samples": {"x": np.ones(3)}}, "shape"),
        ({"samples": {"x": [["a", "b", "c"]]}}, "numbers"),
        ({"samples": {"x": np.ones((2, 3)), "t": np.ones((3, 1))}}, "rows.*give the same number for each"),
        ({"samples": {"x": np.ones((0, 3))}}, "at least one row"),
    ],
    ids=lambda item: str(item)[:40],
)
def test_wrong_option(model: keras.Model, options: dict[str, Any], remedy: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=remedy):
        export(model, tmp_path / "it.pullback", **{"formats": "onnx"} | options)
    assert list(tmp_path.iterdir()) == []


def test_wrong_path(model: keras.Model, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match="overwrite=True"):
        export(model, tmp_path / "file")
    for name in ("file", "folder"):
        with pytest.raises(ExportError, match="not a bundle"):
            export(model, tmp_path / name, overwrite=True)
    with pytest.raises(ExportError, match="not a folder"):
        export(model, tmp_path / "no" / "such.pullback")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gradient("s"),
        lambda: Jacobian("s", "x", "t"),
        lambda: Hessian("s", "x", "t", "t"),
        lambda: Derivative("s", *["t"] * 5),
        lambda: Jacobian("s", "x", mode="sideways"),
        lambda: Jacobian("s", "x", chunk=0),
    ],
)
def test_wrong_request_object(make: Any) -> None:
    with pytest.raises(ExportError):
        make()


def test_one_request_twice(model: keras.Model, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=r"gradient\(s, x\): requested twice; remove one"):
        export(model, tmp_path / "it.pullback", ["gradient(s, x)", "gradient(s, x)"])


def test_two_results_of_one_name(model: keras.Model, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match="name"):
        export(model, tmp_path / "it.pullback", ["gradient(s, x)", "jacobian(s, x)"])


def test_sample_that_the_live_model_refuses(tmp_path: pathlib.Path) -> None:
    """Its message on one line, without the colours and the arguments that Keras puts around it."""
    words = keras.Input((), name="words", dtype="int32")
    x = keras.Input((4,), name="x")
    scaled = keras.layers.Multiply()([x, keras.layers.Embedding(5, 4)(words)])
    net = keras.Model([x, words], keras.layers.Dense(1, name="y")(scaled))
    samples = {"x": np.ones((2, 4)), "words": [1, 99]}
    with pytest.raises(ExportError, match=r"99 is not in \[0, 5\).*pass samples=\{\.\.\.\} that it accepts") as caught:
        export(net, tmp_path / "it.pullback", ["gradient(y, x)"], samples=samples, formats="onnx")
    assert not {"\n", "\x1b"} & set(str(caught.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mix", [lambda x: x - tf.reduce_mean(x, 0), lambda x: tf.cumsum(x, 0), lambda x: x[::-1] * 2])
def test_samples_that_influence_each_other(mix: Any, tmp_path: pathlib.Path) -> None:
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    with pytest.raises(ExportError, match="batched=False"):
        export(mix, tmp_path / "it.pullback", ["jacobian(y, x)"], inputs=[spec], formats="onnx")
    assert list(tmp_path.iterdir()) == []
