"""Adjoints of strided convolutions with one kernel per channel: the same numbers as one ``ConvTranspose``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from pullback_export.graph.dims import Dim
from pullback_export.graph.serialization import to_model
from pullback_export.optimize import pipeline
from pullback_export.optimize.pipeline import finish, new_graph

CHANNELS = 8

# Sizes of the convolution's input, kernel, strides, and pads before each axis.
GEOMETRIES: list[tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[int]]] = [
    ((14, 14), (3, 3), (2, 2), (0, 0)),
    ((14, 14), (3, 3), (2, 2), (1, 1)),
    ((12, 10), (5, 5), (2, 2), (1, 2)),
    ((12, 10), (2, 2), (2, 2), (0, 0)),
    ((12, 10), (4, 7), (2, 2), (1, 3)),
    ((12, 10), (3, 5), (1, 2), (1, 1)),
    ((12, 10), (3, 5), (2, 1), (1, 1)),
    ((12, 9), (1, 5), (1, 3), (0, 0)),
    ((16, 3), (5, 1), (4, 1), (0, 0)),
    ((16,), (5,), (2,), (1,)),
    ((4, 6, 5), (3, 3, 1), (2, 2, 1), (0, 1, 0)),
]


def adjoint(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], first: Sequence[int], channels: int = CHANNELS
) -> onnx.ModelProto:
    """``ConvTranspose`` to ``sizes``, whose last pads are what is left over."""
    results = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    reach = [(count - 1) * step + taps for count, step, taps in zip(results, strides, kernel, strict=True)]
    spare = [size + before - length for size, before, length in zip(sizes, first, reach, strict=True)]
    graph = new_graph()
    x = graph.input("x", np.dtype(np.float32), (Dim.atom("B"), channels, *results))
    weights = np.random.default_rng(1).normal(size=(channels, 1, *kernel)).astype(np.float32)
    attributes: dict[str, Any] = {
        "group": channels,
        "strides": list(strides),
        "pads": [*first, *(max(-more, 0) for more in spare)],
        "output_padding": [max(more, 0) for more in spare],
    }
    y = graph.emit("ConvTranspose", [x, graph.constant(weights)], attributes)
    assert y.dims[2:] == tuple(sizes)
    graph.outputs = [("y", y)]
    finish(graph)
    return to_model(graph, 18, {})


def types(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def evaluate(model: onnx.ModelProto, x: np.ndarray) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_phases_are_the_adjoint(geometry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adjoint(*geometry)
    assert types(model)["Conv"] == np.prod(geometry[2])
    assert types(model)["ConvTranspose"] == 0
    monkeypatch.setattr(pipeline, "FINAL", ())
    plain = adjoint(*geometry)
    assert types(plain) == {"ConvTranspose": 1}
    sizes = [-(-size // stride) for size, stride in zip(geometry[0], geometry[2], strict=True)]
    for rows in (0, 1, 2, 7):
        x = np.random.default_rng(rows).normal(size=(rows, CHANNELS, *sizes)).astype(np.float32)
        actual, expected = evaluate(model, x), evaluate(plain, x)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * np.abs(expected).max(initial=1))


@pytest.mark.parametrize(
    ("geometry", "channels"),
    [
        (((13, 14), (3, 3), (2, 2), (1, 1)), CHANNELS),
        (((14, 14), (1, 3), (2, 2), (0, 1)), CHANNELS),
        (((15, 15), (3, 3), (3, 3), (0, 0)), CHANNELS),
        (((14, 14), (3, 3), (1, 1), (1, 1)), CHANNELS),
        (((14, 14), (3, 3), (2, 2), (1, 1)), 6),
    ],
    ids=["phases of two sizes", "a phase without taps", "many phases", "no stride", "no whole block of channels"],
)
def test_others_stay(geometry: Any, channels: int) -> None:
    assert types(adjoint(*geometry, channels)) == {"ConvTranspose": 1}
