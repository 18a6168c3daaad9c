"""What the exported graphs are made of: counted, not timed, so that a lost rewrite shows in every run.

The numbers are what the graphs have today. A change that lowers one lowers its bound here too; one that raises it
says why.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from pullback.manifest import Tolerance
from pullback.storage.onnx_cut import CONDITION_OF_SOME, cut
from pullback.storage.onnx_file import screen
from pullback_export.artifacts import onnx_model
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import Traced, trace
from pullback_export.graph.dims import Dim
from pullback_export.graph.graph import Graph
from pullback_export.graph.serialization import to_model
from pullback_export.graph.values import Value
from pullback_export.optimize import pipeline
from pullback_export.optimize.pipeline import finish, new_graph
from pullback_export.sources.opening import open_source

L = keras.layers


def mlp(inputs: int, *widths: int, activation: str = "relu") -> Any:
    layers = [L.Dense(width, activation, bias_initializer="random_normal") for width in widths[:-1]]
    return keras.Sequential([keras.Input((inputs,), name="x"), *layers, L.Dense(widths[-1])])


def cnn() -> Any:
    """Convolutions of all kinds with BatchNormalization, a residual block, a join, both poolings."""
    x = keras.Input((16, 16, 3), name="x")

    def block(value: Any, layer: Any) -> Any:
        return L.ReLU()(L.BatchNormalization(**statistics)(layer(value)))

    statistics = {
        "beta_initializer": "random_normal",
        "moving_mean_initializer": "random_normal",
        "gamma_initializer": keras.initializers.RandomUniform(0.5, 1.5),
        "moving_variance_initializer": keras.initializers.RandomUniform(0.5, 1.5),
    }
    hidden = block(x, L.Conv2D(8, 3, strides=2, padding="same", use_bias=False))
    hidden = L.MaxPooling2D(2)(hidden)
    hidden = L.Add()([hidden, block(hidden, L.Conv2D(8, 3, padding="same", use_bias=False))])
    hidden = L.Concatenate()([hidden, block(hidden, L.DepthwiseConv2D(3, padding="same", use_bias=False))])
    hidden = block(hidden, L.Conv2D(8, 1, use_bias=False))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(hidden)))


def transformer() -> Any:
    """One encoder layer, 6 tokens of width 8."""
    x = keras.Input((6, 8), name="x")
    normal = L.LayerNormalization()(x)
    hidden = L.Add()([x, L.MultiHeadAttention(2, 4)(normal, normal)])
    normal = L.LayerNormalization()(hidden)
    hidden = L.Add()([hidden, L.Dense(8)(L.Dense(16, "gelu")(normal))])
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(hidden)))


def lstm() -> Any:
    x = keras.Input((5, 3), name="x")
    return keras.Model(x, L.Dense(1)(L.LSTM(4)(x)))


@dataclasses.dataclass(frozen=True)
class Bound:
    """At most so many nodes, and of each type so many; ``size``: bytes of the whole file, weights among them."""

    name: str
    build: Callable[[], Any]
    request: str
    nodes: int
    size: int
    types: dict[str, int] = dataclasses.field(default_factory=dict)


# Its input and its derivative are channels last; ``MaxPool`` scatters into zeros of a computed size.
COUNTS_OF_CNN = {"Cast": 4, "Transpose": 2, "MaxPool": 1, "Conv": 7, "Shape": 1, "Expand": 1}
# An LSTM's gates are computed once more after the loop rather than collected in it: more nodes, less time.
# The loop stands beside the operator, for many rows and for what the operator cannot compute; the condition asks sizes.
# The input is turned around for the operator, and in each branch with a column of ones, by which biases are weights.
# Zeros that the loop starts with are made in its branch, and for the backward loop once more: only one of them runs.
COUNTS_OF_LSTM = {"LSTM": 1, "If": 1, "Scan": 3, "Transpose": 4, "Shape": 3, "Expand": 3, "Identity": 3, "Cast": 1}
# A product with a single column costs a reshape, and takes a third of the time. The Hessian's weights are turned around
# when its session opens. Of a product, what a call computes is counted; the file names the value and the gradient too.
BOUNDS = [
    Bound("bowl", lambda: mlp(1, 64, 32, 32, 1), "gradient(y, x)", 24, 15_353, {"Cast": 3}),
    Bound("surrogate", lambda: mlp(10, 256, 256, 256, 1), "gradient(y, x)", 23, 541_689, {"Cast": 3}),
    Bound("jacobian", lambda: mlp(3, 32, 32, 4, activation="tanh"), "jacobian(y, x)", 18, 7346, {"Transpose": 1}),
    Bound("hessian", lambda: mlp(10, 64, 64, 1, activation="tanh"), "hessian(y, x)", 33, 28_115, {"Transpose": 2}),
    Bound("hvp", lambda: mlp(10, 64, 64, 1, activation="tanh"), "hvp(y, x)", 24, 22_065),
    Bound("cnn", cnn, "gradient(y, x)", 50, 12_810, COUNTS_OF_CNN),
    Bound("transformer", transformer, "gradient(y, x)", 105, 10_900, {"Transpose": 12, "Where": 2}),
    Bound("lstm", lstm, "gradient(y, x)", 90, 10_359, COUNTS_OF_LSTM),
]
# Nothing that follows from sizes is computed when the graph runs, unless a bound says so.
NONE = ("Cast", "Transpose", "Expand", "Shape", "Where", "Identity")


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.name)
def test_graph_is_as_small_as_it_was(bound: Bound) -> None:
    keras.utils.set_random_seed(1)
    network = bound.build()
    model = exported(network, bound.request)
    found = types_of(model.graph)
    allowed = {**dict.fromkeys(NONE, 0), **bound.types}
    assert {name: found[name] for name in allowed if found[name] > allowed[name]} == {}
    assert found.total() <= bound.nodes
    assert model.ByteSize() <= bound.size


def test_large_weights_are_stored_once() -> None:
    """Beyond 4096 numbers; small kernels are turned around when the model is exported, and stored both ways."""
    keras.utils.set_random_seed(1)
    x = keras.Input((4, 4, 40), name="x")
    hidden = L.Conv2D(32, 3, activation="relu")(L.BatchNormalization()(L.Conv2D(40, 3, padding="same")(x)))
    hidden = L.Dense(80, activation="relu")(L.Dense(80, activation="relu")(L.Flatten()(hidden)))
    model = exported(keras.Model(x, L.Dense(1)(hidden)), "gradient(y, x)")
    arrays = [onnx.numpy_helper.to_array(item) for item in model.graph.initializer]
    large = [np.sort(array.ravel()).tobytes() for array in arrays if array.size > 4096]
    assert len(large) == len(set(large)) == 4


def exported(network: Any, *requests: str) -> onnx.ModelProto:
    """What a call computes that fetches nothing: of the only function that has a seed, else of ``evaluate``."""
    return written(*graph_of(network, *requests))


def graph_of(network: Any, *requests: str) -> tuple[Traced, bool]:
    """TensorFlow's graph of that function, and whether it has a batch axis."""
    source = open_source(network, None, ["y"], None, False)
    functions = Derivatives(source, [parse_request(item) for item in requests], "error").functions()
    return trace(functions[-1] if len(functions) > 1 else functions[0]), source.batched


def written(traced: Traced, batched: bool) -> onnx.ModelProto:
    """The graph as today's rewrites make it."""
    built = onnx_model.build(traced, batched, 18, Tolerance())
    default = built.spec.default_outputs
    part = len(default) < len(built.spec.outputs)
    name = traced.function.name
    model = onnx.load_from_string(cut(built.content, frozenset(default), name) if part else built.content)
    _without_notes(model.graph)
    return model


def _without_notes(graph: onnx.GraphProto) -> None:
    """Bounds of size are of graphs, not of what nodes say about themselves (tests/exporter/graph/test_notes.py)."""
    for node in graph.node:
        if not node.doc_string.startswith(CONDITION_OF_SOME):  # that one is no note: cutting a file reads it
            node.ClearField("doc_string")
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _without_notes(attribute.g)


def types_of(graph: onnx.GraphProto) -> Counter[str]:
    """Nodes by type, those of loops and branches too."""
    found: Counter[str] = Counter()
    for node in graph.node:
        found[node.op_type] += 1
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += types_of(attribute.g)
    return found


B = Dim.atom("B")
Rewrite = Callable[[Graph, Value, Value], Value]


def constant(graph: Graph, *shape: int, number: float = 3.0) -> Value:
    """Different numbers, none of them a power of two."""
    return graph.constant(number + 0.1 * np.arange(np.prod(shape)).reshape(shape), np.float32)


def transposed(graph: Graph, value: Value, *perm: int) -> Value:
    return graph.emit("Transpose", [value], {"perm": list(perm)})


def sinks_through_elementwise(graph: Graph, x: Value, y: Value) -> Value:
    first = transposed(graph, x, 0, 2, 3, 1)
    return transposed(graph, graph.emit("Relu", [first * constant(graph, 3) + constant(graph, 3)]), 0, 3, 1, 2)


def sinks_through_two(graph: Graph, x: Value, y: Value) -> Value:
    mask = graph.emit("Cast", [transposed(graph, x, 0, 2, 3, 1) > 0.5], {"to": np.dtype(np.float32)})
    return transposed(graph, mask * transposed(graph, y, 0, 2, 3, 1), 0, 3, 1, 2)


def sinks_through_reduction(graph: Graph, x: Value, y: Value) -> Value:
    return graph.emit("ReduceSum", [transposed(graph, x, 0, 2, 3, 1), graph.constant([1, 2])], {"keepdims": 0})


def sinks_through_pad(graph: Graph, x: Value, y: Value) -> Value:
    padded = graph.emit("Pad", [transposed(graph, x, 0, 2, 3, 1), graph.constant([0, 1, 0, 0, 0, 2, 3, 0])])
    return transposed(graph, padded, 0, 3, 1, 2)


def sinks_through_join_and_slice(graph: Graph, x: Value, y: Value) -> Value:
    joined = graph.emit("Concat", [transposed(graph, x, 0, 2, 3, 1), transposed(graph, y, 0, 2, 3, 1)], {"axis": -1})
    part = graph.emit("Slice", [joined, *map(graph.constant, ([1], [4], [3], [1]))])
    return transposed(graph, part, 0, 3, 1, 2)


def reshape_sinks(graph: Graph, x: Value, y: Value) -> Value:
    flat = [graph.emit("Reshape", [value, graph.constant([0, 60])]) for value in (x, y)]
    return graph.emit("Reshape", [graph.emit("Tanh", [flat[0] * flat[1]]) + 3.0, graph.constant([0, 3, 4, 5])])


def leading_one_is_dropped(graph: Graph, x: Value, y: Value) -> Value:
    return graph.emit("Reshape", [x, graph.constant([1, -1, 3, 4, 5])]) * constant(graph, 7, 1, 1, 1, 5)


def expansion_is_dropped(graph: Graph, x: Value, y: Value) -> Value:
    row = graph.emit("Expand", [constant(graph, 3, 1, 4, 5), graph.sizes_value((3, B, 4, 5))])
    return graph.emit("Reshape", [row, graph.sizes_value((3, B, 1, 4, 5))]) * graph.emit("Relu", [x])


def remainder_is_taken_before_the_expansion(graph: Graph, x: Value, y: Value) -> Value:
    """Of all operators that broadcast, one that has an attribute."""
    column = graph.emit("Relu", [graph.emit("ReduceMax", [x, graph.constant([3])], {"keepdims": 1})]) + 3.0
    wide = graph.emit("Expand", [column, graph.sizes_value((B, 3, 4, 5))])
    return graph.emit("Mod", [wide, graph.constant(2.0, np.float32)], {"fmod": 1}) * y


def minus_joins(graph: Graph, x: Value, y: Value) -> Value:
    return (-x) + y


def minus_joins_factor(graph: Graph, x: Value, y: Value) -> Value:
    return -((-y) * constant(graph, 5))


def power_of_two_joins(graph: Graph, x: Value, y: Value) -> Value:
    return (x * 2.0) * constant(graph, 5) / 4.0


def channel_factor_joins_kernel(graph: Graph, x: Value, y: Value) -> Value:
    return graph.emit("Conv", [x * constant(graph, 3, 1, 1), constant(graph, 2, 3, 1, 1)])


def channel_factor_joins_transposed_kernel(graph: Graph, x: Value, y: Value) -> Value:
    return graph.emit("ConvTranspose", [x * constant(graph, 3, 1, 1), constant(graph, 3, 2, 1, 1)], {"strides": [2, 2]})


def mask_of_relu6_compares_once(graph: Graph, x: Value, y: Value) -> Value:
    kept = graph.emit("Clip", [x, *map(graph.constant, (np.float32(0), np.float32(0.5)))])
    return y * graph.emit("Cast", [(kept > 0.0) & (kept < 0.5)], {"to": np.dtype(np.float32)})


def pools_once(graph: Graph, x: Value, y: Value) -> Value:
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    largest = graph.emit("MaxPool", [x], pool)
    _, places = graph.emit_many("MaxPool", [x], pool, 2)
    return largest * graph.emit("Cast", [places], {"to": np.dtype(np.float32)})


def only_step_is_the_list(graph: Graph, x: Value, y: Value) -> Value:
    steps = graph.emit("Reshape", [x, graph.constant([1, -1, 3, 4, 5])])
    return graph.emit("Gather", [steps, graph.constant(-1, np.int64)], {"axis": 0}) * y


REWRITES: Sequence[tuple[Rewrite, dict[str, int]]] = [
    (sinks_through_elementwise, {"Mul": 1, "Add": 1, "Relu": 1}),
    (sinks_through_two, {"Greater": 1, "Cast": 1, "Mul": 1}),
    (sinks_through_reduction, {"ReduceSum": 1}),
    (sinks_through_pad, {"Pad": 1}),
    (sinks_through_join_and_slice, {"Concat": 1, "Slice": 1}),
    (reshape_sinks, {"Mul": 1, "Tanh": 1, "Add": 1}),
    (leading_one_is_dropped, {"Mul": 1}),
    (expansion_is_dropped, {"Relu": 1, "Mul": 1}),
    (remainder_is_taken_before_the_expansion, {"ReduceMax": 1, "Relu": 1, "Add": 1, "Mod": 1, "Mul": 1}),
    (minus_joins, {"Sub": 1}),
    (minus_joins_factor, {"Mul": 1}),
    (power_of_two_joins, {"Mul": 1}),
    (channel_factor_joins_kernel, {"Conv": 1}),
    (channel_factor_joins_transposed_kernel, {"ConvTranspose": 1}),
    (mask_of_relu6_compares_once, {"Clip": 1, "Cast": 2, "Less": 1, "And": 1, "Mul": 1}),
    (pools_once, {"MaxPool": 1, "Cast": 1, "Mul": 1}),
    (only_step_is_the_list, {"Mul": 1}),
]


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize(("rewrite", "expected"), REWRITES, ids=lambda item: getattr(item, "__name__", ""))
def test_rewrite(rewrite: Rewrite, expected: dict[str, int], rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes that are left, and the same numbers as without any rewrite, also for no rows."""
    model = built(rewrite)
    assert types_of(model.graph) == expected
    monkeypatch.setattr(pipeline, "LOCAL", ())
    plain = built(rewrite)
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(rows, 3, 4, 5)).astype(np.float32) for name in "xy"}
    actual, reference = (run(item, inputs) for item in (model, plain))
    assert actual.shape == reference.shape
    np.testing.assert_allclose(actual, reference, rtol=1e-5, atol=1e-5)


def rows_of(graph: Graph, value: Value) -> Value:
    return graph.emit("Reshape", [value, graph.constant([-1, 5])])


def column_factor_joins_weights(graph: Graph, x: Value, y: Value) -> Value:
    return (rows_of(graph, x) * constant(graph, 5)) @ constant(graph, 5, 4)


def column_factor_joins_transposed_weights(graph: Graph, x: Value, y: Value) -> Value:
    return graph.emit("Gemm", [constant(graph, 5) * rows_of(graph, x), constant(graph, 4, 5)], {"transB": 1})


def result_factor_joins_weights(graph: Graph, x: Value, y: Value) -> Value:
    return (rows_of(graph, x) @ constant(graph, 5, 4)) * constant(graph, 1, 4)


def number_joins_weights_across_a_product(graph: Graph, x: Value, y: Value) -> Value:
    both = rows_of(graph, y) @ constant(graph, 5, 5)
    return (both * -3.0) * graph.emit("Gemm", [rows_of(graph, x), constant(graph, 5, 5)], {"transB": 1}) + both


def number_does_not_join_a_product_that_others_read(graph: Graph, x: Value, y: Value) -> Value:
    z = rows_of(graph, x) @ constant(graph, 5, 4)
    return z * 3.0 + z


def each_seed_has_its_weights(graph: Graph, x: Value, y: Value) -> Value:
    seeds = rows_of(graph, x) * constant(graph, 7, 1, 5)
    return rows_of(graph, seeds) @ constant(graph, 5, 4)


def equal_numbers_join_once_each(graph: Graph, x: Value, y: Value) -> Value:
    z = rows_of(graph, x) @ constant(graph, 5, 4)
    return (z * 3.0) * ((rows_of(graph, y) @ constant(graph, 5, 4)) * 3.0) * (z * 3.0)


def numbers_of_a_product_join(graph: Graph, x: Value, y: Value) -> Value:
    return (x * 0.3) * (y * constant(graph, 5))


def seeds_leave_the_sum(graph: Graph, x: Value, y: Value) -> Value:
    h, d = graph.emit("Tanh", [rows_of(graph, x)]), rows_of(graph, y)
    g = graph.emit("Exp", [rows_of(graph, x) * constant(graph, 7, 1, 5, number=0.1)])
    total = (h * constant(graph, 7, 1, 5, number=-2.0) + g) * d
    return graph.emit("Gemm", [rows_of(graph, total), constant(graph, 3, 5)], {"transB": 1})


def huge_factor_stays_outside(graph: Graph, x: Value, y: Value) -> Value:
    """Its product with the weights would overflow, that with the small ``x`` does not."""
    return ((rows_of(graph, x) * 1e-30) * constant(graph, 5, number=1e30)) @ constant(graph, 5, 4, number=1e20)


def single_column_is_a_row(graph: Graph, x: Value, y: Value) -> Value:
    return rows_of(graph, x) @ constant(graph, 5, 1) + 0.5


def single_column_of_transposed_weights_is_a_row(graph: Graph, x: Value, y: Value) -> Value:
    return graph.emit("Gemm", [rows_of(graph, x), constant(graph, 1, 5)], {"transB": 1, "alpha": 0.5})


def sum_joins_product(graph: Graph, x: Value, y: Value) -> Value:
    return rows_of(graph, x) @ constant(graph, 5, 5) + graph.emit("Tanh", [rows_of(graph, y)])


def common_factor_leaves_the_sum(graph: Graph, x: Value, y: Value) -> Value:
    """As in the derivative of gelu: the numbers come together in front of the sum."""
    square = y * y
    bell = graph.emit("Exp", [graph.emit("Neg", [square])])
    return x * y * 4.0 * bell + x * graph.emit("Erf", [y]) * 0.5


def common_factor_of_unbounded_products_stays(graph: Graph, x: Value, y: Value) -> Value:
    """``x * (y * exp(y) + ...)`` may overflow where ``x * y * exp(y)`` did not."""
    return x * y * graph.emit("Exp", [y]) + x * graph.emit("Erf", [y])


def known_product_takes_the_place_of_two(graph: Graph, x: Value, y: Value) -> Value:
    """As in the derivative of swish, whose value is there anyway."""
    gate = graph.emit("Sigmoid", [y])
    value = gate * y
    return graph.emit("Sum", [value, gate * (1.0 + y * (1.0 - gate))])


def crop_joins_transposed_convolution(graph: Graph, x: Value, y: Value) -> Value:
    attributes = {"strides": [2, 2], "pads": [0, 1, 0, 0], "output_padding": [1, 0]}
    whole = graph.emit("ConvTranspose", [x, constant(graph, 3, 2, 3, 3)], attributes)
    return graph.emit("Slice", [whole, *map(graph.constant, ([1, 0], [-2, 2**62], [2, 3]))])


def padded_convolution_of_spread_places_stays(graph: Graph, x: Value, y: Value) -> Value:
    """Padding and strides do not change places."""
    attributes = {"strides": [2, 2], "output_padding": [1, 0], "pads": [0, 0, 0, 0]}
    spread = graph.emit("ConvTranspose", [x, constant(graph, 3, 2, 1, 1)], attributes)
    return graph.emit("Conv", [spread, constant(graph, 4, 2, 1, 1)], {"pads": [1, 1, 1, 1]})


def factor_passes_a_mask_to_the_convolution(graph: Graph, x: Value, y: Value) -> Value:
    mask = graph.emit("Cast", [y > 0.0], {"to": np.dtype(np.float32)})
    return graph.emit("Conv", [x, constant(graph, 3, 3, 1, 1)]) * mask * constant(graph, 1, 3, 1, 1)


def joined_channels_are_normalised_by_a_convolution(graph: Graph, x: Value, y: Value) -> Value:
    joined = graph.emit("Concat", [x, y] * 8, {"axis": 1})
    return graph.emit("Relu", [joined * constant(graph, 1, 48, 1, 1) + constant(graph, 1, 48, 1, 1, number=-7.0)])


FINAL: Sequence[tuple[Rewrite, dict[str, int]]] = [
    (column_factor_joins_weights, {"Reshape": 1, "MatMul": 1}),
    (column_factor_joins_transposed_weights, {"Reshape": 1, "Gemm": 1}),
    (result_factor_joins_weights, {"Reshape": 1, "MatMul": 1}),
    (number_joins_weights_across_a_product, {"Reshape": 2, "MatMul": 1, "Gemm": 1, "Mul": 1, "Add": 1}),
    (number_does_not_join_a_product_that_others_read, {"Reshape": 1, "MatMul": 1, "Mul": 1, "Add": 1}),
    (each_seed_has_its_weights, {"Reshape": 2, "MatMul": 1}),
    (equal_numbers_join_once_each, {"Reshape": 2, "MatMul": 2, "Mul": 2}),
    (numbers_of_a_product_join, {"Mul": 2}),
    (seeds_leave_the_sum, {"Reshape": 5, "Tanh": 1, "Exp": 1, "Mul": 3, "MatMul": 1, "Gemm": 1}),
    (huge_factor_stays_outside, {"Reshape": 1, "Mul": 2, "MatMul": 1}),
    (single_column_is_a_row, {"Reshape": 2, "Gemm": 1}),
    (single_column_of_transposed_weights_is_a_row, {"Reshape": 2, "Gemm": 1}),
    (sum_joins_product, {"Reshape": 2, "Tanh": 1, "Gemm": 1}),
    (common_factor_leaves_the_sum, {"Mul": 5, "Neg": 1, "Exp": 1, "Erf": 1, "Add": 1}),
    (common_factor_of_unbounded_products_stays, {"Mul": 3, "Exp": 1, "Erf": 1, "Add": 1}),
    (known_product_takes_the_place_of_two, {"Sigmoid": 1, "Sub": 1, "Mul": 2, "Add": 1, "Sum": 1}),
    (crop_joins_transposed_convolution, {"ConvTranspose": 1}),
    (padded_convolution_of_spread_places_stays, {"ConvTranspose": 1, "Conv": 1}),
    (factor_passes_a_mask_to_the_convolution, {"Conv": 1, "Greater": 1, "Cast": 1, "Mul": 1}),
    (joined_channels_are_normalised_by_a_convolution, {"Concat": 1, "Conv": 1, "Relu": 1}),
]


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
@pytest.mark.parametrize(("rewrite", "expected"), FINAL, ids=lambda item: getattr(item, "__name__", ""))
def test_final_rule(rewrite: Rewrite, expected: dict[str, int], rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left to compute in a call, and the same numbers as without the rules, also for no rows."""
    model = built(rewrite)
    assert types_of_calls(model.graph) == expected
    monkeypatch.setattr(pipeline, "FINAL", ())
    plain = built(rewrite)
    assert types_of_calls(plain.graph) != expected or "stays" in rewrite.__name__ or "does_not" in rewrite.__name__
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(rows, 3, 4, 5)).astype(np.float32) for name in "xy"}
    actual, reference = (run(item, inputs) for item in (model, plain))
    assert actual.shape == reference.shape
    np.testing.assert_allclose(actual, reference, rtol=1e-5, atol=1e-5 * np.abs(reference).max(initial=1))


def test_what_seeds_share_is_multiplied_once() -> None:
    """``y * seed * tanh(x) * sigmoid(x)``: of three products only the last one is made for each seed."""

    def product(graph: Graph, x: Value, y: Value) -> Value:
        seeds = y * constant(graph, 7, 1, 3, 4, 5)
        return seeds * graph.emit("Tanh", [x]) * graph.emit("Sigmoid", [x])

    def two_unbounded(graph: Graph, x: Value, y: Value) -> Value:
        seeds = y * constant(graph, 7, 1, 3, 4, 5)
        return seeds * x * graph.emit("Sigmoid", [x])

    assert ranks_of_products(built(product)) == [4, 4, 5]
    assert ranks_of_products(built(two_unbounded)) == [5, 5, 5], "another order might overflow"


def ranks_of_products(model: onnx.ModelProto) -> list[int]:
    """Of the results of ``Mul``, in the order of the graph."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    ranks = {item.name: len(item.type.tensor_type.shape.dim) for item in (*inferred.value_info, *inferred.output)}
    return [ranks[node.output[0]] for node in inferred.node if node.op_type == "Mul"]


def test_scalar_between_convolutions_is_a_convolution() -> None:
    """``1 - sigmoid(z)`` in the gradient of swish; ONNX Runtime keeps the blocked layout, and the numbers are equal."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8, 8, 16), name="x")
    hidden = L.Conv2D(16, 3, activation="swish")(L.Conv2D(16, 3, padding="same", activation="swish")(x))
    model = exported(keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(hidden))), "gradient(y, x)")
    found = types_of(model.graph)
    assert found["Sub"] == 0
    assert found["HardSigmoid"] == 2  # 1 - s, twice: it stays between 0 and 1
    kernels = [node for node in model.graph.node if node.op_type == "Conv" and attribute_of(node, "group") == 16]
    assert not kernels


def test_strided_pointwise_gradient_is_one_node() -> None:
    """The results of the plain convolution are not spread by ``Pad``."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8, 8, 4), name="x")
    hidden = L.Conv2D(6, 1, strides=2)(L.Conv2D(6, 3, padding="same", activation="relu")(x))
    found = types_of(exported(keras.Model(x, L.Dense(1)(L.Flatten()(hidden))), "gradient(y, x)").graph)
    assert found["ConvTranspose"] == 1
    assert found["Pad"] == 0


@pytest.mark.parametrize(
    ("name", "size", "shares"),
    [
        ("bowl", 4 * 64, False),
        ("hessian", 4 * 10 * 64, True),
        ("hvp", 4 * 64, False),
        ("cnn", 4 * 16 * 16 * 3, True),
        ("transformer", 4 * 2 * 6 * 6, True),
        ("lstm", 4 * 5 * 16, False),
    ],
)
def test_file_says_how_wide_a_row_is(name: str, size: int, shares: bool) -> None:
    """Of its largest intermediate value, wherever that has the batch axis: the runtime sizes its chunks by it.

    Weights are shared by the places of a row, and by the seeds of a Hessian, but not by steps.
    """
    keras.utils.set_random_seed(1)
    bound = next(item for item in BOUNDS if item.name == name)
    found = screen(exported(bound.build(), bound.request).SerializeToString(), name)
    assert (found.row_bytes, found.shares_weights) == (size, shares)


def attribute_of(node: onnx.NodeProto, name: str) -> Any:
    return next((onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name), None)


def types_of_calls(graph: onnx.GraphProto) -> Counter[str]:
    """Nodes by type that need an input: ONNX Runtime computes the others when the session opens."""
    known = {item.name for item in graph.initializer}
    found: Counter[str] = Counter()
    for node in graph.node:
        if all(name in known for name in node.input):
            known.update(node.output)
        else:
            found[node.op_type] += 1
    return found


def built(rewrite: Rewrite) -> onnx.ModelProto:
    graph = new_graph()
    x, y = (graph.input(name, np.dtype(np.float32), (B, 3, 4, 5)) for name in "xy")
    graph.outputs = [("result", rewrite(graph, x, y))]
    finish(graph)
    return to_model(graph, 18, {})


def run(model: onnx.ModelProto, inputs: dict[str, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]
