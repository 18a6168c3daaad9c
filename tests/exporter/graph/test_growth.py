"""What an export costs grows as the network does: counted in nodes, sizes and calls, not in seconds."""

from __future__ import annotations

import cProfile
import pstats
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from pullback_export.artifacts import onnx_model
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.graph.dims import Shape
from pullback_export.graph.serialization import to_model
from pullback_export.optimize.pipeline import finish
from pullback_export.sources.opening import open_source

from tests.rotation import in_turn

FEW, MANY = 4, 16
OURS = "pullback_export"


def dense(x: Any, count: int) -> Any:
    """Residual blocks with gelu and a normalisation over the last axis."""
    for _ in range(count):
        hidden = tf.nn.gelu(x @ tf.eye(8) + 1.0)
        mean = tf.reduce_mean(hidden, -1, keepdims=True)
        x += (hidden - mean) * tf.math.rsqrt(tf.reduce_mean((hidden - mean) ** 2, -1, keepdims=True) + 1e-3)
    return x


def convolutions(x: Any, count: int) -> Any:
    """Residual blocks with a gate, on pictures of free size."""
    for _ in range(count):
        gate = tf.sigmoid(tf.reduce_mean(x, [1, 2], keepdims=True))
        x += tf.nn.relu6(tf.nn.conv2d(x, tf.ones([3, 3, 4, 4]), 1, "SAME")) * gate
    return tf.reduce_mean(x, [1, 2])


def strided(x: Any, count: int) -> Any:
    """Every block halves a free size and repeats it: sizes that follow from sizes, as deep as the network."""
    for _ in range(count):
        x = tf.repeat(tf.tanh(tf.nn.conv1d(x, tf.ones([3, 4, 4]) / 12, 2, "SAME")), 2, axis=1)
    return tf.reduce_mean(x, 1)


ROWS = {
    "dense": (dense, [None, 8], "jacobian(y, x)", None),
    "dense, whole tensor": (dense, [None, 8], "vjp(y, x)", False),
    "convolutions, whole tensor": (convolutions, [None, None, None, 4], "vjp(y, x)", False),
    "sizes from sizes": (strided, [None, None, 4], "vjp(y, x)", False),
}


def cost(network: Any, shape: list[int | None], request: str, batched: bool | None, count: int) -> tuple[int, int]:
    """How many nodes the files have, and how many calls of our functions it took to write them."""
    function = lambda x: {"y": network(x, count)}  # noqa: E731
    source = open_source(function, [tf.TensorSpec(shape, tf.float32, name="x")], None, batched, False, None)
    traced = [trace(item) for item in Derivatives(source, [parse_request(request)], "error").functions()]
    profile = cProfile.Profile()
    nodes, owners = 0, dict[str, Shape]()
    for one in traced:
        profile.enable()
        graph, values = onnx_model.lower(one, source.batched, "B", None, owners)
        owners |= {name: value.dims for name, value in zip(one.function.outputs, values, strict=True)}
        graph.outputs = list(zip(one.function.outputs, values, strict=True))
        finish(graph)
        model = to_model(graph, 18, {})
        profile.disable()
        onnx.checker.check_model(model, full_check=True)
        nodes += len(model.graph.node)
    stats: Any = pstats.Stats(profile)
    return nodes, sum(calls for (path, _, _), (_, calls, *_) in stats.stats.items() if OURS in path)


@pytest.mark.parametrize("row", in_turn("growth", list(ROWS), 2))
def test_nodes_and_calls_are_proportional_to_layers(row: str) -> None:
    network, shape, request, batched = ROWS[row]
    (few_nodes, few_calls), (middle_nodes, middle_calls), (many_nodes, many_calls) = (
        cost(network, shape, request, batched, count) for count in (FEW, (FEW + MANY) // 2, MANY)
    )
    # What a further layer costs is the same in the second half as in the first.
    assert many_nodes - middle_nodes <= 1.02 * (middle_nodes - few_nodes)
    assert many_calls - middle_calls <= 1.1 * (middle_calls - few_calls)
    assert np.isfinite(many_calls)
