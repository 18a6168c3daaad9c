"""An input of strings is refused, and what the refusal says to write exports: floats beside it, tokens behind it."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, export

L = keras.layers
WORDS = ["down", "up", "Ärger", "日本"]


def beside_floats(found: Callable[[Any], Any], numbers: Callable[[Any], Any]) -> keras.Model:
    """Words that ``found`` looks up and ``numbers`` makes a vector of, beside two numbers."""
    keras.utils.set_random_seed(0)
    word, a = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="a")
    joined = L.Concatenate(name="joined")([numbers(found(word)), a])
    return keras.Model([word, a], L.Dense(1, name="y")(L.Dense(4, "tanh", name="hidden")(joined)))


def embedded(x: Any) -> Any:
    return L.Flatten(name="flat")(L.Embedding(9, 3, name="embedding")(x))


def lookup(**options: Any) -> Any:
    return L.StringLookup(vocabulary=WORDS, name="lookup", **options)


def of_two_columns() -> keras.Model:
    first, second = (keras.Input((1,), dtype="string", name=name) for name in ("city", "kind"))
    a = keras.Input((2,), name="a")
    numbers = [
        L.StringLookup(vocabulary=WORDS, output_mode="one_hot", name=f"{name}_found")(text)
        for name, text in (("city", first), ("kind", second))
    ]
    return keras.Model([first, second, a], L.Dense(1, name="y")(L.Concatenate(name="joined")([*numbers, a])))


def in_a_nested_model() -> keras.Model:
    text = keras.Input((1,), dtype="string", name="text")
    return beside_floats(keras.Model(text, lookup()(text), name="before"), embedded)


def unused() -> keras.Model:
    key, a = keras.Input((1,), dtype="string", name="key"), keras.Input((2,), name="a")
    return keras.Model([key, a], L.Dense(1, name="y")(L.Dense(3, "tanh", name="wide")(a)))


# The model, and the inputs that the refusal names.
MODELS: dict[str, tuple[Callable[[], keras.Model], list[str]]] = {
    "embedded": (lambda: beside_floats(lookup(), embedded), ["lookup", "a"]),
    "three unknown": (lambda: beside_floats(lookup(num_oov_indices=3), embedded), ["lookup", "a"]),
    "a mask": (lambda: beside_floats(lookup(mask_token=""), embedded), ["lookup", "a"]),
    "one-hot": (lambda: beside_floats(lookup(output_mode="one_hot"), L.Flatten(name="flat")), ["lookup", "a"]),
    "hashed": (lambda: beside_floats(L.Hashing(8, name="hash"), embedded), ["hash", "a"]),
    "two columns": (of_two_columns, ["city_found", "kind_found", "a"]),
    "nested": (in_a_nested_model, ["lookup", "a"]),
    "unused": (unused, ["a"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_the_refusal_says_exports(name: str, tmp_path: pathlib.Path) -> None:
    build, names = MODELS[name]
    live = build()
    with pytest.raises(ExportError, match=r"has dtype string.*inputs=\[") as refused:
        export(live, tmp_path / "it.pullback", ["gradient(y, a)"])
    assert list(tmp_path.iterdir()) == []
    wanted = ast.literal_eval(re.search(r"\[.*\]$", str(refused.value))[0])  # type: ignore[index]
    assert wanted == names
    bundle = export(live, tmp_path / "it.pullback", ["gradient(y, a)"], inputs=wanted)
    assert bundle.verify().ok
    with pytest.raises(pullback.InputError):
        bundle(**{spec.name: np.full((1, *spec.shape[1:]), "up") for spec in bundle.spec.inputs})
    text = {spec.name: np.array([["up"], ["日本"], ["none of them"]]) for spec in live.inputs if spec.dtype == "string"}
    a = tf.constant(np.random.default_rng(0).normal(size=(3, 2)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = live({**{key: tf.constant(value) for key, value in text.items()}, "a": a})
    layers = [layer for layer in live._flatten_layers() if layer.name in wanted and layer.name != "a"]
    columns = list(text.values())
    feeds = {layer.name: np.asarray(layer(tf.constant(columns[i]))) for i, layer in enumerate(layers)}
    dy_da = tape.gradient(y, a)
    for each in (bundle, pullback.load(tmp_path / "it.pullback", backend="saved_model")):
        found = each(a=a.numpy(), **feeds)
        np.testing.assert_allclose(found.y, y, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(found.dy_da, dy_da, rtol=2e-5, atol=1e-6)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.found, self.vectors, self.last = lookup(), L.Embedding(9, 3, name="vectors"), L.Dense(1, name="last")

    def call(self, word: Any, a: Any) -> Any:
        return self.last(tf.concat([self.vectors(self.found(word)), a], -1)) ** 2


def test_a_subclass_needs_its_specs_besides(tmp_path: pathlib.Path) -> None:
    specs = [tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None, 2], tf.float32, "a")]
    model = Subclassed()
    message = r"add to the specs in inputs=\[\.\.\.\] the names \['lookup', 'a'\]"
    with pytest.raises(ExportError, match=message):
        export(model, tmp_path / "it.pullback", inputs=specs)
    bundle = export(model, tmp_path / "it.pullback", ["gradient(y, a)"], inputs=[*specs, "lookup", "a"])
    assert bundle.verify().ok


def test_no_single_layer(tmp_path: pathlib.Path) -> None:
    """A function has no layers, and of a layer that is called twice no one name says where to start."""
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1.0, 2.0]), -1.0)
    specs = [tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None], tf.float32, "a")]
    with pytest.raises(ExportError, match=r"'word' has dtype string.*from the numbers that the lookup returns"):
        export(lambda word, a: {"y": table.lookup(word) * a**2}, tmp_path / "f", inputs=specs)
    word, shared = keras.Input((1,), dtype="string", name="word"), lookup()
    twice = L.Concatenate(name="twice")(
        [embedded(shared(word)), L.Flatten(name="other")(L.Embedding(9, 3, name="others")(shared(word)))]
    )
    with pytest.raises(ExportError, match=r"'word' has dtype string.*from the numbers that the lookup returns"):
        export(keras.Model(word, L.Dense(1, name="y")(twice)), tmp_path / "g")
    assert list(tmp_path.iterdir()) == []
