"""Models of ``tf_keras`` (Keras 2) in one step: names, structures, layers, masks, control flow, variables, files."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, PrecisionError, UnsupportedOpsError, compare, export

if os.environ.get("PULLBACK_INSTALLED") != "backends":
    pytest.skip("tf_keras is in the environment of `make test-backends`", allow_module_level=True)

import tf_keras as keras_2

layers = keras_2.layers


@dataclasses.dataclass(frozen=True)
class Row:
    """A model, what is asked of it, and the names that the bundle has to have."""

    model: Callable[[], Any]
    derivatives: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    given: dict[str, Any] = dataclasses.field(default_factory=dict)


def functional() -> Any:
    x = keras_2.Input((4,), name="x")
    hidden = layers.Dense(5, activation="tanh", name="hidden")(x)
    return keras_2.Model(x, layers.Dense(1, name="energy")(layers.BatchNormalization(name="norm")(hidden)))


def two_inputs() -> Any:
    a, b = keras_2.Input((3,), name="a"), keras_2.Input((2,), name="b")
    return keras_2.Model([b, a], layers.Dense(2, activation="softplus")(layers.Concatenate()([a, b])))


def dictionaries() -> Any:
    a, b = keras_2.Input((3,), name="a"), keras_2.Input((2,), name="b")
    joined = layers.Concatenate()([a, b])
    return keras_2.Model({"b": b, "a": a}, {"t": layers.Dense(1, activation="sigmoid")(joined), "s": a * 2.0})


def sequential() -> Any:
    return keras_2.Sequential([layers.Dense(3, activation="tanh", input_shape=(2,)), layers.Dense(2)])


def called_sequential() -> Any:
    model = keras_2.Sequential([layers.Dense(3, activation="tanh"), layers.Dense(2)])
    model(np.ones((2, 3), np.float32))
    return model


def float64() -> Any:
    x = keras_2.Input((2,), name="x", dtype="float64")
    return keras_2.Model(x, layers.Dense(1, activation="tanh", dtype="float64", name="y")(x))


def convolutions() -> Any:
    image = keras_2.Input((8, 8, 2), name="image")
    features = layers.SeparableConv2D(3, 3, activation="elu", name="features")(layers.ZeroPadding2D(1)(image))
    pooled = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(2, strides=2)(features))
    return keras_2.Model(image, layers.Dense(2, name="score")(pooled))


def masked_recurrent() -> Any:
    steps = keras_2.Input((5, 3), name="steps")
    masked = layers.Masking(name="masked")(steps)
    both = layers.Bidirectional(layers.LSTM(3), name="both")(masked)
    return keras_2.Model(steps, layers.Dense(1, name="y")(both))


def attention() -> Any:
    x = keras_2.Input((4, 6), name="x")
    mixed = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))
    return keras_2.Model(x, layers.Dense(1, name="y")(layers.TimeDistributed(layers.Dense(2))(mixed)[:, -1]))


def embedded() -> Any:
    tokens = keras_2.Input((5,), dtype="int32", name="tokens")
    vectors = layers.Embedding(7, 3, mask_zero=True, name="embedding")(tokens)
    steps = layers.RNN(layers.LSTMCell(2, name="cell"), name="lstm")(vectors)
    return keras_2.Model(tokens, layers.Dense(1, name="y")(steps))


class Branches(keras_2.Model):  # type: ignore[misc]
    """Loops and branches over tensors, which AutoGraph has to convert, in an inner layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Steps(name="steps")
        self.scale = self.add_weight("scale", (), initializer="ones")

    def call(self, u: Any, t: Any = None, training: bool = False) -> Any:
        if tf.reduce_sum(u) > 1e6:
            u = u / 2.0
        return {"flow": self.scale * self.inner(u) + (0.0 if t is None else t)}


class Steps(layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        for _ in tf.range(3):
            x = tf.sin(x)
        return x


def subclass() -> Any:
    model = Branches()
    model(tf.ones((2, 3)), t=tf.ones((2, 3)))
    return model


def never_called() -> Any:
    return Branches()


ONE = {"inputs": [tf.TensorSpec([None, 3], tf.float32, "u")]}
ROWS = {
    "functional": Row(functional, ("gradient(energy, x)", "hessian(energy, x)"), ("x",), ("energy",)),
    "two inputs": Row(two_inputs, ("jacobian(y, a)", "vjp(y, b)"), ("b", "a"), ("y",)),
    "dictionaries": Row(dictionaries, ("gradient(t, a)",), ("a", "b"), ("s", "t")),
    "sequential": Row(sequential, ("jacobian(y, x)", "jvp(y, x)"), ("x",), ("y",)),
    "a Sequential that was called": Row(called_sequential, ("jacobian(y, x)",), ("x",), ("y",)),
    "float64": Row(float64, ("gradient(y, x)", "laplacian(y, x)"), ("x",), ("y",)),
    "convolutions": Row(convolutions, ("jacobian(score, image)",), ("image",), ("score",)),
    "masks and recurrent layers": Row(masked_recurrent, ("gradient(y, steps)",), ("steps",), ("y",)),
    "attention": Row(attention, ("gradient(y, x)",), ("x",), ("y",)),
    "an inner layer": Row(embedded, ("gradient(y, embedding)",), ("tokens",), ("y",)),
    "from an inner layer": Row(
        embedded, ("gradient(y, embedding)",), ("embedding", "tokens"), ("y",), {"inputs": ["embedding"]}
    ),
    "a subclass": Row(subclass, ("jacobian(flow, u)",), ("u", "t"), ("flow",)),
    "a layer of a subclass": Row(subclass, ("jacobian(flow, steps)",), ("u", "t"), ("flow",)),
    "a subclass that was never called": Row(never_called, ("jacobian(flow, u)",), ("u",), ("flow",), ONE),
    "a layer": Row(lambda: Steps(), ("jacobian(y, u)",), ("u",), ("y",), ONE),
    "float32 as float64": Row(
        functional, ("gradient(energy, x)",), ("x",), ("energy",), {"precision": "float64", "formats": "onnx"}
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_live_models(name: str, tmp_path: pathlib.Path) -> None:
    """``export`` compares with the live model; the names are those that somebody gave, and its variables stay."""
    row = ROWS[name]
    keras_2.utils.set_random_seed(0)
    model = row.model()
    before = [array.copy() for array in model.get_weights()]
    bundle = export(model, tmp_path / "model.pullback", row.derivatives, **row.given)
    assert tuple(spec.name for spec in bundle.spec.inputs) == row.inputs
    assert tuple(spec.name for spec in bundle.spec.outputs)[: len(row.outputs)] == row.outputs
    assert bundle.spec.batched
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=False))


def test_the_bundle_says_what_the_model_says(tmp_path: pathlib.Path) -> None:
    """Beside the gate, and for other batches than it drew: TensorFlow's own tape on the live model."""
    model = functional()
    bundle = export(model, tmp_path / "model.pullback", "gradient(energy, x)")
    for rows in (0, 1, 2, 7):
        x = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
        with tf.GradientTape() as tape:
            given = tf.constant(x)
            tape.watch(given)
            energy = model(given)
        found = bundle(x=x)
        np.testing.assert_allclose(found.energy, energy, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.denergy_dx, tape.gradient(energy, given), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_that_keras_3_cannot_read(suffix: str, tmp_path: pathlib.Path) -> None:
    model = embedded()
    model.save(tmp_path / f"model{suffix}")
    bundle = export(tmp_path / f"model{suffix}", tmp_path / "model.pullback", "gradient(y, embedding)", formats="onnx")
    tokens = np.array([[1, 2, 3, 0, 0]], np.int32)
    np.testing.assert_allclose(bundle(tokens=tokens).y, model(tokens), rtol=1e-5, atol=1e-6)


def test_a_file_where_tf_keras_is_not_installed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded().save(tmp_path / "model.keras")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(
        pullback.errors.MissingDependencyError, match=r'written by Keras 2 \(2[.\d]+\).*: pip install "tf_keras'
    ):
        export(tmp_path / "model.keras", tmp_path / "model.pullback", [])


def test_compare(tmp_path: pathlib.Path) -> None:
    model = functional()
    export(model, tmp_path / "model.pullback", "gradient(energy, x)", formats="onnx")
    assert compare(model, tmp_path / "model.pullback").ok
    with pytest.raises(pullback.ParityError):
        compare(functional(), tmp_path / "model.pullback").require("another model")


def test_the_saved_model_needs_no_keras(tmp_path: pathlib.Path) -> None:
    """Where ``tf_keras`` cannot be imported the written SavedModel gives the same numbers."""
    bundle = export(convolutions(), tmp_path / "model.pullback", "jacobian(score, image)")
    image = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    program = (
        "import sys; sys.modules['tf_keras'] = sys.modules['keras'] = None\n"
        "import numpy as np, pullback\n"
        "bundle = pullback.load('model.pullback', backend='saved_model')\n"
        "np.save('found.npy', bundle(image=np.load('image.npy')).dscore_dimage)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, bundle(image=image).dscore_dimage, rtol=1e-5, atol=1e-6)


def half() -> Any:
    x = keras_2.Input((2,), name="x")
    return keras_2.Model(x, layers.Dense(1, name="y", dtype="mixed_float16")(x))


def dropout() -> Any:
    x = keras_2.Input((2,), name="x")
    return keras_2.Model(x, layers.Dense(1, name="y")(layers.Dropout(0.5)(x)))


def ragged() -> Any:
    x = keras_2.Input((None, 2), name="x", ragged=True)
    return keras_2.Model(x, layers.Dense(1)(x))


def twice() -> Any:
    x = keras_2.Input((2,), name="x")
    layer = layers.Dense(2, name="layer")
    return keras_2.Model(x, layers.Dense(1, name="y")(layer(layer(x))))


REFUSED: dict[str, tuple[Callable[[], Any], tuple[str, ...], dict[str, Any], type[ExportError], str]] = {
    "never called": (never_called, (), {}, ExportError, r"never called\): call it once, or pass inputs="),
    "a layer alone": (lambda: Steps(), (), {}, ExportError, r"call it once, or pass inputs="),
    "half precision": (half, (), {}, PrecisionError, "layer 'y' computes in float16"),
    "training": (functional, (), {"training": True}, ExportError, "changes variables.*norm.*trainable = False"),
    "random numbers": (dropout, (), {"training": True}, UnsupportedOpsError, "Random"),
    "ragged": (ragged, (), {}, ExportError, "RaggedTensorSpec.*function of dense tensors"),
    "a step of a loop": (embedded, ("gradient(y, cell)",), {}, ExportError, "called by 'lstm', step by step"),
    "two calls": (twice, ("gradient(y, layer)",), {}, ExportError, "layer#0, layer#1"),
    "no such layer": (functional, ("gradient(energy, z)",), {}, ExportError, "hidden"),
    "no such output": (functional, (), {"outputs": ["z", "w"]}, ExportError, "energy"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_clearly(name: str, tmp_path: pathlib.Path) -> None:
    model, derivatives, given, error, said = REFUSED[name]
    with pytest.raises(error, match=said):
        export(model(), tmp_path / "model.pullback", derivatives, **given)
    assert not list(tmp_path.iterdir())


def test_training_of_frozen_layers(tmp_path: pathlib.Path) -> None:
    """As the refusal says: frozen layers change no variable."""
    model = functional()
    model.get_layer("norm").trainable = False
    before = [array.copy() for array in model.get_weights()]
    export(model, tmp_path / "model.pullback", "gradient(energy, x)", training=True)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_one_call_of_a_layer(tmp_path: pathlib.Path) -> None:
    bundle = export(twice(), tmp_path / "model.pullback", "gradient(y, layer#1)")
    assert bundle(x=np.ones((3, 2), np.float32)).dy_dlayer_call_1.shape == (3, 2)


def test_a_function_that_calls_a_model(tmp_path: pathlib.Path) -> None:
    model = functional()
    specs = [tf.TensorSpec([None, 4], tf.float32, "x")]
    bundle = export(lambda x: {"half": model(x) / 2.0}, tmp_path / "f.pullback", "gradient(half, x)", inputs=specs)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(bundle(x=x).half, model(x).numpy() / 2.0, rtol=1e-5)
