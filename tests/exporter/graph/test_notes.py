"""Nodes of the file say which layer they come from and whether they are value or derivative."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import onnx
import pullback
import pytest
from pullback.manifest import METADATA_FUNCTION, DerivativeSpec, FunctionSpec, TensorSpec, function_to_json
from pullback_export import export
from pullback_export.graph.graph import Graph
from pullback_export.graph.serialization import to_model

SPEC = FunctionSpec(
    "evaluate",
    (TensorSpec("x", "float64", ("B", 3)),),
    (TensorSpec("y", "float64", ("B", 3)), TensorSpec("dy_dx", "float64", ("B", 3))),
    (DerivativeSpec("gradient(y, x)", "gradient", "dy_dx", "y", ("x",)),),
    True,
)


def small_graph() -> Graph:
    """Value and derivative of tanh: they share it."""
    graph = Graph()
    x = graph.input("x", np.dtype(np.float64), (graph.fresh_size("B"), 3))
    graph.origin = "net/bend"
    y = graph.emit("Tanh", [x])
    square = graph.emit("Mul", [y, y])
    graph.origin = "net/" + "deep/" * 60 + "last"
    slope = graph.emit("Neg", [square])
    graph.outputs = (("y", y), ("dy_dx", slope))
    return graph


def test_layer_and_role() -> None:
    model = to_model(small_graph(), 18, {METADATA_FUNCTION: function_to_json(SPEC)})
    notes = {node.op_type: node.doc_string for node in model.graph.node}
    assert notes["Tanh"] == "net/bend: value"  # the derivative needs it too
    assert notes["Mul"] == "net/bend: derivative"
    assert notes["Neg"].endswith("deep/last: derivative") and len(notes["Neg"]) < 150


def test_without_a_specification_there_is_no_role() -> None:
    notes = {node.op_type: node.doc_string for node in to_model(small_graph(), 18, {}).graph.node}
    assert (notes["Tanh"], notes["Mul"]) == ("net/bend", "net/bend")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((5, 4), name="x")
    value = layers.LSTM(3, name="memory")(layers.Dense(4, activation="tanh", name="hidden")(x))
    model = keras.Model(x, layers.Dense(1, name="y")(value), name="net")
    path = tmp_path_factory.mktemp("notes") / "net.pullback"
    export(model, path, ["gradient(y, x)"], formats="onnx")
    first = (path / "evaluate.onnx").read_bytes()
    export(model, path, ["gradient(y, x)"], formats="onnx", overwrite=True)
    assert (path / "evaluate.onnx").read_bytes() == first
    return path


def test_notes_of_an_export(bundle: pathlib.Path) -> None:
    """Every layer occurs as a value, what was differentiated as a derivative too, and no node is without a role."""
    nodes = list(onnx.load(bundle / "evaluate.onnx").graph.node)
    told = [node.doc_string for node in nodes if not node.doc_string.startswith("condition where")]
    assert all(note.endswith(("value", "derivative")) for note in told)
    for layer in ("hidden", "memory", "y"):
        assert any(f"net_1/{layer}" in note and note.endswith("value") for note in told), (layer, told)
    assert any("net_1/hidden" in note and note.endswith("derivative") for note in told)
    bodies = [body for node in nodes for item in node.attribute for body in (item.g,) if body.node]
    assert any(inner.doc_string for body in bodies for inner in body.node)


def test_notes_are_small_and_nothing_else_changes(bundle: pathlib.Path) -> None:
    """Less than 64 bytes a node: the size of a file is its weights'; results of a file without them are the same."""
    model = onnx.load(bundle / "evaluate.onnx")
    size, count = model.ByteSize(), 0
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            count += 1
            if not node.doc_string.startswith("condition where"):
                node.ClearField("doc_string")
            graphs += [item.g for item in node.attribute if item.g.node]
    assert size - model.ByteSize() < 64 * count
    bare = bundle.parent / "bare.onnx"
    bare.write_bytes(model.SerializeToString())
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
    for wanted in (None, ("dy_dx",), ("y",)):
        for left, right in zip(pullback.load(bundle)(x, fetch=wanted), pullback.load(bare)(x, fetch=wanted)):
            np.testing.assert_array_equal(left, right)
