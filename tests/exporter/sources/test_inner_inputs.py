"""Bundles that start inside a model: which inputs they take, and that they say what the rest of the model says."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from pullback_export import ExportError, assert_parity, export

from tests.rotation import in_turn

TOKENS = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0], [5, 4, 3, 2, 1]], np.int32)


def sentence(masked: bool, length: int | None = 5) -> keras.Model:
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    embedded = layers.Embedding(7, 3, mask_zero=masked, name="embedding")(tokens)
    return keras.Model(tokens, layers.Dense(1, name="y")(layers.LSTM(4, name="lstm")(embedded)))


def picture() -> keras.Model:
    conv = functools.partial(layers.Conv2D, kernel_size=3, activation="tanh")
    return keras.Sequential(
        [
            keras.Input((None, None, 2), name="image"),
            conv(3, name="first"),
            conv(4, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, name="y"),
        ]
    )


class Subclassed(keras.Model):
    """Tokens and a number; nothing says what its inputs are."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = layers.Embedding(7, 3, mask_zero=True, name="embedding")
        self.pooling = layers.GlobalAveragePooling1D(name="pooling")
        self.last = layers.Dense(1, name="last")

    def call(self, tokens: Any, t: Any) -> Any:
        return self.last(tf.concat([self.pooling(self.embedding(tokens)), t], -1)) ** 2


def nested() -> keras.Model:
    inner = keras.Input((3,), name="inner")
    code = layers.Dense(2, activation="tanh", name="code")(layers.Dense(4, name="wide")(inner))
    encoder = keras.Model(inner, code, name="encoder")
    x, t = keras.Input((3,), name="x"), keras.Input((2,), name="t")
    return keras.Model([x, t], layers.Dense(1, name="y")(layers.multiply([encoder(x), t])))


def repeated() -> keras.Model:
    """One layer on two inputs, and once more on what comes of the first."""
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    shared = layers.Dense(3, activation="tanh", name="shared")
    return keras.Model([a, b], layers.Dense(1, name="y")(shared(shared(a)) * shared(b)))


def text() -> keras.Model:
    words = keras.Input((4,), dtype="string", name="words")
    numbers = layers.StringLookup(vocabulary=["down", "up"], name="lookup")(words)
    embedded = layers.Embedding(3, 2, name="embedding")(numbers)
    return keras.Model(words, layers.Dense(1, name="y")(layers.Flatten(name="flat")(embedded)))


def unused() -> keras.Model:
    """One of its inputs leads nowhere but through a branch that random numbers end."""
    x, key = keras.Input((3,), name="x"), keras.Input((1,), dtype="string", name="key")
    wide = layers.Dense(2, activation="tanh", name="wide")(x)
    return keras.Model([x, key], layers.Dense(1, name="y")(wide))


@dataclasses.dataclass(frozen=True)
class Start:
    """A model, ``inputs=``, what the bundle then takes, and the requests."""

    build: Callable[[], keras.Model]
    inputs: list[Any]
    takes: tuple[str, ...]
    derivatives: tuple[str, ...]


STARTS = {
    "an embedding": Start(lambda: sentence(False), ["embedding"], ("embedding",), ("gradient(y, embedding)",)),
    "a masked embedding": Start(
        lambda: sentence(True), ["embedding"], ("embedding", "tokens"), ("gradient(y, embedding)", "vjp(y, embedding)")
    ),
    "of any length": Start(
        lambda: sentence(True, None), ["embedding"], ("embedding", "tokens"), ("gradient(y, embedding)",)
    ),
    "any image size": Start(picture, ["first"], ("first",), ("gradient(y, first)", "gradient(y, second)")),
    "tokens kept": Start(lambda: sentence(False), ["tokens", "embedding"], ("tokens", "embedding"), ()),
    "a subclass": Start(
        Subclassed,
        [tf.TensorSpec([None, 5], tf.int32, "tokens"), tf.TensorSpec([None, 1], tf.float32, "t"), "embedding", "t"],
        ("embedding", "t", "tokens"),
        ("gradient(y, embedding)", "gradient(y, pooling)", "hessian(y, t)"),
    ),
    "a subclass without its tokens": Start(
        Subclassed,
        [tf.TensorSpec([None, 5], tf.int32, "tokens"), tf.TensorSpec([None, 1], tf.float32, "t"), "pooling"],
        ("pooling", "t"),
        ("gradient(y, pooling)",),
    ),
    "within a nested model": Start(nested, ["wide"], ("wide", "t"), ("gradient(y, wide)", "gradient(y, code)")),
    "a nested model": Start(nested, ["encoder"], ("encoder", "t"), ("hessian(y, encoder, t)",)),
    "a call": Start(
        repeated, ["shared#1"], ("shared_call_1", "b"), ("gradient(y, shared#1)", "gradient(y, shared#2[0])")
    ),
    "two calls": Start(repeated, ["shared#2", "shared#0"], ("shared_call_2", "shared_call_0"), ("jvp(y, shared#0)",)),
    "words": Start(text, ["embedding"], ("embedding",), ("gradient(y, embedding)",)),
    "without an input": Start(unused, ["x"], ("x",), ("gradient(y, x)", "gradient(y, wide)")),
    "without an input, inside": Start(unused, ["wide"], ("wide",), ("gradient(y, wide)",)),
}


@pytest.mark.parametrize("name", in_turn("starts", list(STARTS), 2))
def test_starts(name: str, tmp_path: pathlib.Path) -> None:
    keras.utils.set_random_seed(1)
    start = STARTS[name]
    model = start.build()
    outputs = ["y"] if start.build is Subclassed else None
    bundle = export(model, tmp_path / "b", start.derivatives, inputs=start.inputs, outputs=outputs)
    assert tuple(spec.name for spec in bundle.spec.inputs) == start.takes
    assert_parity(model, tmp_path / "b", inputs=start.inputs if start.build is Subclassed else None)


def test_a_mask_is_that_of_the_tokens(tmp_path: pathlib.Path) -> None:
    """The whole model on tokens, and the bundle on their embeddings: one value, and TensorFlow's gradient."""
    model = sentence(True, None)
    bundle = export(model, tmp_path / "b", "gradient(y, embedding)", inputs=["embedding"], formats="onnx")
    embedded = model.get_layer("embedding")(TOKENS)
    mask = tf.constant(TOKENS != 0)
    with tf.GradientTape() as tape:
        tape.watch(embedded)
        y = model.get_layer("y")(model.get_layer("lstm")(embedded, mask=mask))
    found = bundle(embedding=embedded.numpy(), tokens=TOKENS)
    np.testing.assert_allclose(found.y, model(TOKENS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.dy_dembedding, tape.gradient(y, embedded), rtol=1e-5, atol=1e-6)
    assert not found.dy_dembedding[1, 1:].any() and found.dy_dembedding[2].all()
    other = bundle(embedding=embedded.numpy(), tokens=np.ones_like(TOKENS))
    assert np.abs(other.y - found.y).max() > 1e-4


def test_calls_of_a_layer(tmp_path: pathlib.Path) -> None:
    model = repeated()
    bundle = export(model, tmp_path / "b", ["gradient(y, shared#0)", "gradient(shared#2[1], b)"], formats="onnx")
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    shared, last = model.get_layer("shared"), model.get_layer("y")
    with tf.GradientTape() as tape:
        first = shared(a)
        tape.watch(first)
        y = last(shared(first) * shared(b))
    found = bundle(a=a, b=b)
    np.testing.assert_allclose(found.shared_call_0, first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.dy_dshared_call_0, tape.gradient(y, first), rtol=1e-5, atol=1e-6)
    assert found.dshared_call_2_1_db.shape == (4, 3)


def stepwise() -> keras.Model:
    x = keras.Input((4, 3), name="x")
    return keras.Model(x, layers.LSTM(2, name="y")(layers.TimeDistributed(layers.Dense(2, name="step"), name="all")(x)))


REFUSED: dict[str, tuple[Callable[[], Any], list[Any], tuple[str, ...], str]] = {
    "no such layer": (nested, ["z"], (), r"there is no 'z'; inputs: x, t; inner layers: encoder"),
    "an output": (nested, ["y"], (), "'y' is an output"),
    "twice": (nested, ["code", "code"], (), "'code' is given twice"),
    "no influence": (nested, ["code", "wide"], (), "no output depends on 'wide' beside the others"),
    "what lies before": (nested, ["code"], ("gradient(y, wide)",), r"'wide' lies before code, t, where the bundle"),
    "several calls": (repeated, ["shared"], (), "'shared' is called more than once; say which call"),
    "several calls requested": (repeated, [], ("gradient(y, shared)",), "shared#0, shared#1"),
    "no such call": (repeated, ["shared#3"], (), "shared is called 3 times; write shared#0 to shared#2"),
    "a step": (stepwise, ["step"], (), "'step' is called by 'all', step by step; name that layer instead"),
    "a function's layer": (
        lambda: lambda x: x**2,
        [tf.TensorSpec([None], tf.float32, "x"), "layer"],
        (),
        "there is no 'layer'; inputs: x",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: pathlib.Path) -> None:
    build, inputs, derivatives, message = REFUSED[name]
    with pytest.raises(ExportError, match=message):
        export(build(), tmp_path / "b", derivatives, inputs=inputs or None)
    assert list(tmp_path.iterdir()) == []
