"""ONNX's recurrent operators in the place of loops: where they stand, and that the numbers are those of the loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from pullback.storage.onnx_cut import cut
from pullback_export.optimize import pipeline

from tests.exporter.optimize.test_counts import exported, graph_of, types_of, written
from tests.exporter.optimize.test_scan_steps import run_all
from tests.rotation import in_turn

L = keras.layers
Layer = Callable[[str], Any]
OPERATORS = ("LSTM", "GRU", "RNN")


def layer(kind: str, **options: Any) -> Layer:
    """The layer with four units, biases that are not zero and the dtype that it is given."""
    return lambda dtype: getattr(L, kind)(4, dtype=dtype, bias_initializer="random_normal", **options)


def both(kind: str, **options: Any) -> Layer:
    return lambda dtype: L.Bidirectional(layer(kind, **options)(dtype), dtype=dtype)


def stacked(dtype: str) -> Any:
    return keras.Sequential([layer("LSTM", return_sequences=True)(dtype), layer("GRU")(dtype)])


@keras.saving.register_keras_serializable("pullback_recurrent")
class OwnCell(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The equations of an LSTM under other names, with its gates in another order and one kernel for each."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state_size, self.output_size = [4, 4], 4

    def build(self, shape: Any) -> None:
        names = "abcd"
        self.of_input = [self.add_weight(shape=(shape[-1], 4), name=f"w{name}") for name in names]
        self.of_state = [self.add_weight(shape=(4, 4), name=f"u{name}") for name in names]

    def call(self, x: Any, states: Any) -> Any:
        memory, shown = states
        sums = [x @ w + shown @ u for w, u in zip(self.of_input, self.of_state, strict=True)]
        opened, new, forget, written = (
            keras.ops.sigmoid(sums[0]),
            keras.ops.tanh(sums[1]),
            *map(keras.ops.sigmoid, sums[2:]),
        )
        memory = written * new + memory * forget
        shown = keras.ops.tanh(memory) * opened
        return shown, [memory, shown]


# Name, layer, and the operators that stand in its graph.
ROWS: list[tuple[str, Layer, dict[str, int]]] = [
    ("lstm", layer("LSTM"), {"LSTM": 1}),
    ("lstm of sequences", layer("LSTM", return_sequences=True), {"LSTM": 1}),
    ("lstm backwards", layer("LSTM", go_backwards=True, return_sequences=True), {"LSTM": 1}),
    ("lstm with sigmoid", layer("LSTM", activation="sigmoid", use_bias=False), {"LSTM": 1}),
    ("gru", layer("GRU"), {"GRU": 1}),
    ("gru of sequences", layer("GRU", return_sequences=True), {"GRU": 1}),
    ("gru that resets before", layer("GRU", reset_after=False), {"GRU": 1}),
    ("gru with softsign", layer("GRU", activation="softsign", go_backwards=True), {"GRU": 1}),
    ("both directions", both("LSTM", return_sequences=True), {"LSTM": 2}),
    ("both directions of gru", both("GRU"), {"GRU": 2}),
    ("stacked", stacked, {"LSTM": 1, "GRU": 1}),
    # The kernel of a simple cell is slower than a loop but for one or two rows, which a free batch need not be.
    ("simple", layer("SimpleRNN", return_sequences=True), {}),
    ("lstm with relu", layer("LSTM", activation="relu"), {"LSTM": 1}),
    ("simple with relu", layer("SimpleRNN", activation="relu"), {}),
    # A gate without a bound can make any number of a state in a few steps: the loop stays.
    ("lstm with gates of relu", layer("LSTM", recurrent_activation="relu"), {}),
    ("gru with gates of relu", layer("GRU", recurrent_activation="relu"), {}),
]


def network(build: Layer, steps: int | None, dtype: str = "float32") -> Any:
    keras.utils.set_random_seed(1)
    x = keras.Input((steps, 3), name="x", dtype=dtype)
    hidden = build(dtype)(x)
    if len(hidden.shape) == 3:
        hidden = L.GlobalAveragePooling1D(dtype=dtype)(hidden) if steps is None else L.Flatten(dtype=dtype)(hidden)
    return keras.Model(x, L.Dense(1, dtype=dtype, name="y")(hidden))


def inputs(steps: int | None, dtype: str = "float32") -> Iterator[Any]:
    """Batches, also none and one too large for the gates once more; also no steps, where they are free."""
    for rows in (0, 1, 2, 7, 100):
        for length in (6,) if steps else (0, 1, 6, 11):
            yield np.random.default_rng(rows).normal(size=(rows, length, 3)).astype(dtype)


def without_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = [row for row in pipeline.LOOPS if row.name not in ("fused", "masked_steps", "linear_steps", "pairs")]
    monkeypatch.setattr(pipeline, "LOOPS", tuple(loops))


def with_and_without(net: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Value and gradient with the rewrites and without them, of one graph of TensorFlow."""
    graph = graph_of(net, "gradient(y, x)")
    model = written(*graph)
    without_operators(monkeypatch)
    return model, written(*graph)


def assert_same(actual: list[Any], expected: list[Any], tolerance: float = 5e-6) -> None:
    for mine, theirs in zip(actual, expected, strict=True):
        assert mine.shape == theirs.shape
        finite = theirs[np.isfinite(theirs)]
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * max(0.1, np.abs(finite).max(initial=0)))


def found(model: onnx.ModelProto) -> dict[str, int]:
    return {name: count for name, count in types_of(model.graph).items() if name in OPERATORS}


def variants() -> Iterator[Any]:
    """Every row with a fixed and a free number of steps, in turn."""
    for name, build, expected in ROWS:
        both_ways = [
            pytest.param(build, expected, steps, id=f"{name}, {'free' if steps is None else 'fixed'}")
            for steps in (6, None)
        ]
        yield from in_turn(name, both_ways)


@pytest.mark.parametrize(("build", "expected", "steps"), list(variants()))
def test_operator_in_the_place_of_a_loop(
    build: Layer, expected: dict[str, int], steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rewrites and without them: value and gradient, and the value alone as the runtime cuts it."""
    model, plain = with_and_without(network(build, steps), monkeypatch)
    assert found(model) == expected
    assert found(plain) == {}
    alone = onnx.load_from_string(cut(model.SerializeToString(), {"y"}, "model"))
    assert found(alone) == expected
    for x in inputs(steps):
        expected_values = run_all(plain, x)
        assert_same(run_all(model, x), expected_values)
        assert_same(run_all(alone, x), expected_values[:1])


@pytest.mark.parametrize(("build", "expected"), [ROWS[0][1:], ROWS[4][1:]], ids=["lstm", "gru"])
def test_what_the_operator_would_lose(build: Layer, expected: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN, an infinity and sums that overflow: the loop computes them."""
    model, plain = with_and_without(network(build, 6), monkeypatch)
    for number in (np.nan, np.inf, -np.inf, 3e38):
        x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
        x[0, 2, 1] = number
        assert_same(run_all(model, x), run_all(plain, x))
    x[:] = 3e38
    assert_same(run_all(model, x), run_all(plain, x))


def masked(*layers: Layer) -> Layer:
    """Steps of zeros do not count."""
    return lambda dtype: keras.Sequential([L.Masking(dtype=dtype), *(build(dtype) for build in layers)])


# Name, layer, and the operators in its graph.
MASKED: list[tuple[str, Layer, dict[str, int]]] = [
    ("lstm", masked(layer("LSTM")), {"LSTM": 1}),
    ("lstm of sequences", masked(layer("LSTM", return_sequences=True)), {"LSTM": 1}),
    ("lstm backwards", masked(layer("LSTM", go_backwards=True, return_sequences=True)), {"LSTM": 1}),
    ("gru", masked(layer("GRU")), {"GRU": 1}),
    ("gru of sequences", masked(layer("GRU", return_sequences=True, activation="softsign")), {"GRU": 1}),
    ("gru that resets before", masked(layer("GRU", reset_after=False)), {"GRU": 1}),
    ("both directions", masked(both("LSTM", return_sequences=True)), {"LSTM": 2}),
    ("both directions of gru", masked(both("GRU")), {"GRU": 2}),
    ("stacked", masked(layer("LSTM", return_sequences=True), layer("GRU")), {"LSTM": 1, "GRU": 1}),
    ("simple", masked(layer("SimpleRNN")), {}),
]


def masks(rows: int, steps: int) -> Iterator[Any]:
    """Which steps count, rows x steps."""
    lengths = 1 + np.arange(rows) % max(steps, 1)
    yield np.ones((rows, steps), bool)
    yield np.arange(steps) < lengths[:, None]
    yield np.arange(steps) < np.minimum(lengths, 2)[:, None]  # nobody has the last steps
    yield np.arange(steps) >= steps - lengths[:, None]
    yield np.arange(steps) < (lengths - 1)[:, None]  # the first row has no step
    yield (np.arange(steps) + np.arange(rows)[:, None]) % 2 == 1
    yield np.zeros((rows, steps), bool)


def lengths_say_all(mask: Any) -> bool:
    return bool(mask[:, 0].all() and not (mask[:, 1:] & ~mask[:, :-1]).any())


@pytest.mark.parametrize(
    ("build", "expected", "steps"),
    in_turn(
        "masks", [pytest.param(*row, steps, id=f"{name}, {steps}") for name, *row in MASKED for steps in (6, None)], 3
    ),
)
def test_masks(
    build: Layer,
    expected: dict[str, int],
    steps: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the rewrites and without them; the operator computes where steps that do not count are the last ones."""
    model, plain = with_and_without(network(build, steps), monkeypatch)
    assert found(model) == expected
    alone = onnx.load_from_string(cut(model.SerializeToString(), {"y"}, "model"))
    sessions = [session_of(item) for item in (model, plain, alone)]
    whether = session_of(conditions(alone)) if expected and steps else None
    for rows in (0, 1, 2, 7):
        for length in (6,) if steps else (1, 6, 11):
            for mask in masks(rows, length):
                x = np.random.default_rng(rows).normal(size=(*mask.shape, 3)).astype(np.float32)
                x[~mask] = 0
                mine, theirs, value = (session.run(None, {"x": x}) for session in sessions)
                assert_same(mine, theirs)
                assert_same(value, theirs[:1])
                if whether is not None and rows:
                    taken = [bool(item) for item in whether.run(None, {"x": x})]
                    assert taken == [lengths_say_all(mask)] * len(taken) and len(taken) == sum(expected.values())


def test_zeros_of_masked_steps_need_no_cells() -> None:
    """Both directions give zeros where no step counts: the value alone has the operators, and no loop of cells."""
    model = exported(network(masked(both("LSTM", return_sequences=True)), 6), "gradient(y, x)")
    alone = onnx.load_from_string(cut(model.SerializeToString(), {"y"}, "model"))
    assert [(types.get("LSTM"), types.get("Scan")) for types in taken(alone)] == [(1, None)] * 2


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_file_of_the_value_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the zeros stand behind the loop; of many rows, too, the operator's states are all that is wanted."""
    build = masked(both(kind, return_sequences=True))
    model = exported(network(build, 6))
    assert [(types.get(kind), types.get("Scan"), types.get("Sigmoid")) for types in taken(model)] == [
        (1, None, None)
    ] * 2
    without_operators(monkeypatch)
    plain = session_of(exported(network(build, 6)))
    session, whether = session_of(model), session_of(conditions(model))
    for rows in (0, 1, 2, 7, 500):
        for mask in masks(rows, 6):
            x = np.random.default_rng(rows).normal(size=(*mask.shape, 3)).astype(np.float32)
            x[~mask] = 0
            assert_same(session.run(None, {"x": x}), plain.run(None, {"x": x}))
            assert not rows or {bool(item) for item in whether.run(None, {"x": x})} == {lengths_say_all(mask)}


def taken(model: onnx.ModelProto) -> list[dict[str, int]]:
    """What is computed where an operator takes the place of a loop, by types."""
    branches = (item for node in model.graph.node for item in node.attribute if item.name == "then_branch")
    return [types for types in map(types_of, (item.g for item in branches)) if any(map(types.get, OPERATORS))]


def session_of(model: onnx.ModelProto) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def conditions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of the conditions under which ``model`` takes an operator."""
    names = [
        node.input[0]
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "then_branch" and any(inner.op_type in OPERATORS for inner in attribute.g.node)
    ]
    whether = onnx.ModelProto.FromString(model.SerializeToString())
    del whether.graph.output[:]
    whether.graph.output.extend(onnx.helper.make_tensor_value_info(n, onnx.TensorProto.BOOL, []) for n in names)
    return whether


def test_masked_steps_that_are_not_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN among the steps that count and an initial state of the user, behind a mask of its own."""

    def build(dtype: str) -> Any:
        def call(x: Any) -> Any:
            start = [x[:, 0, :1] * tf.ones((1, 4)), x[:, 1, 1:2] * tf.ones((1, 4))]
            whole, hidden, cell = lstm(x, initial_state=start, mask=x[:, :, 2] < 1)
            return tf.concat([whole[:, 2], hidden, cell], axis=-1)

        lstm = layer("LSTM", return_state=True, return_sequences=True)(dtype)
        lstm.build((None, 6, 3))
        return L.Lambda(call, output_shape=(12,))

    model, plain = with_and_without(network(build, 6), monkeypatch)
    for x in inputs(6):
        x[:, 4:, 2] += 2
        for number in (0, np.nan, np.inf):
            x[:1, 1, 1] += number
            assert_same(run_all(model, x), run_all(plain, x))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_float64_keeps_the_loop(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime has no such kernels; the backward steps are shorter in float64 too."""
    model, plain = with_and_without(network(layer(kind), 6, "float64"), monkeypatch)
    assert found(model) == {}
    for x in inputs(6, "float64"):
        assert_same(run_all(model, x), run_all(plain, x), 1e-14)


def test_cell_is_known_by_its_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(dtype: str) -> Any:
        return L.RNN(OwnCell(dtype=dtype), dtype=dtype, return_sequences=True)

    model, plain = with_and_without(network(build, None), monkeypatch)
    assert found(model) == {"LSTM": 1}
    for x in inputs(None):
        assert_same(run_all(model, x), run_all(plain, x))


def test_states_of_the_user_reach_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial and final states, and a NaN among the initial ones."""

    def build(dtype: str) -> Any:
        def call(x: Any) -> Any:
            start = [x[:, 0, :1] * tf.ones((1, 4)), x[:, 1, 1:2] * tf.ones((1, 4))]
            whole, hidden, cell = lstm(x, initial_state=start)
            return tf.concat([whole[:, 2], hidden, cell], axis=-1)

        lstm = layer("LSTM", return_state=True, return_sequences=True)(dtype)
        lstm.build((None, 6, 3))
        return L.Lambda(call, output_shape=(12,))

    model, plain = with_and_without(network(build, 6), monkeypatch)
    assert found(model) == {"LSTM": 1}
    for x in inputs(6):
        assert_same(run_all(model, x), run_all(plain, x))
    x = np.ones((2, 6, 3), np.float32)
    x[1, 0, 0] = np.nan
    assert_same(run_all(model, x), run_all(plain, x))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_simple_cell_of_few_rows(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def graph() -> onnx.ModelProto:
        keras.utils.set_random_seed(1)
        x = keras.Input((6, 3), name="x", batch_size=rows)
        return exported(keras.Model(x, L.Dense(1, name="y")(layer("SimpleRNN")("float32")(x))))

    model = graph()
    assert found(model) == ({"RNN": 1} if rows < 3 else {})
    without_operators(monkeypatch)
    x = np.random.default_rng(rows).normal(size=(rows, 6, 3)).astype(np.float32)
    assert_same(run_all(model, x), run_all(graph(), x))
    x[0, 2, 1] = np.nan
    assert_same(run_all(model, x), run_all(graph(), x))


def test_large_weights_are_stored_once() -> None:
    """The operator's order of gates is made from the loop's when the session opens."""
    keras.utils.set_random_seed(1)
    x = keras.Input((4, 40), name="x")
    model = exported(keras.Model(x, L.Dense(1)(L.GRU(40)(L.LSTM(40, return_sequences=True)(x)))), "gradient(y, x)")
    sizes = Counter(len(item.raw_data) for item in model.graph.initializer if len(item.raw_data) > 4 * 4096)
    assert sizes == {4 * 40 * 160: 2, 4 * 40 * 120: 2}


CHUNKED = [
    ("lstm", layer("LSTM"), 192),
    ("lstm backwards", layer("LSTM", go_backwards=True, return_sequences=True), 200),
    ("masked lstm", masked(layer("LSTM", return_sequences=True)), 180),
]


@pytest.mark.parametrize(("build", "steps"), [row[1:] for row in CHUNKED], ids=[row[0] for row in CHUNKED])
def test_cells_of_long_sequences_are_summed_in_chunks(
    build: Layer, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three loops in the place of one of 2 operators a step, and the numbers of that one."""
    model, plain = with_and_without(network(build, steps), monkeypatch)
    choice = next(node for node in model.graph.node if any(a.name == "then_branch" for a in node.attribute))
    branches = {item.name: types_of(item.g) for item in choice.attribute}
    assert branches["then_branch"]["Scan"] == 3
    for rows in (0, 1, 2, 7):
        x = np.random.default_rng(rows).normal(size=(rows, steps, 3)).astype(np.float32)
        x[: rows // 2, steps // 3 :] = 0
        assert_same(run_all(model, x), run_all(plain, x))


# What a gradient with a fixed number of steps does not compute once more from what the loop collects.
COLLECTED = [
    ("lstm", layer("LSTM"), ("Split", "Sigmoid", "Tanh")),
    ("lstm backwards", layer("LSTM", go_backwards=True, return_sequences=True), ("Split", "Sigmoid", "Tanh")),
    ("masked lstm", masked(layer("LSTM")), ("Split", "Sigmoid", "Tanh")),
    ("gru", layer("GRU"), ("Sigmoid", "Tanh")),
    ("gru that resets before", layer("GRU", reset_after=False), ("Sigmoid", "Tanh")),
]


@pytest.mark.parametrize(("build", "absent"), [row[1:] for row in COLLECTED], ids=[row[0] for row in COLLECTED])
def test_what_steps_have_is_collected(build: Layer, absent: tuple[str, ...]) -> None:
    outside = Counter(node.op_type for node in exported(network(build, 6), "gradient(y, x)").graph.node)
    assert [outside[name] for name in absent] == [0] * len(absent)


def test_value_alone_runs_nothing_of_the_gradient() -> None:
    model = exported(network(layer("LSTM"), 6), "gradient(y, x)")
    alone = onnx.load_from_string(cut(model.SerializeToString(), {"y"}, "model"))
    (choice,) = (node for node in alone.graph.node if node.op_type == "If")
    branches = {item.name: types_of(item.g) for item in choice.attribute}
    assert branches["then_branch"] == {"LSTM": 1, "Reshape": 1}
    assert len(choice.output) == 1
    assert types_of(alone.graph)["LessOrEqual"] == 0
