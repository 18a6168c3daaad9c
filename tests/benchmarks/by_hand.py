"""A forward pass as one would write it by hand in ONNX, with the operators that do the most at once.

``Gemm``, ``LSTM``, ``GRU``, ``RNN``, ``LayerNormalization``, and ONNX Runtime's ``Attention`` and ``Gelu``. Weights are
those of the Keras model: the answer is compared before the time is taken. Convolutions are not written by hand: ONNX
Runtime fuses them with what follows in any graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.benchmarks.failures import Refused

CONTRIB = "com.microsoft"
Array = np.ndarray[Any, Any]
# ONNX's operator for each cell; where Keras' gates stand in the order of ONNX's.
_CELLS = {"LSTM": ("LSTM", (0, 3, 1, 2)), "GRU": ("GRU", (0, 1, 2)), "SimpleRNN": ("RNN", (0,))}
# Keras' hard sigmoid is relu6(x + 3) / 6.
_HARD = {"activation_alpha": [1 / 6], "activation_beta": [0.5]}


def by_hand(model: Any) -> bytes:
    """The graph of a Keras model from ``x`` to ``y``, with a free batch.

    Raises:
        Refused: it has a layer of another kind.
    """
    pen = _Pen()
    names: dict[int, str] = {id(model.inputs[0]): "x"}
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if kind not in _LAYERS:
            raise Refused(f"no graph by hand for {kind}")
        node = layer._inbound_nodes[-1]  # a Sequential calls its layers again
        # Masks are inputs too, which Keras computes beside the layers; see _masking.
        inputs = [names[id(tensor)] for tensor in node.input_tensors if id(tensor) in names]
        names[id(node.outputs[0])] = _LAYERS[kind](pen, layer, *inputs)
    return pen.finish(model, names[id(model.outputs[0])])


class _Pen:
    """Writes nodes and weights one after the other."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.lengths = ""
        """Of sequences whose end is masked, where there are any."""

    def write(self, operator: str, *inputs: str | Array, results: int = 1, domain: str = "", **attributes: Any) -> str:
        """The name of the last of its results; ``inputs`` are names or weights."""
        names = [item if isinstance(item, str) else self.store(item) for item in inputs]
        place = len(self.nodes)
        outputs = [f"v{place}_{k}" for k in range(results)]
        self.nodes.append(helper.make_node(operator, names, outputs, domain=domain, **attributes))
        return outputs[-1]

    def store(self, array: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def finish(self, model: Any, result: str) -> bytes:
        self.nodes.append(helper.make_node("Identity", [result], ["y"]))
        x, y = (
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["B", *tensor.shape[1:]])
            for name, tensor in (("x", model.inputs[0]), ("y", model.outputs[0]))
        )
        graph = helper.make_graph(self.nodes, "by_hand", [x], [y], self.weights)
        versions = [helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)]
        content: bytes = helper.make_model(graph, opset_imports=versions, ir_version=8).SerializeToString()
        return content


def _weights(layer: Any) -> list[Array]:
    return [np.asarray(weight) for weight in layer.get_weights()]


def _dense(pen: _Pen, layer: Any, x: str) -> str:
    kernel, bias = _weights(layer)
    if len(layer.input.shape) == 2:
        y = pen.write("Gemm", x, kernel, bias)
    else:
        y = pen.write("Add", pen.write("MatMul", x, kernel), bias)
    activation = layer.activation.__name__
    if activation == "linear":
        return y
    if activation == "gelu":
        return pen.write("Gelu", y, domain=CONTRIB)
    return pen.write({"relu": "Relu", "tanh": "Tanh"}[activation], y)


def _add(pen: _Pen, layer: Any, a: str, b: str) -> str:
    return pen.write("Add", a, b)


def _normalization(pen: _Pen, layer: Any, x: str) -> str:
    gamma, beta = _weights(layer)
    return pen.write("LayerNormalization", x, gamma, beta, axis=-1, epsilon=layer.epsilon)


def _attention(pen: _Pen, layer: Any, x: str, *same: str) -> str:
    """Query, key and value of the same rows."""
    if any(other != x for other in same):
        raise Refused("no graph by hand for attention to something else")
    query, at_query, key, at_key, value, at_value, kernel, bias = _weights(layer)
    width = query.shape[0]
    joined = np.concatenate([part.reshape(width, -1) for part in (query, key, value)], axis=1)
    biases = np.concatenate([part.reshape(-1) for part in (at_query, at_key, at_value)])
    hidden = pen.write("Attention", x, joined, biases, domain=CONTRIB, num_heads=query.shape[1])
    return pen.write("Add", pen.write("MatMul", hidden, kernel.reshape(-1, width)), bias)


def _pooling(pen: _Pen, layer: Any, x: str) -> str:
    return pen.write("ReduceMean", x, np.array([1]), keepdims=0)


def _masking(pen: _Pen, layer: Any, x: str) -> str:
    """Rows of zeros are masked, and stand at the end: how many are before them."""
    largest = pen.write("ReduceMax", pen.write("Abs", x), np.array([2]), keepdims=0)
    present = pen.write("Cast", pen.write("Cast", largest, to=onnx.TensorProto.BOOL), to=onnx.TensorProto.INT32)
    pen.lengths = pen.write("ReduceSum", present, np.array([1]), keepdims=0)
    return x


def _recurrent(pen: _Pen, layer: Any, x: str) -> str:
    """Of all states (``return_sequences``) or of the last one; both directions beside each other."""
    both = type(layer).__name__ == "Bidirectional"
    parts = [layer.forward_layer, layer.backward_layer] if both else [layer]
    cell, sequences = parts[0], layer.return_sequences
    operator, _ = _CELLS[type(cell).__name__]
    attributes = {"hidden_size": cell.units, "direction": "bidirectional" if both else "forward"}
    attributes |= {"linear_before_reset": 1} if operator == "GRU" else {}
    attributes |= _activations(operator, cell, len(parts))
    stored = [np.stack(arrays) for arrays in zip(*[recurrent_weights(part) for part in parts], strict=True)]
    rows = pen.write("Transpose", x, perm=[1, 0, 2])
    inputs = [rows, *stored, *([pen.lengths] if pen.lengths else [])]
    y = pen.write(operator, *inputs, results=1 if sequences else 2, **attributes)
    if sequences:  # (steps, directions, batch, units) to (batch, steps, directions * units)
        y = pen.write("Transpose", y, perm=[2, 0, 1, 3])
        return pen.write("Reshape", y, np.array([0, 0, len(parts) * cell.units]))
    y = pen.write("Transpose", y, perm=[1, 0, 2])
    return pen.write("Reshape", y, np.array([0, len(parts) * cell.units]))


def _activations(operator: str, cell: Any, directions: int) -> dict[str, Any]:
    """Of the gates, then of what they scale, for each direction; none where they are ONNX's own."""
    gates, scaled = getattr(cell, "recurrent_activation", None), cell.activation.__name__
    hard = gates is not None and gates.__name__ == "hard_sigmoid"
    if not hard and scaled == "tanh":
        return {}
    names = {"LSTM": ["Sigmoid", scaled.capitalize(), scaled.capitalize()], "GRU": ["Sigmoid", scaled.capitalize()]}
    chosen = names.get(operator, [scaled.capitalize()])
    if hard:
        return {
            "activations": ["HardSigmoid", *chosen[1:]] * directions,
            **{k: v * directions for k, v in _HARD.items()},
        }
    return {"activations": chosen * directions}


def recurrent_weights(layer: Any) -> tuple[Array, Array, Array]:
    """As ONNX stores them for one direction: of the inputs, of the states, and both biases one after the other."""
    kernel, recurrent, bias = _weights(layer)
    _, order = _CELLS[type(layer).__name__]

    def gates(array: Array) -> Array:
        """Gates are blocks of the last axis."""
        return np.concatenate([np.split(array, len(order), axis=-1)[place] for place in order], axis=-1)

    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return gates(kernel).T, gates(recurrent).T, gates(both).reshape(-1)


_LAYERS: dict[str, Callable[..., str]] = {
    "Dense": _dense,
    "Add": _add,
    "LayerNormalization": _normalization,
    "MultiHeadAttention": _attention,
    "GlobalAveragePooling1D": _pooling,
    "Masking": _masking,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "SimpleRNN": _recurrent,
    "Bidirectional": _recurrent,
}
