"""A file written piece by piece is, byte for byte, what protobuf writes of the whole model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import helper, numpy_helper
from pullback.manifest import Tolerance
from pullback_export.artifacts import onnx_model
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.graph.serialization import to_files, to_model
from pullback_export.graph.wire import pieces
from pullback_export.lowering.flows.handles import contents
from pullback_export.optimize.pipeline import finish
from pullback_export.sources.opening import open_source

ARRAYS = {
    "none": [],
    "one": [np.arange(12, dtype=np.float32).reshape(3, 4)],
    "long": [np.arange(70_000, dtype=np.float64), np.zeros(200, np.int64)],
    "no elements": [np.zeros((0, 3), np.float32), np.zeros(0, bool)],
    "scalars": [np.array(2.0), np.array(True), np.array(-3, np.int8), np.array(7, np.uint64)],
    "in another order": [np.arange(12.0).reshape(3, 4).T, np.arange(9, dtype=np.int32)[::2]],
}


@pytest.mark.parametrize("name", ARRAYS)
def test_equal_to_the_message(name: str) -> None:
    weights = [(f"weight_{index}", array) for index, array in enumerate(ARRAYS[name])]
    x, y = (helper.make_tensor_value_info(one, onnx.TensorProto.FLOAT, ["B", 3]) for one in "xy")
    graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", [x], [y], value_info=[y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="p", ir_version=8)
    entry = model.metadata_props.add()
    entry.key, entry.value = "key", "value"
    written = b"".join(pieces(model, weights))
    model.graph.initializer.extend(numpy_helper.from_array(array, one) for one, array in weights)
    assert written == model.SerializeToString(deterministic=True)


def lowered() -> tuple[Any, Any]:
    x = keras.Input((5, 8), name="x")
    model = keras.Model(x, keras.layers.LSTM(40)(keras.layers.MultiHeadAttention(2, 4)(x, x)))
    source = open_source(model, None, ["y"], None, False, None)
    traced = trace(Derivatives(source, [parse_request("vjp(y, x)")], "error").functions()[-1])
    return source, traced


def test_equal_to_the_message_of_a_network() -> None:
    source, traced = lowered()
    graph, outputs = onnx_model.lower(traced, source.batched)
    graph.outputs = list(zip(traced.function.outputs, outputs, strict=True))
    finish(graph)
    whole = to_model(graph, 18, {"a": "b"}).SerializeToString(deterministic=True)
    assert b"".join(to_files(graph, 18, {"a": "b"}, "w", None)[0]) == whole


def test_a_wrong_model_is_still_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker sees shapes of weights, and not what is in them."""
    source, traced = lowered()
    graph, outputs = onnx_model.lower(traced, source.batched)
    graph.outputs = list(zip(traced.function.outputs, outputs, strict=True))
    node = next(node for node in graph.nodes if node.op_type == "Einsum" or node.op_type.endswith("MatMul"))
    wrong = graph.constant(np.ones((777, 778), np.float32))
    node.inputs = [node.inputs[0], wrong, *node.inputs[2:]]
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError)):
        to_files(graph, 18, {}, "w", None)


def test_weights_are_not_copied() -> None:
    variable = tf.Variable(np.ones((3, 4), np.float32))
    first, second = (contents(tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=tf.float32)) for _ in range(2))
    assert np.shares_memory(first, second) and not first.flags.writeable
    variable.assign_add(tf.ones((3, 4)))
    assert (first == 1).all(), "training goes on in other memory while this one is held"
    np.testing.assert_array_equal(contents(tf.constant([1 + 2j])), [1 + 2j])
    assert contents(tf.zeros([0, 2], tf.int32)).shape == (0, 2)


def test_a_graph_lets_its_constants_go() -> None:
    """The file of ``build`` holds what it needs of them."""
    source, traced = lowered()
    graph, _ = onnx_model.lower(traced, source.batched)
    held = list(graph._constants.values())
    assert held and all(value.const is not None for value in held)
    graph.forget_constants()
    assert all(value.const is None for value in held)
    content = onnx_model.build(traced, source.batched, 18, Tolerance()).content
    onnx.checker.check_model(content, full_check=True)
