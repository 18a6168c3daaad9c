"""Operators that only tf2onnx knows, handlers that a user registered with it, and what is not taken from it."""

from __future__ import annotations

import copy
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback import ParityError
from pullback_export import export
from pullback_export.errors import UnsupportedOpsError
from pullback_export.lowering import registry
from tf2onnx.handler import tf_op

BOTH = ("float32", "float64")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Handlers that a test registers are gone after it."""
    import tf2onnx.tfonnx  # noqa: F401  (registers its own)

    before = copy.deepcopy({domain: [dict(table) for table in tables] for domain, tables in tf_op._OPSETS.items()})
    yield
    tf_op._OPSETS.clear()
    tf_op._OPSETS.update(before)


def notes(folder: pathlib.Path) -> list[str]:
    found: list[str] = json.loads((folder / "manifest.json").read_text())["parity"]["notes"]
    return found


def middle(x: Any) -> Any:
    """``x (1, 6, 6, 1)`` without its rim: an operator that neither we nor tf2onnx know."""

    @tf.custom_gradient
    def crop(image: Any) -> Any:
        y = tf.raw_ops.ExtractGlimpseV2(
            input=image, size=[4, 4], offsets=tf.zeros([1, 2]), centered=True, uniform_noise=False, noise="zero"
        )
        return y, lambda dy: tf.pad(dy, [[0, 0], [1, 1], [1, 1], [0, 0]])

    return tf.reduce_sum(tf.sin(crop(x)) ** 2)


def sparse_reshape(x: Any) -> Any:
    """``x`` of 12 numbers at the places of a 3 x 4 matrix that is reshaped to 2 x 6."""
    places = tf.where(tf.ones([3, 4], tf.bool))
    places = places + tf.cast(tf.reduce_sum(x) > 1e9, tf.int64)  # not a constant
    found, shape = tf.raw_ops.SparseReshape(
        input_indices=places, input_shape=tf.constant([3, 4], tf.int64), new_shape=tf.constant([2, 6], tf.int64)
    )
    weights = tf.cast(found[:, 0] * 10 + found[:, 1] + shape[1], x.dtype)
    return tf.reduce_sum(weights * x**2)


def greedy_paths(x: Any) -> Any:
    """Labels of the best path of ``x (4, 1, 3)``, which weight it."""
    scores = tf.reshape(x, [4, 1, 3])
    _, values, shape, _ = tf.raw_ops.CTCGreedyDecoder(
        inputs=tf.nn.softmax(scores), sequence_length=[4], merge_repeated=False
    )
    return tf.reduce_sum(x**3) * tf.cast(tf.reduce_sum(values + 1) + shape[1], x.dtype)


def combined_suppression(x: Any) -> Any:
    """Scores of the boxes that a detector of two classes keeps, as weights; no two scores are equal."""
    moved = tf.cast(tf.reduce_sum(x) > 1e9, x.dtype)
    low = np.linspace(0, 0.6, 10).reshape(5, 2)
    boxes = tf.constant(np.concatenate([low, low + 0.25], 1)[None, :, None], x.dtype) + moved
    scores = tf.constant(np.random.default_rng(2).uniform(0.1, 1, (1, 5, 2)), x.dtype) + moved
    _, chosen, classes, count = tf.image.combined_non_max_suppression(boxes, scores, 4, 6, 0.3, 0.2)
    weight = tf.reduce_sum(chosen * (1 + classes)) + tf.cast(count[0], x.dtype)
    return tf.reduce_sum(x**2) * tf.stop_gradient(weight)


OPERATORS: dict[str, tuple[str, Callable[..., Any], tuple[str, ...]]] = {
    "sparse_reshape": ("SparseReshape", sparse_reshape, BOTH),
    "combined_suppression": ("CombinedNonMaxSuppression", combined_suppression, ("float32",)),
    "greedy_paths": ("CTCGreedyDecoder", greedy_paths, ("float32",)),
}


@pytest.mark.parametrize(
    ("op_type", "function", "dtype"),
    [(op_type, function, dtype) for op_type, function, dtypes in OPERATORS.values() for dtype in dtypes],
    ids=[f"{name}-{dtype}" for name, row in OPERATORS.items() for dtype in row[2]],
)
def test_operators_that_only_tf2onnx_knows(
    op_type: str, function: Callable[..., Any], dtype: str, tmp_path: pathlib.Path
) -> None:
    assert op_type not in registry.load_rules()
    folder = tmp_path / "a.pullback"
    bundle = export(
        lambda x: {"y": function(x)},
        folder,
        ["gradient(y, x)", "hessian(y, x)"],
        inputs=[tf.TensorSpec([12], dtype, name="x")],
        batched=False,
    )
    assert f"{op_type}: converted by tf2onnx" in notes(folder)
    x = np.random.default_rng(1).normal(size=12).astype(dtype)
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        y = function(given)
    found = bundle(x=x)
    np.testing.assert_allclose(found.y, y, rtol=1e-5)
    np.testing.assert_allclose(found.dy_dx, tape.gradient(y, given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", BOTH)
def test_free_sizes(dtype: str, tmp_path: pathlib.Path) -> None:
    def reshaped(x: Any) -> Any:
        shape = tf.shape(x, out_type=tf.int64)
        places, new = tf.raw_ops.SparseReshape(
            input_indices=tf.where(tf.ones_like(x, tf.bool)),
            input_shape=shape,
            new_shape=tf.stack([shape[0] * 2, tf.constant(-1, tf.int64)]),
        )
        weights = tf.reshape(places[:, 0] * 10 + places[:, 1] + new[1], tf.shape(x))
        return {"y": tf.reduce_sum(tf.cast(weights, x.dtype) * x**2)}

    spec = tf.TensorSpec([None, 4], dtype, name="x")
    bundle = export(reshaped, tmp_path / "a.pullback", ["gradient(y, x)"], inputs=[spec], batched=False)
    for size in (1, 2, 7):
        x = np.random.default_rng(size).uniform(size=(size, 4)).astype(dtype)
        np.testing.assert_allclose(bundle(x=x).y, reshaped(tf.constant(x))["y"], rtol=1e-5)


def test_the_same_bytes_twice(tmp_path: pathlib.Path) -> None:
    """Names of tf2onnx come from counters of the process; none of them reaches the file."""
    contents = []
    for name in "ab":
        folder = tmp_path / name
        spec = tf.TensorSpec([12], tf.float32, name="x")
        export(lambda x: {"y": sparse_reshape(x)}, folder, inputs=[spec], batched=False, formats=("onnx",))
        contents.append((folder / "evaluate.onnx").read_bytes())
    assert contents[0] == contents[1]


ROUND = {"paddings": np.zeros([4, 2], np.int32), "mode": "REFLECT", "strides": [1, 1, 1, 1], "padding": "VALID"}


def test_float64_is_not_computed_in_float32(tmp_path: pathlib.Path) -> None:
    """tf2onnx casts to float32 where a kernel of ONNX Runtime lacks float64; here a handler of the user does."""

    @tf_op("FusedPadConv2D")
    class Short:
        @classmethod
        def version_1(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            name, dtype, shape = node.output[0], ctx.get_dtype(node.output[0]), ctx.get_shape(node.output[0])
            ctx.remove_node(node.name)
            short = ctx.make_node("Cast", [node.input[0]], attr={"to": 1}).output[0]
            ctx.make_node("Cast", [short], attr={"to": dtype}, outputs=[name], dtypes=[dtype], shapes=[shape])

    with pytest.raises(UnsupportedOpsError, match=r"float32 where TensorFlow has float64"):
        export(
            lambda x: {"y": tf.raw_ops.FusedPadConv2D(input=x, filter=tf.ones([1, 1, 1, 1], x.dtype), **ROUND)},
            tmp_path / "a.pullback",
            inputs=[tf.TensorSpec([1, 4, 4, 1], tf.float64, name="x")],
            batched=False,
        )


def handler(top: int) -> type:
    """A user's handler: cuts ``top`` rows and columns off, the right number is 1."""

    class Glimpse:
        @classmethod
        def version_13(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            name, dtype, shape = node.output[0], ctx.get_dtype(node.output[0]), ctx.get_shape(node.output[0])
            image = node.input[0]
            ctx.remove_node(node.name)
            bounds = {
                "starts": [top, top],
                "ends": [top + 4, top + 4],
                "axes": [1, 2],
            }
            parts = [
                ctx.make_const(f"{key}_of_{name.replace(':', '_')}", np.array(value, np.int64)).output[0]
                for key, value in bounds.items()
            ]
            ctx.make_node("Slice", [image, *parts], outputs=[name], dtypes=[dtype], shapes=[shape])

    return Glimpse


IMAGE = tf.TensorSpec([1, 6, 6, 1], tf.float32, name="x")


def test_a_handler_of_the_user(tmp_path: pathlib.Path) -> None:
    tf_op("ExtractGlimpseV2")(handler(1))
    folder = tmp_path / "a.pullback"
    bundle = export(lambda x: {"y": middle(x)}, folder, ["gradient(y, x)"], inputs=[IMAGE], batched=False)
    assert "ExtractGlimpseV2: converted by tf2onnx" in notes(folder)
    x = np.random.default_rng(1).normal(size=(1, 6, 6, 1)).astype(np.float32)
    expected = np.pad(np.sin(2 * x[:, 1:5, 1:5]), [(0, 0), (1, 1), (1, 1), (0, 0)])
    np.testing.assert_allclose(bundle(x=x).dy_dx, expected, rtol=1e-5, atol=1e-6)


def test_a_wrong_handler_is_refused(tmp_path: pathlib.Path) -> None:
    tf_op("ExtractGlimpseV2")(handler(2))
    with pytest.raises(ParityError):
        export(lambda x: {"y": middle(x)}, tmp_path / "a.pullback", inputs=[IMAGE], batched=False)
    assert not (tmp_path / "a.pullback").exists()


def test_a_handler_that_fails_is_named(tmp_path: pathlib.Path) -> None:
    @tf_op("ExtractGlimpseV2")
    class Failing:
        @classmethod
        def version_1(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            raise KeyError("my own mistake")

    with pytest.raises(UnsupportedOpsError, match=r"ExtractGlimpseV2.*tf2onnx could not convert it.*my own mistake"):
        export(lambda x: {"y": middle(x)}, tmp_path / "a.pullback", inputs=[IMAGE], batched=False)


def test_other_domains_are_not_taken(tmp_path: pathlib.Path) -> None:
    @tf_op("ExtractGlimpseV2")
    class Elsewhere:
        @classmethod
        def version_1(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            node.domain, node.type = "my.domain", "Glimpse"

    with pytest.raises(UnsupportedOpsError, match="outside standard ONNX"):
        export(lambda x: {"y": middle(x)}, tmp_path / "a.pullback", inputs=[IMAGE], batched=False)


def test_what_draws_is_refused_as_ever(tmp_path: pathlib.Path) -> None:
    """tf2onnx would convert it to ``RandomNormal``."""
    with pytest.raises(UnsupportedOpsError, match="it draws random numbers"):
        export(
            lambda x: {"y": x + tf.random.normal([3])},
            tmp_path / "a.pullback",
            inputs=[tf.TensorSpec([3], tf.float32, name="x")],
            batched=False,
        )
