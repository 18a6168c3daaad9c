"""Inputs of strings: models of Keras and functions as they are; what no graph computes is refused with the way out."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import string
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, UnsupportedOpsError, assert_parity, export
from pullback_export.lowering.numerics.pieces import whole

L = keras.layers
WORDS = ["down", "up", "Ärger", "日本"]
LOWER = ["up", "down", "日本", "e\u0301t\u00e9", "x y"]
TEXTS = ["Up, DOWN!", "  up\tup\ndown (none)  ", "", "日本-E\u0301T\u00e9 x", "<br />Down<br />up", "...", "up " * 9]
ASKED = np.array([["up"], ["none of them"], [""], ["日本"], ["Up"], ["Ärger"], ["down"]], object)
A = np.random.default_rng(0).normal(size=(7, 2))


def beside_floats(found: Callable[[Any], Any], numbers: Callable[[Any], Any], dtype: str = "float32") -> keras.Model:
    """Words that ``found`` looks up and ``numbers`` makes a vector of, beside two numbers."""
    keras.utils.set_random_seed(0)
    word, a = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="a", dtype=dtype)
    joined = L.Concatenate(name="joined", dtype=dtype)([numbers(found(word)), a])
    hidden = L.Dense(4, "tanh", name="hidden", dtype=dtype)(joined)
    return keras.Model([word, a], L.Dense(1, name="y", dtype=dtype)(hidden))


def embedded(x: Any, dtype: str = "float32") -> Any:
    return L.Flatten(name="flat", dtype=dtype)(L.Embedding(9, 3, name="embedding", dtype=dtype)(x))


def lookup(**options: Any) -> Any:
    return L.StringLookup(vocabulary=WORDS, name="lookup", **options)


def of_two_columns(second: Callable[[], Any] = lambda: L.StringLookup(vocabulary=["x", "y"], name="found")) -> Any:
    """Beside floats that are normalised, as tables are."""
    keras.utils.set_random_seed(0)
    city, kind = (keras.Input((1,), dtype="string", name=name) for name in ("city", "kind"))
    a = keras.Input((2,), name="a")
    one = L.CategoryEncoding(5, "one_hot", name="encoded")(lookup()(city))
    two = L.Flatten(name="rows")(L.Embedding(9, 2, name="vectors")(second()(kind)))
    scaled = L.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0], name="scaled")(a)
    joined = L.Concatenate(name="joined")([one, two, scaled])
    return keras.Model([city, kind, a], L.Dense(1, name="y")(L.Dense(4, "tanh", name="hidden")(joined)))


def in_a_nested_model() -> keras.Model:
    text = keras.Input((1,), dtype="string", name="text")
    return beside_floats(keras.Model(text, lookup()(text), name="before"), embedded)


def unused() -> keras.Model:
    word, a = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="a")
    return keras.Model([word, a], L.Dense(1, name="y")(L.Dense(3, "tanh", name="wide")(a)))


def vectorized(**options: Any) -> Any:
    return L.TextVectorization(vocabulary=LOWER, name="found", **options)


def averaged(x: Any) -> Any:
    return L.GlobalAveragePooling1D(name="pooled")(L.Embedding(9, 3, name="embedding", mask_zero=True)(x))


@keras.saving.register_keras_serializable("tests")
def without_tags(texts: Any) -> Any:
    """As in TensorFlow's tutorial about reviews of films."""
    texts = tf.strings.regex_replace(tf.strings.lower(texts), "<br />", " ")
    return tf.strings.regex_replace(texts, f"[{re.escape(string.punctuation)}]", "")


@keras.saving.register_keras_serializable("tests")
def without_brackets(texts: Any) -> Any:
    return tf.strings.regex_replace(texts, "<[^>]*>", " ")


def flat(x: Any) -> Any:
    return L.Flatten(name="flat")(x)


def as_numbers(x: Any) -> Any:
    return L.Lambda(lambda places: keras.ops.cast(places[:, :1], "float32") * 0.1, (1,), name="numbers")(x)


MODELS: dict[str, Callable[[], keras.Model]] = {
    "embedded": lambda: beside_floats(lookup(), embedded),
    "in double precision": lambda: beside_floats(lookup(), lambda x: embedded(x, "float64"), "float64"),
    "a mask": lambda: beside_floats(lookup(mask_token=""), embedded),
    "a mask and a token": lambda: beside_floats(lookup(mask_token="", oov_token="?"), embedded),
    "one-hot": lambda: beside_floats(lookup(output_mode="one_hot"), flat),
    "multi-hot": lambda: beside_floats(lookup(output_mode="multi_hot"), flat),
    "counts": lambda: beside_floats(lookup(output_mode="count"), flat),
    "weighted counts": lambda: beside_floats(lookup(output_mode="tf_idf", idf_weights=[1.0, 2.0, 3.0, 4.0]), flat),
    "encoded": lambda: beside_floats(lookup(), L.CategoryEncoding(5, "one_hot", name="encoded")),
    "whole texts": lambda: beside_floats(
        L.TextVectorization(vocabulary=WORDS, standardize=None, split=None, name="found"), as_numbers
    ),
    "two columns": of_two_columns,
    "nested": in_a_nested_model,
    "unused": unused,
}


TEXT_MODELS: dict[str, Callable[[], keras.Model]] = {
    "cleaned and split": lambda: beside_floats(vectorized(output_sequence_length=4), averaged),
    "split": lambda: beside_floats(vectorized(standardize=None, output_sequence_length=3), averaged),
    "in lower case": lambda: beside_floats(vectorized(standardize="lower", output_sequence_length=2), averaged),
    "cleaned alone": lambda: beside_floats(vectorized(split=None), as_numbers),
    "of any length": lambda: beside_floats(vectorized(), averaged),
    "bags": lambda: beside_floats(vectorized(output_mode="multi_hot"), flat),
    "bags of pairs": lambda: beside_floats(vectorized(output_mode="multi_hot", ngrams=2), flat),
    "counts": lambda: beside_floats(vectorized(output_mode="count"), flat),
    "weights": lambda: beside_floats(vectorized(output_mode="tf_idf", idf_weights=[1.0, 2.0, 3.0, 4.0, 5.0]), flat),
    "own function": lambda: beside_floats(vectorized(standardize=without_tags, output_sequence_length=4), averaged),
}


@pytest.mark.parametrize(
    "name",
    [name if number < 1 else pytest.param(name, marks=pytest.mark.slow) for number, name in enumerate(TEXT_MODELS)],
)
def test_texts_of_several_words(name: str, tmp_path: pathlib.Path) -> None:
    live = TEXT_MODELS[name]()
    bundle = export(live, tmp_path / "it.pullback", ["gradient(y, a)", "gradient(y, hidden)"])
    drawn = {text for case in bundle.samples()["evaluate"] for text in case.inputs["word"].ravel().tolist()}
    assert any(len(text.split()) > 1 for text in drawn)
    manifest = json.loads((tmp_path / "it.pullback" / "manifest.json").read_text())
    assert {function["opset"] for function in manifest["functions"]} == {20}
    for each in (bundle, pullback.load(tmp_path / "it.pullback", backend="saved_model")):
        for rows in (0, 1, 2, 7):
            feeds = {"word": np.array(TEXTS[:rows], object).reshape(rows, 1), "a": A[:rows].astype("float32")}
            found = each(**feeds)
            assert found.y.shape == (rows, 1)
            if rows:
                y, first, _ = live_answers(live, feeds, "float32")
                np.testing.assert_allclose(found.y, y, rtol=2e-5, atol=2e-6)
                np.testing.assert_allclose(found.dy_da, first, rtol=2e-5, atol=2e-6)


def live_answers(live: keras.Model, feeds: dict[str, Any], dtype: Any) -> tuple[Any, Any, Any]:
    """Value, gradient and Hessian by ``a``, whose rows do not influence each other."""
    a = tf.constant(feeds["a"], dtype)
    with tf.GradientTape() as outer:
        outer.watch(a)
        with tf.GradientTape() as tape:
            tape.watch(a)
            y = live({name: a if name == "a" else tf.constant(value, tf.string) for name, value in feeds.items()})
        first = tape.gradient(y, a)
    return y, first, outer.batch_jacobian(first, a)


# One of each kind; make test-all tries all.
FAST = ("embedded", "in double precision", "a mask", "counts", "two columns", "unused")


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_a_model_exports_as_it_is(name: str, tmp_path: pathlib.Path) -> None:
    live = MODELS[name]()
    dtype = live.inputs[-1].dtype
    bundle = export(live, tmp_path / "it.pullback", ["gradient(y, a)", "hessian(y, a)"])
    assert [tensor.dtype for tensor in bundle.spec.inputs] == [spec.dtype for spec in live.inputs]
    tight = {"rtol": 2e-5, "atol": 2e-6} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-12}
    for each in (bundle, pullback.load(tmp_path / "it.pullback", backend="saved_model")):
        assert each.verify().ok
        for rows in (0, 1, 2, 7):
            feeds = {spec.name: A.astype(dtype) if spec.name == "a" else ASKED for spec in live.inputs}
            feeds = {key: value[:rows] for key, value in feeds.items()}
            if "kind" in feeds:
                feeds["kind"] = np.array([["x"], ["up"], ["y"]] * 3, object)[:rows]
            found = each(**feeds)
            assert found.y.shape == (rows, 1) and found.dy_da.shape == (rows, 2)
            if rows:
                y, first, second = live_answers(live, feeds, dtype)
                np.testing.assert_allclose(found.y, y, **tight)
                np.testing.assert_allclose(found.dy_da, first, **tight)
                np.testing.assert_allclose(found.d2y_da2.reshape(rows, 2, 2), second, **tight)


def test_samples_hold_what_is_known_and_what_is_not(tmp_path: pathlib.Path) -> None:
    bundle = export(beside_floats(lookup(mask_token=""), embedded), tmp_path / "it.pullback", ["gradient(y, a)"])
    drawn = {text for case in bundle.samples()["evaluate"] for text in case.inputs["word"].ravel().tolist()}
    assert drawn & set(WORDS) and drawn - {*WORDS, ""} and "" in drawn
    assert any(not text.isascii() for text in drawn)


@pytest.mark.parametrize("precision", [pytest.param(None, marks=pytest.mark.slow), "float64"])
def test_by_embedded_tokens(precision: str | None, tmp_path: pathlib.Path) -> None:
    """Sequences of a free length, and the derivatives of both orders with respect to the layer behind the lookup."""
    keras.utils.set_random_seed(0)
    words = keras.Input((None,), dtype="string", name="words")
    vectors = L.Embedding(6, 2, name="vectors", mask_zero=True)(lookup(mask_token="")(words))
    pooled = L.GlobalAveragePooling1D(name="pooled")(L.Activation("tanh", name="bent")(vectors))
    live = keras.Model(words, L.Dense(1, name="y")(pooled))
    requests = ["gradient(y, vectors)", "hessian(y, vectors)", "vjp(y, vectors)"]
    bundle = export(live, tmp_path / "it.pullback", requests, precision=precision)
    asked = np.array([["up", "日本", "", ""], ["none", "down", "up", ""]], object)
    found = bundle(asked)
    rows = live.get_layer("vectors")(live.get_layer("lookup")(tf.constant(asked)))
    mask = tf.cast(asked != "", tf.float32)[..., None]

    def after(rows: Any) -> Any:
        return live.layers[-1](tf.reduce_sum(tf.tanh(rows) * mask, 1) / tf.reduce_sum(mask, 1))

    with tf.GradientTape() as outer:
        outer.watch(rows)
        with tf.GradientTape() as tape:
            tape.watch(rows)
            y = after(rows)
        first = tape.gradient(y, rows)
    second = outer.batch_jacobian(first, rows)
    np.testing.assert_allclose(found.y, y, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found.dy_dvectors, first, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found.d2y_dvectors2.reshape(second.shape), second, rtol=2e-5, atol=1e-6)
    assert found.y.dtype == (precision or "float32")
    adjoint = np.array([[2.0], [-1.0]], found.y.dtype)
    np.testing.assert_allclose(bundle.vjp(asked, adjoint).adj_vectors, adjoint[..., None] * first, rtol=2e-5, atol=1e-6)


def test_tables_of_a_function(tmp_path: pathlib.Path) -> None:
    """Strings to strings to numbers, whole tensors, and samples of the caller's."""
    first = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], ["x", "y"]), "none")
    second = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["x", "none"], [1.0, 2.0]), -1.0)
    specs = [tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None], tf.float32, "a")]
    samples = {"word": ["a", b"b", "c"], "a": [1.0, 2.0, 3.0]}
    bundle = export(
        lambda word, a: {"y": tf.reduce_sum(second.lookup(first.lookup(word)) * a**2)},
        tmp_path / "it.pullback",
        ["gradient(y, a)", "hvp(y, a)"],
        inputs=specs,
        samples=samples,
        batched=False,
    )
    for each in (bundle, pullback.load(tmp_path / "it.pullback", backend="saved_model")):
        assert each.verify().ok
        assert each(**samples).y == 1 - 4 + 18
        np.testing.assert_array_equal(each(**samples).dy_da, [2, -4, 12])
        np.testing.assert_array_equal(each.hvp(**samples, fwd_a=[1.0, 1.0, 1.0]).hvp_y_a, [2, -2, 4])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ([["up"], [3]], r"samples\['word'\] must be strings, got 3 at \(1, 0\)"),
        ([[None], ["up"]], r"samples\['word'\] must be strings, got None at \(0, 0\); fill what is missing"),
        (np.zeros((2, 1)), r"samples\['word'\] must be strings, got float64"),
        ([["up", "up"]] * 2, r"samples\['word'\] must have shape \(None, 1\)"),
    ],
    ids=["a number", "a missing one", "floats", "two columns"],
)
def test_samples_that_are_no_strings(word: Any, message: str, tmp_path: pathlib.Path) -> None:
    live = beside_floats(lookup(), embedded)
    with pytest.raises(ExportError, match=message):
        export(live, tmp_path / "it.pullback", samples={"word": word, "a": A[:2]})


def in_a_function(words: Any) -> Any:
    return tf.function(lambda texts: tf.strings.split(texts, ";;").to_tensor())(words)


@pytest.mark.parametrize(
    ("split", "marks"),
    [
        (lambda words: tf.strings.split(words, ";;").to_tensor(), [";;"]),
        (lambda words: tf.strings.split(words).to_tensor(), [" ", "\t", "\n"]),
        (in_a_function, [";;"]),
        (lambda words: tf.strings.regex_replace(words, "[#%]", ""), ["#", "%"]),
        (lambda words: tf.raw_ops.RegexReplace(input=words, pattern=tf.constant("<br>"), rewrite=""), ["<br>"]),
    ],
    ids=["separator", "whitespace", "function", "set", "text"],
)
def test_samples_hold_what_is_split_at(split: Any, marks: list[str], tmp_path: pathlib.Path) -> None:
    """Else a rule that never splits, or that deletes nothing, would not be noticed: it is refused."""
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b", "ab"], [1.0, 2.0, 4.0]), -1.0)
    specs = [tf.TensorSpec([None], tf.string, "words"), tf.TensorSpec([None], tf.float32, "a")]

    def total(words: Any, a: Any) -> Any:
        return {"y": tf.reduce_sum(tf.reshape(table.lookup(split(words)), [tf.size(words), -1]), 1) * a}

    bundle = export(total, tmp_path / "it", inputs=specs, batched=False)
    drawn = {text for case in bundle.samples()["evaluate"] for text in case.inputs["words"].ravel().tolist()}
    for mark in marks:
        assert any(mark in text and text != mark for text in drawn)
    with (
        mock.patch("pullback_export.lowering.rules.containers.strings.replaced", lambda op, texts, *_: texts),
        mock.patch(
            "pullback_export.lowering.rules.containers.strings.split", lambda op, texts, *_, **__: whole(op, texts)
        ),
        pytest.raises(pullback.ParityError),
    ):
        export(total, tmp_path / "wrong", inputs=specs, batched=False)


def test_strings_have_no_derivative(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ExportError, match=r"'word' is string, and only floats have derivatives.*embedding layer"):
        export(beside_floats(lookup(), embedded), tmp_path / "it.pullback", ["gradient(y, word)"])


# The model, and the inputs that the refusal names.
REFUSED: dict[str, tuple[Callable[[], keras.Model], list[str]]] = {
    "three unknown": (lambda: beside_floats(lookup(num_oov_indices=3), embedded), ["lookup", "a"]),
    "hashed": (lambda: beside_floats(L.Hashing(8, name="hash"), embedded), ["hash", "a"]),
    "one of two columns": (lambda: of_two_columns(lambda: L.Hashing(8, name="hash")), ["hash", "city", "a"]),
    "regular expressions": (
        lambda: beside_floats(vectorized(standardize=without_brackets, output_sequence_length=2), embedded),
        ["found", "a"],
    ),
    "single letters": (
        lambda: beside_floats(vectorized(split="character", output_sequence_length=2), embedded),
        ["found", "a"],
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("hashed", "one of two columns", "regular expressions")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in REFUSED
    ],
)
def test_what_the_refusal_says_exports(name: str, tmp_path: pathlib.Path) -> None:
    build, names = REFUSED[name]
    live = build()
    with pytest.raises(UnsupportedOpsError, match=r"exactly as TensorFlow does.*inputs=\[") as refused:
        export(live, tmp_path / "it.pullback", ["gradient(y, a)"])
    assert list(tmp_path.iterdir()) == []
    wanted = ast.literal_eval(re.search(r"\[[^]]*\]\.$", str(refused.value))[0][:-1])  # type: ignore[index]
    assert wanted == names
    bundle = export(live, tmp_path / "it.pullback", ["gradient(y, a)"], inputs=wanted)
    assert bundle.verify().ok
    text = {spec.name: np.array([["up"], ["日本"], ["none of them"]]) for spec in live.inputs if spec.dtype == "string"}
    a = tf.constant(A[:3], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = live({**{key: tf.constant(value) for key, value in text.items()}, "a": a})
    layer = live.get_layer(wanted[0])
    feeds = {name: value for name, value in text.items() if name in wanted}
    feeds[layer.name] = np.asarray(layer(tf.constant(text["kind" if "kind" in text else "word"])))
    dy_da = tape.gradient(y, a)
    for each in (bundle, pullback.load(tmp_path / "it.pullback", backend="saved_model")):
        found = each(a=a.numpy(), **feeds)
        np.testing.assert_allclose(found.y, y, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(found.dy_da, dy_da, rtol=2e-5, atol=1e-6)


class Subclassed(keras.Model):
    def __init__(self, unknown: int) -> None:
        super().__init__()
        self.found, self.vectors = lookup(num_oov_indices=unknown), L.Embedding(9, 3, name="vectors")
        self.last = L.Dense(1, name="last")

    def call(self, word: Any, a: Any) -> Any:
        return self.last(tf.concat([self.vectors(self.found(word)), a], -1)) ** 2


def test_a_subclass(tmp_path: pathlib.Path) -> None:
    specs = [tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None, 2], tf.float32, "a")]
    assert export(Subclassed(1), tmp_path / "one", ["gradient(y, a)"], inputs=specs, outputs=["y"]).verify().ok
    model = Subclassed(3)
    message = r"add to the specs in inputs=\[\.\.\.\] the names \['lookup', 'a'\]"
    with pytest.raises(ExportError, match=message):
        export(model, tmp_path / "it.pullback", inputs=specs)
    bundle = export(model, tmp_path / "it.pullback", ["gradient(y, a)"], inputs=[*specs, "lookup", "a"])
    assert bundle.verify().ok


def test_no_single_layer(tmp_path: pathlib.Path) -> None:
    """A function has no layers, and of a layer that is called twice no one name says where to start."""
    specs = [tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None], tf.float32, "a")]
    with pytest.raises(ExportError, match=r"StringLength.*from the numbers that it returns"):
        export(lambda word, a: {"y": tf.cast(tf.strings.length(word), tf.float32) * a**2}, tmp_path / "f", inputs=specs)
    word, shared = keras.Input((1,), dtype="string", name="word"), lookup(num_oov_indices=2)
    twice = L.Concatenate(name="twice")(
        [embedded(shared(word)), L.Flatten(name="other")(L.Embedding(9, 3, name="others")(shared(word)))]
    )
    live = keras.Model(word, L.Dense(1, name="y")(twice))
    with pytest.raises(ExportError, match=r"StringToHashBucketFast.*write inputs=\['embedding', 'others'\]"):
        export(live, tmp_path / "g")
    assert list(tmp_path.iterdir()) == []
    assert export(live, tmp_path / "g", inputs=["embedding", "others"]).verify().ok


@pytest.mark.parametrize("known", [["a", "日本"], [b"\xff", b"b"]], ids=["text", "bytes"])
def test_a_captured_constant(known: list[Any], tmp_path: pathlib.Path) -> None:
    """ONNX's strings are UTF-8: others cannot be compared with."""
    held = tf.constant(known)
    specs = [tf.TensorSpec([None, 1], tf.string, "word"), tf.TensorSpec([None, 2], tf.float32, "a")]

    def count(word: Any, a: Any) -> Any:
        return {"y": tf.reduce_sum(tf.cast(word == held, tf.float32) * a**2, 1)}

    if isinstance(known[0], bytes):
        with pytest.raises(UnsupportedOpsError, match=r"is not UTF-8, and ONNX has no other"):
            export(count, tmp_path / "f", inputs=specs)
        return
    bundle = export(count, tmp_path / "f", ["gradient(y, a)"], inputs=specs)
    found = bundle([["日本"], ["b"]], A[:2])
    np.testing.assert_allclose(found.dy_da, [[0, 2 * A[0, 1]], [0, 0]], rtol=1e-6)
    assert assert_parity(count, bundle.path, inputs=specs).ok


def test_sums_of_strings(tmp_path: pathlib.Path) -> None:
    """Joining them is TensorFlow's ``Add``, as that of numbers is."""
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a!", "!b!"], [1.0, 2.0]), -1.0)
    specs = [tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None], tf.float32, "a")]
    bundle = export(
        lambda word, a: {"y": (table.lookup(word + "!") + table.lookup("!" + word + "!")) * a},
        tmp_path / "f",
        inputs=specs,
    )
    np.testing.assert_array_equal(bundle(["a", "b", "!b"], [1.0, 1.0, 2.0]).y, [0, 1, 2])
