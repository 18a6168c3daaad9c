"""What is known of free sizes while a graph is traced: right for every operator, and worth its while."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.derivatives.plan import Derivatives, trace_function
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.overrides import overrides
from pullback_export.overrides.symbolic_sizes.analysis import Analysis, Axis
from pullback_export.overrides.symbolic_sizes.rules import _RULES, sizes_by_operator
from pullback_export.sources.opening import open_source

X = ((None, None, 4), (None, 4))
# Each is a function of ``x (B, T, 4)`` and ``v (T, 4)``, whose free sizes are B, T and, of ``v``, another T.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "elementwise": lambda x, v: tf.tanh(tf.nn.relu(x) + 1.0) * tf.nn.softmax(x) - tf.cumsum(x, 1),
    "broadcast": lambda x, v: tf.where(x > 0, x * v, tf.reduce_sum(x, 1, keepdims=True)) ** 2,
    "products": lambda x, v: tf.matmul(tf.matmul(x, x, transpose_b=True), x) + tf.matmul(x, tf.eye(4)),
    "reductions": lambda x, v: [tf.reduce_max(x, 0), tf.reduce_mean(x, [1, -1]), tf.reduce_prod(x, [0], True)],
    "orders": lambda x, v: [tf.transpose(x, [2, 0, 1]), x[:, tf.newaxis, ..., 1:], x[0], x[..., ::2, :], x[1:, :1]],
    "more axes": lambda x, v: [
        tf.expand_dims(x, -2),
        tf.squeeze(x[:, :1], [1]),
        tf.stack([x, x], 1),
        tf.unstack(x, 4, 2),
    ],
    "several": lambda x, v: tf.identity_n([v, tf.exp(x)]),
    "joined": lambda x, v: [tf.concat([x, x], 1), tf.split(x, 2, 2), tf.tile(x, [1, 2, 1]), tf.tile(x[:1], [3, 1, 1])],
    "from sizes": lambda x, v: [
        tf.reshape(x, [tf.shape(x)[0], -1]),
        tf.reshape(x, tf.concat([tf.shape(x)[:2], [2, 2]], 0)),
        tf.broadcast_to(x[:1], tf.shape(x)),
        tf.fill(tf.shape(x)[:2], 1.0),
        tf.zeros_like(x)[:, : tf.shape(v)[0]],
    ],
    "picked": lambda x, v: [
        tf.gather(x, [0, 2], axis=-1),
        tf.slice(x, [0, 0, 1], [-1, -1, 2]),
        tf.pad(x, [[0, 0], [1, 2], [0, 0]]),
    ],
    "convolutions": lambda x, v: [
        tf.nn.conv1d(x, tf.ones([3, 4, 4]), 1, "SAME"),
        tf.nn.conv1d(x, tf.ones([3, 4, 4]), 2, "VALID"),
        tf.nn.max_pool2d(x[..., tf.newaxis], 2, 2, "SAME"),
        tf.nn.avg_pool2d(x[:, :, tf.newaxis], 2, 1, "SAME"),
    ],
    "einsum": lambda x, v: [tf.einsum("btc,bsc->bst", x, x), tf.einsum("btc,tc->bc", x, v)],
    "gradients": lambda x, v: tf.gradients(
        tf.tanh(x @ tf.eye(4)) * v + tf.nn.relu(tf.nn.conv1d(x, tf.ones([3, 4, 4]), 1, "SAME")), [x, v]
    ),
}


def traced(function: Callable[..., Any]) -> Any:
    with overrides():
        specs = [tf.TensorSpec(shape, tf.float32, name) for shape, name in zip(X, "xv", strict=True)]
        return trace_function(lambda *items: tf.nest.flatten(function(*items)), specs)


def with_all_results(graph: Any, names: list[str]) -> Any:
    """A function of the inputs of ``graph`` that gives all of the tensors ``names``."""
    definition = graph.as_graph_def()
    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name="all"), [])
    tensor = whole.graph.get_tensor_by_name
    return whole.prune([tensor(f"all/{item.name}") for item in graph.inputs], [tensor(f"all/{name}") for name in names])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_axes_that_are_called_the_same_are_of_one_size_in_every_run(name: str) -> None:
    concrete = traced(FUNCTIONS[name])
    graph = concrete.graph
    analysis = Analysis(sizes_by_operator)
    tensors = [item for op in graph.get_operations() for item in op.outputs if item.shape.rank]
    known = [(item, analysis.of(item)) for item in tensors]
    fetched = with_all_results(graph, [item.name for item in tensors])
    for batch, steps in ((2, 3), (1, 1), (5, 1), (1, 6), (7, 4)):
        rng = np.random.default_rng(0)
        inputs = [tf.constant(rng.normal(size=size), tf.float32) for size in ((batch, steps, 4), (steps, 4))]
        results = fetched(*inputs)
        found: dict[Axis, int] = {}
        for (tensor, sizes), result in zip(known, results, strict=True):
            for size, actual in zip(sizes or (), result.shape, strict=True):
                wanted = found.setdefault(size, actual) if isinstance(size, Axis) else size
                assert wanted == actual, f"{tensor.op.type} {tensor.name}: {sizes} is {result.shape}"


def test_every_rule_is_reached_by_a_function_or_is_one_of_many_alike() -> None:
    reached = {op.type for function in FUNCTIONS.values() for op in traced(function).graph.get_operations()}
    rules = {getattr(rule, "__qualname__", ""): set[str]() for rule in _RULES.values()}
    for op_type, rule in _RULES.items():
        rules[getattr(rule, "__qualname__", "")].add(op_type)
    assert not [name for name, types in rules.items() if not types & reached]


def network(x: Any, count: int) -> Any:
    for _ in range(count):
        mean = tf.reduce_mean(x, -1, keepdims=True)
        x += tf.tanh((x - mean) * tf.math.rsqrt(tf.reduce_mean((x - mean) ** 2, -1, keepdims=True) + 1e-3) @ tf.eye(4))
    return x


def test_a_gradient_reads_no_shape_of_an_inner_tensor() -> None:
    """What reads one makes TensorFlow search back from there, once for each such node: quadratic in the layers."""
    concrete = traced(lambda x, v: tf.gradients(network(x, 6), x))
    operators = concrete.graph.get_operations()
    assert not [op.name for op in operators if op.type == "BroadcastGradientArgs"]
    assert {op.inputs[0].name for op in operators if op.type == "Shape"} <= {item.name for item in concrete.inputs}


def test_a_seed_is_as_large_as_what_it_belongs_to() -> None:
    def function(x: Any) -> Any:
        return {"y": network(x, 3)}

    with overrides():
        source = open_source(function, [tf.TensorSpec([None, 4], tf.float32, "x")], None, False, False, None)
        requests = [parse_request(item) for item in ("vjp(y, x)", "jvp(y, x)", "hvp(y, x)")]
        for one in Derivatives(source, requests, "error").functions():
            types = [op.type for op in trace(one).concrete.graph.get_operations()]
            assert "BroadcastGradientArgs" not in types, one.name


def test_axes_of_different_inputs_may_broadcast() -> None:
    """Nothing says that two inputs have as many rows: either may have one."""
    run = traced(lambda x, v: tf.gradients(x * v, [x, v]))
    for batch, steps, rows in ((2, 3, 1), (2, 1, 5), (3, 4, 4)):
        x, v = tf.ones([batch, steps, 4]), tf.ones([rows, 4])
        with tf.GradientTape() as tape:
            tape.watch([x, v])
            y = x * v
        for actual, wanted in zip(run(x, v), tape.gradient(y, [x, v]), strict=True):
            np.testing.assert_allclose(actual, wanted)


def test_a_loop_whose_variable_grows_exports(tmp_path: pathlib.Path) -> None:
    """Its gradient reads the sizes of each iteration's tensors."""

    def growing(x: Any) -> dict[str, Any]:
        shapes = tf.TensorShape([]), tf.TensorShape([None, 3])
        loop = tf.while_loop(
            lambda i, _: i < 3, lambda i, a: (i + 1, tf.concat([a, tf.sin(x) * 2.0], 0)), (0, x[:0]), shapes
        )
        return {"y": tf.ensure_shape(loop[1], [None, 3])}

    x = np.random.default_rng(3).normal(size=(2, 3)).astype(np.float32)
    inputs = [tf.TensorSpec([None, 3], tf.float32, "x")]
    bundle = export(
        growing, tmp_path / "b", "vjp(y, x)", inputs=inputs, samples={"x": x}, batched=False, formats=("onnx",)
    )
    seed = np.ones((6, 3), np.float32)
    np.testing.assert_allclose(bundle.vjp(x=x, adj_y=seed).adj_x, 6 * np.cos(x), rtol=1e-5)
