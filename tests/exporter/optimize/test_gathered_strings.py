"""Strings that are gathered: ONNX Runtime's operator is wrong where an index picks more than one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from pullback_export.graph.dims import Dim
from pullback_export.graph.serialization import to_model
from pullback_export.optimize.pipeline import finish, new_graph

STRINGS = np.array([[["a", "b", ""], ["日本", "d", "e\0"]], [["f", "g", "h"], ["i", "jj", "k"]]], object)


def run(model: onnx.ModelProto) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": STRINGS})[0])


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("index", [[0, 1], [[1], [0]], 1, [-1]], ids=str)
def test_rows_of_strings(index: Any, axis: int, free: bool) -> None:
    graph = new_graph()
    shape = tuple(Dim.atom(f"n{size}") for size in "abc") if free else STRINGS.shape
    x = graph.input("x", np.dtype(object), shape)
    graph.outputs = [("y", graph.emit("Gather", [x, graph.constant(index, np.int64)], {"axis": axis}))]
    finish(graph)
    model = to_model(graph, 18, {})
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(run(model), np.take(STRINGS, index, axis))


def test_the_defect_is_still_there() -> None:
    """Once this fails, ``one_by_one`` is needed for older versions only."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gather", ["x", "at"], ["y"], axis=1)],
        "strings",
        [value("x", onnx.TensorProto.STRING, [2, 2, 3])],
        [value("y", onnx.TensorProto.STRING, [2, 2, 3])],
        [onnx.numpy_helper.from_array(np.array([1, 0]), "at")],
    )
    found = run(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    right = STRINGS[:, ::-1]
    assert (found == right)[..., 0].all() and not (found == right)[..., 1:].all()
