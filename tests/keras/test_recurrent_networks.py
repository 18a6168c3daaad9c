"""Whole recurrent networks: masks from embeddings, no steps at all, Jacobians and Hessians through time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from tests.lowering.case import TOLERANCE, Arg, assert_close, convert, run_onnx
from tests.rotation import in_turn

L = keras.layers
T3 = Arg((2, 5, 3), free=(0, 1))


def exported(function: Callable[..., Any], args: Sequence[Arg], dtypes: Sequence[str]) -> tuple[Any, onnx.ModelProto]:
    """The traced function and its ONNX model, with the free axes that the inputs say."""
    specs = [
        tf.TensorSpec([None if axis in arg.free else size for axis, size in enumerate(arg.shape)], dtype)
        for arg, dtype in zip(args, dtypes, strict=True)
    ]
    concrete = tf.function(lambda *tensors: list(function(*tensors)), autograph=False).get_concrete_function(*specs)
    return concrete, convert(concrete, args, free=True)


def agrees(concrete: Any, model: onnx.ModelProto, arrays: Sequence[np.ndarray[Any, Any]], what: str) -> None:
    expected = [item.numpy() for item in concrete(*map(tf.constant, arrays))]
    for index, (mine, theirs) in enumerate(zip(run_onnx(model, arrays), expected, strict=True)):
        assert_close(mine, theirs, TOLERANCE[theirs.dtype.name], f"{what}: output {index}")


def gradient(function: Callable[..., Any], wrt: int = 0) -> Callable[..., list[Any]]:
    def evaluate(*tensors: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(tensors[wrt])
            y = function(*tensors)
        return [y, tape.gradient(y, tensors[wrt])]

    return evaluate


def _forecaster(dtype: str) -> Any:
    """Two recurrent layers with dropout and normalisation between them."""
    return keras.Sequential(
        [
            keras.Input((None, 3), dtype=dtype),
            L.GRU(4, return_sequences=True, dtype=dtype),
            L.LayerNormalization(dtype=dtype),
            L.Dropout(0.3, dtype=dtype),
            L.Bidirectional(L.LSTM(3, dtype=dtype), dtype=dtype),
            L.Dense(1, dtype=dtype),
        ]
    )


def _tagger(dtype: str) -> Any:
    """Tokens with padding, and a second input that the derivative is taken of."""
    tokens, extra = keras.Input((None,), dtype="int32"), keras.Input((None, 2), dtype=dtype)
    embedded = L.Embedding(7, 3, mask_zero=True, dtype=dtype)(tokens)
    joined = L.Concatenate(dtype=dtype)([embedded, L.Masking(dtype=dtype)(extra)])
    return keras.Model([tokens, extra], L.LSTM(4, return_sequences=True, dtype=dtype)(joined))


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.set_random_seed(5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forecaster(dtype: str) -> None:
    net = _forecaster(dtype)
    concrete, model = exported(gradient(lambda x: net(x, training=False)), (T3,), (dtype,))
    for rows, steps in [(1, 1), (2, 2), (7, 17), (1, 200), (0, 3)]:
        x = np.random.default_rng(steps).normal(size=(rows, steps, 3)).astype(dtype)
        agrees(concrete, model, [x], f"{rows} x {steps}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mask_of_an_embedding(dtype: str) -> None:
    net = _tagger(dtype)
    args = (Arg((2, 5), dtype="int32", free=(0, 1)), Arg((2, 5, 2), free=(0, 1)))
    concrete, model = exported(gradient(lambda n, x: net([n, x], training=False), wrt=1), args, ("int32", dtype))
    rng = np.random.default_rng(1)
    for rows, steps in [(1, 1), (2, 5), (7, 3)]:
        tokens = rng.integers(0, 3, (rows, steps)).astype("int32")
        agrees(concrete, model, [tokens, rng.normal(size=(rows, steps, 2)).astype(dtype)], f"{rows} x {steps}")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("sequences", [True, False])
def test_keras_refuses_no_steps(kind: str, sequences: bool) -> None:
    """There is nothing to agree with for an empty sequence; where that changes, lengths of 0 belong to the rows."""
    layer = getattr(L, kind)(4, return_sequences=sequences)
    layer.build((None, None, 3))
    concrete = tf.function(gradient(layer)).get_concrete_function(tf.TensorSpec([None, None, 3]))
    for call in (concrete, layer):
        with pytest.raises(tf.errors.InvalidArgumentError):
            call(tf.zeros([2, 0, 3]))


@pytest.mark.parametrize("dtype", in_turn("jacobian of all steps", ["float32", "float64"]))
def test_jacobian_of_all_steps(dtype: str) -> None:
    """Every output of every step at once, by ``pfor`` through the backward loop."""
    layer = L.LSTM(2, return_sequences=True, dtype=dtype)
    layer.build((None, None, 3))

    def evaluate(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        return [y, tape.batch_jacobian(y, x)]

    concrete, model = exported(evaluate, (Arg((2, 4, 3), free=(0,)),), (dtype,))
    for rows in (1, 2, 7):
        agrees(concrete, model, [np.random.default_rng(rows).normal(size=(rows, 4, 3)).astype(dtype)], f"{rows} rows")


# Those with gates take TensorFlow a minute.
GATED = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("LSTM", "GRU")]


@pytest.mark.parametrize("kind", ["SimpleRNN", *GATED])
def test_hessian(kind: str) -> None:
    layer = getattr(L, kind)(3, dtype="float64")
    layer.build((None, None, 2))

    def evaluate(x: Any) -> list[Any]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x), 1)
            first = inner.gradient(y, x)
        return [y, first, outer.batch_jacobian(first, x)]

    concrete, model = exported(evaluate, (Arg((2, 4, 2), free=(0,)),), ("float64",))
    for rows in (1, 2, 7):
        agrees(concrete, model, [np.random.default_rng(rows).normal(size=(rows, 4, 2))], f"{rows} rows")


def test_loops_hold_no_weight_gradients() -> None:
    """The backward loop of an LSTM computes what the input's derivative needs, and nothing else."""
    layer = L.LSTM(4)
    layer.build((None, None, 3))
    _, model = exported(gradient(layer), (T3,), ("float32",))
    bodies = [node for graph in _graphs(model.graph) for node in graph.node if node.op_type == "Scan"]
    sizes = [len(attribute.g.node) for node in bodies for attribute in node.attribute if attribute.name == "body"]
    # The cell itself, beside the operator that stands for it, the cell states of few rows, and the way back.
    assert len(sizes) == 3
    assert max(sizes) <= 16, "more than a cell's gates and its one product with the recurrent weights"


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(deeper for item in inner for deeper in _graphs(item))]
