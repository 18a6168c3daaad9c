"""The exact reference is the model built in float64 with the same float32 weights, whatever its source and its ops."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export.derivatives.plan import Derivatives, Function
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.gate.exact_reference import ExactFunction, library_of
from pullback_export.gate.exact_reference.operators import TO_FLOAT64
from pullback_export.gate.exact_reference.rewriting import rewrite
from pullback_export.gate.exact_reference.used_results import UsedResults
from pullback_export.gate.live_model import live
from pullback_export.sources.opening import open_source

from tests.rotation import in_turn

layers = keras.layers
Build = Callable[[str], Any]  # from a dtype
ALL = ("jacobian(y, x)", "vjp(y, x)", "jvp(y, x)")


@dataclasses.dataclass(frozen=True)
class Row:
    """A model in any dtype; ``left``: operators that TensorFlow has no float64 kernel of."""

    name: str
    build: Build
    shape: tuple[int | None, ...]
    requests: tuple[str, ...] = ALL
    left: tuple[str, ...] = ()
    bound: float = 1e-12


def keras_net(shape: tuple[int, ...], *stack: Callable[[str], Any]) -> Build:
    """A stack of layers with the weights of a float32 net, whichever dtype it has."""

    def build(dtype: str) -> Any:
        keras.utils.set_random_seed(3)
        nets = []
        for kind in ("float32", dtype):
            point = start = keras.Input(shape, dtype=kind, name="x")
            for layer in stack:
                point = layer(kind)(point)
            nets.append(keras.Model(start, layers.Dense(2, dtype=kind)(layers.Flatten(dtype=kind)(point))))
        rng = np.random.default_rng(1)
        nets[0].set_weights(
            [rng.uniform(0.1, 0.9, item.shape).astype(np.float32) - 0.3 for item in nets[0].get_weights()]
        )
        for layer in nets[0].layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.moving_variance.assign(tf.abs(layer.moving_variance) + 0.5)
        nets[1].set_weights(nets[0].get_weights())
        return nets[1] if dtype != "float32" else nets[0]

    return build


def attention(dtype: str) -> Any:
    keras.utils.set_random_seed(4)
    nets = []
    for kind in ("float32", dtype):
        x = keras.Input((4, 6), dtype=kind, name="x")
        y = layers.MultiHeadAttention(2, 3, dtype=kind)(x, x)
        nets.append(keras.Model(x, layers.Dense(1, dtype=kind)(layers.Flatten(dtype=kind)(y))))
    nets[1].set_weights(nets[0].get_weights())
    return nets[1]


class Affine(tf.Module):
    """Variables of a module, read in a loop."""

    def __init__(self, dtype: str) -> None:
        rng = np.random.default_rng(2)
        self.w = tf.Variable(tf.cast(rng.normal(size=(3, 3)).astype(np.float32), dtype), name="w")
        self.b = tf.Variable(tf.cast(rng.normal(size=(3,)).astype(np.float32), dtype), name="b")

    def __call__(self, x: Any) -> Any:
        return {"y": tf.while_loop(lambda i, v: i < 4, lambda i, v: (i + 1, tf.tanh(v @ self.w + self.b)), (0, x))[1]}


def largest(dtype: str) -> Any:
    """The largest of blocks, which TensorFlow's own kernel finds in float32 alone, by hand in float64."""

    def function(x: Any) -> Any:
        if dtype == "float32":
            found = tf.nn.max_pool3d(tf.sin(x), 2, 2, "VALID")
        else:
            corners = [tf.sin(x)[:, i::2, j::2, k::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
            found = tf.reduce_max(tf.stack(corners), 0)
        return {"y": tf.reshape(tf.exp(found), [-1, 16])}

    return function


def pooled(dtype: str) -> Any:
    """Means of blocks, which TensorFlow's own kernel computes in float32 alone, by hand in float64."""

    def function(x: Any) -> Any:
        if dtype == "float32":
            means = tf.nn.avg_pool3d(tf.sin(x), 2, 2, "VALID")
        else:
            corners = [tf.sin(x)[:, i::2, j::2, k::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
            means = tf.add_n(corners) / 8
        return {"y": tf.reshape(tf.exp(means), [-1, 16])}

    return function


def of(function: Callable[[Any], Any]) -> Build:
    return lambda dtype: function


def branch(x: Any) -> Any:
    return {"y": tf.cond(tf.reduce_sum(x) > 100.0, lambda: x * x, lambda: tf.sin(x) / 3)}


def array(x: Any) -> Any:
    """A ``TensorArray`` written in a loop and stacked."""
    found = tf.TensorArray(x.dtype, size=3, element_shape=[None])
    found = tf.while_loop(
        lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, tf.exp(x[:, i]) * tf.cast(i + 1, x.dtype))), (0, found)
    )[1]
    return {"y": tf.transpose(found.stack())}


def scanned(x: Any) -> Any:
    return {"y": tf.transpose(tf.scan(lambda s, r: tf.tanh(s + r) * 1.125, tf.transpose(x)))}


def whole_numbers(x: Any) -> Any:
    """Comparisons, casts, sorting and lookups by whole numbers stay as they are."""
    order = tf.argsort(x, axis=1)
    rows = tf.gather(x, order, batch_dims=1) * tf.cast(order + 1, x.dtype)
    hot = tf.one_hot(tf.argmax(x, 1), 3, dtype=x.dtype)
    return {"y": tf.where(x > 0, rows, -rows) + hot * tf.cast(tf.shape(x)[1], x.dtype) * x}


def spectrum(x: Any) -> Any:
    """Complex numbers on the way."""
    z = tf.signal.rfft(x)
    return {"y": tf.math.real(z) ** 2 + tf.math.imag(z) ** 2}


def custom(x: Any) -> Any:
    """A gradient of its own is in the traced graph."""
    return {"y": tf.nn.silu(x) + tf.nn.softplus(x) * tf.sinh(x)}


def matrices(x: Any) -> Any:
    a = x[:, :, None] * x[:, None, :] + 3 * tf.eye(3, dtype=x.dtype)
    return {"y": tf.linalg.solve(a, x[:, :, None])[:, :, 0] + tf.linalg.logdet(a)[:, None]}


def bell(x: Any) -> Any:
    """TensorFlow writes the constant of erf's derivative, 2/sqrt(pi), in the dtype of the model."""
    return {"y": tf.math.erf(x)}


def tenth(x: Any) -> Any:
    """A constant is float32's tenth, not the nearest number to a tenth in float64."""
    return {"y": x * tf.cast(tf.constant(0.1, tf.float32), x.dtype)}


ROWS = (
    Row("dense", keras_net((3,), lambda d: layers.Dense(5, "tanh", dtype=d)), (None, 3), (*ALL, "hessian(y, x)")),
    Row(
        "convolution",
        keras_net(
            (6, 6, 2), lambda d: layers.Conv2D(3, 3, activation="tanh", dtype=d), lambda d: layers.MaxPooling2D(dtype=d)
        ),
        (None, 6, 6, 2),
    ),
    Row(
        "separable",
        keras_net((6, 6, 2), lambda d: layers.SeparableConv2D(3, 3, padding="same", dtype=d)),
        (None, 6, 6, 2),
    ),
    *(
        Row(
            f"convolution in {groups} of {channels} with strides {strides}, dilations {dilations}",
            keras_net(
                (7, 8, channels),
                lambda d, c=channels, g=groups, s=strides, r=dilations: layers.Conv2D(
                    2 * c, (3, 2), s, "same", dilation_rate=r, groups=g, activation="tanh", dtype=d
                ),
                lambda d, c=channels, g=groups: layers.Conv2D(c, 2, groups=g, activation="tanh", dtype=d),
            ),
            (None, 7, 8, channels),
            requests,
        )
        for channels, groups, strides, dilations, requests in (
            (4, 4, 1, 1, ALL),
            (4, 2, 2, 1, ("vjp(y, x)",)),
            (6, 3, 1, 2, ("vjp(y, x)",)),
            (4, 2, (1, 2), 1, ("vjp(y, x)",)),
        )
    ),
    Row(
        "batch normalisation", keras_net((5,), lambda d: layers.BatchNormalization(epsilon=2**-10, dtype=d)), (None, 5)
    ),
    Row("LSTM", keras_net((4, 3), lambda d: layers.LSTM(3, dtype=d)), (None, 4, 3)),
    Row("GRU", keras_net((4, 3), lambda d: layers.GRU(3, dtype=d)), (None, 4, 3), ("vjp(y, x)",)),
    Row("attention", attention, (None, 4, 6)),
    Row("no kernel", largest, (None, 4, 4, 4, 2), left=("MaxPool3D", "MaxPool3DGrad", "MaxPool3DGradGrad"), bound=1e-6),
    Row("a formula for a kernel", pooled, (None, 4, 4, 4, 2)),
    Row("module with variables in a loop", Affine, (None, 3)),
    Row("branch", of(branch), (None, 3)),
    Row("TensorArray", of(array), (None, 3)),
    Row("scan", of(scanned), (None, 3)),
    Row("whole numbers", of(whole_numbers), (None, 3)),
    Row("complex numbers", of(spectrum), (None, 8)),
    Row("gradients of their own", of(custom), (None, 3), (*ALL, "hessian(y, x)")),
    Row("linear systems", of(matrices), (None, 3)),
    Row("a constant of a gradient", of(bell), (None, 3), bound=1e-7),
    Row("a constant", of(tenth), (None, 3)),
)


def functions_of(model: Any, shape: Any, dtype: str, requests: tuple[str, ...]) -> tuple[Function, ...]:
    specs = None if isinstance(model, keras.Model) else [tf.TensorSpec(shape, dtype, name="x")]
    source = open_source(model, specs, ["y"], None, False)
    return Derivatives(source, [parse_request(item) for item in requests], "zero").functions()


def inputs_of(function: Function, rows: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    shapes = {spec.name: [rows if size is None else size for size in spec.shape] for spec in function.inputs}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def off(actual: Any, wanted: Any) -> float:
    return float(np.abs(actual - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("row", in_turn("exact", [pytest.param(row, id=row.name) for row in ROWS], 2))
def test_it_is_the_model_in_float64(row: Row) -> None:
    narrow = functions_of(row.build("float32"), row.shape, "float32", row.requests)
    wide = functions_of(row.build("float64"), row.shape, "float64", row.requests)
    for function, rebuilt in zip(narrow, wide, strict=True):
        exact = ExactFunction(trace(function))
        inputs = inputs_of(function)
        wanted = live(rebuilt, inputs)
        found = exact(inputs)
        assert wanted is not None
        assert set(exact.coverage.left) <= set(row.left)
        assert exact.coverage.exact is (not row.left)
        for name in function.outputs:
            assert found[name].dtype == wanted[name].dtype
            assert off(found[name], wanted[name]) < row.bound, name


def test_the_signature_of_a_saved_model(tmp_path: pathlib.Path) -> None:
    """Saved, loaded and called by its signature, where only the graph is left."""
    narrow, wide = Affine("float32"), Affine("float64")
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    serve = tf.function(narrow.__call__, input_signature=[spec], autograph=False)
    tf.saved_model.save(narrow, str(tmp_path / "it"), signatures=serve.get_concrete_function())
    source = open_source(str(tmp_path / "it"), None, ["y"], None, False)
    function = Derivatives(source, [parse_request("jacobian(y, x)")], "error").functions()[0]
    exact = ExactFunction(trace(function))
    inputs = inputs_of(function)
    wanted = live(functions_of(wide, (None, 3), "float64", ("jacobian(y, x)",))[0], inputs)
    found = exact(inputs)
    assert wanted is not None
    assert max(off(found["y"], wanted["y"]), off(found["dy_dx"], wanted["dy_dx"])) < 1e-12


@pytest.mark.parametrize("half", [tf.float16, tf.bfloat16])
def test_half_precision_inside(half: Any) -> None:
    def mixed(x: Any) -> Any:
        return {"y": tf.cast(tf.tanh(tf.cast(x, half) * tf.constant(0.3, half)), x.dtype)}

    function = functions_of(mixed, (None, 3), "float32", ALL)[0]
    inputs = inputs_of(function)
    found = ExactFunction(trace(function))(inputs)
    third = float(tf.cast(tf.constant(0.3, half), tf.float64))
    np.testing.assert_allclose(found["y"], np.tanh(inputs["x"].astype(np.float64) * third), rtol=1e-14)


def bits(x: Any) -> Any:
    return {"y": tf.cast(tf.bitcast(x, tf.int32) % 1000, x.dtype)}


def neighbour(x: Any) -> Any:
    return {"y": tf.math.nextafter(x, x + 1.0) - x}


def drawn(x: Any) -> Any:
    return {"y": x + tf.random.stateless_uniform(tf.shape(x), [1, 2], dtype=x.dtype)}


@pytest.mark.parametrize("function", [bits, neighbour, drawn])
def test_what_belongs_to_a_dtype_stays_in_it(function: Any) -> None:
    """Bits, neighbours and random numbers would be others in float64, and not the same more exactly."""
    (only,) = functions_of(function, (None, 3), "float32", ())
    exact, inputs = ExactFunction(trace(only)), inputs_of(only)
    assert exact.coverage.exact
    np.testing.assert_allclose(exact(inputs)["y"], function(tf.constant(inputs["x"]))["y"], rtol=1e-7)


def test_a_function_of_random_numbers_is_computed_in_float64() -> None:
    """``RandomGammaGrad`` draws nothing; in float32 its kernel gives 0 where the density underflows."""
    (only,) = functions_of(
        lambda x: {"y": tf.raw_ops.RandomGammaGrad(alpha=3.0 + x, sample=200.0 + x)}, (3,), "float32", ()
    )
    inputs = inputs_of(only)
    exact = ExactFunction(trace(only))(inputs)["y"]
    wide = inputs["x"].astype(np.float64)
    np.testing.assert_allclose(exact, tf.raw_ops.RandomGammaGrad(alpha=3.0 + wide, sample=200.0 + wide), rtol=1e-12)
    assert (exact > 1).all()


def test_only_what_is_asked_for_is_computed() -> None:
    function = functions_of(matrices, (None, 3), "float32", ("jacobian(y, x)",))[0]
    exact, inputs = ExactFunction(trace(function)), inputs_of(function)
    assert set(exact(inputs, ["y"])) == {"y"}
    registered = exact._registered(("y",))
    assert registered.coverage.operators < exact.coverage.operators
    np.testing.assert_array_equal(exact(inputs, ["y"])["y"], exact(inputs)["y"])


def test_of_a_call_only_what_is_used_is_computed() -> None:
    """Not the derivative by the filter of a convolution in groups, a result of the function that Keras makes of it."""
    build = keras_net((6, 6, 4), lambda d: layers.Conv2D(4, 3, groups=4, dtype=d))
    function = functions_of(build("float32"), (None, 6, 6, 4), "float32", ("vjp(y, x)",))[1]
    used = UsedResults(library := library_of((traced := trace(function)).concrete))
    whole = library[traced.concrete.function_def.signature.name]
    ops = [node.op for item in rewrite(used.of(whole), used.find, TO_FLOAT64).definitions for node in item.node_def]
    assert "Conv2DBackpropInput" in ops and "Conv2DBackpropFilter" not in ops
    all_of_them = [node.op for item in rewrite(whole, library.get, TO_FLOAT64).definitions for node in item.node_def]
    assert "Conv2DBackpropFilter" in all_of_them


def test_effects_of_a_call_stay() -> None:
    """What a call does besides its results is done, whichever of these is used."""
    counter = tf.Variable(0.0)

    @tf.function
    def counted(x: Any) -> Any:
        counter.assign_add(1.0)
        return x + 1, x * 2, tf.sin(x)

    traced = tf.function(lambda x: {"y": counted(x)[2], "z": counted(x)[0]}).get_concrete_function(
        tf.TensorSpec([3], tf.float32)
    )
    library = library_of(traced)
    used = UsedResults(library)
    definition = used.of(library[traced.function_def.signature.name])
    calls = [node for node in definition.node_def if "PartitionedCall" in node.op]
    assert [len(node.attr["Tout"].list.type) for node in calls] == [1, 1]
    for node in calls:
        ops = {inner.op for inner in used.find(node.attr["f"].func.name).node_def}
        assert "AssignAddVariableOp" in ops
        assert len(ops & {"Sin", "AddV2", "Mul"}) == 1


def test_a_variable_is_read_when_it_runs() -> None:
    model = Affine("float32")
    function = functions_of(model, (None, 3), "float32", ())[0]
    exact, inputs = ExactFunction(trace(function)), inputs_of(function)
    before = exact(inputs)["y"]
    model.b.assign_add([1.0, 1.0, 1.0])
    assert off(exact(inputs)["y"], before) > 1e-2


def test_coverage_in_words() -> None:
    row = next(row for row in ROWS if row.left)
    function = functions_of(row.build("float32"), row.shape, "float32", ())[0]
    coverage = ExactFunction(trace(function)).coverage
    assert (
        str(coverage)
        == f"{coverage.operators - 1} of {coverage.operators} operators in float64; float32: MaxPool3D (1)"
    )


def test_a_weight_is_cast_for_each_use_and_no_sooner() -> None:
    """Else all weights would be there in float64 from the start of a run to its end."""
    model = keras_net((3,), lambda dtype: layers.Dense(400, "tanh", dtype=dtype))("float32")
    source = open_source(model, None, ["y"], None, False, None)
    traced = trace(Derivatives(source, [parse_request("jacobian(y, x)")], "error").functions()[-1])
    library = library_of(traced.concrete)
    for definition in rewrite(traced.concrete.function_def, library.get, TO_FLOAT64).definitions:
        nodes = {node.name: node for node in definition.node_def}
        casts = [
            node
            for node in definition.node_def
            if node.op == "Cast" and nodes.get(node.input[0].split(":")[0], node).op == "ReadVariableOp"
        ]
        for cast in casts:
            readers = [n for n in definition.node_def if any(i.split(":")[0] == cast.name for i in n.input)]
            assert len(readers) == 1
            others = {item.split(":")[0] for item in readers[0].input} - {cast.name}
            assert {item[1:] for item in cast.input[1:]} == others


def test_large_constants_stay_in_float32() -> None:
    """They are cast where they are used: a definition would hold them in twice as many bytes."""
    table = np.random.default_rng(0).normal(size=(600, 500)).astype(np.float32)

    def function(x: Any) -> Any:
        return tf.tanh(x @ tf.constant(table)) @ tf.transpose(tf.constant(table))

    source = open_source(function, [tf.TensorSpec([None, 600], name="x")], ["y"], None, False, None)
    traced = trace(Derivatives(source, [parse_request("vjp(y, x)")], "error").functions()[-1])
    exact = ExactFunction(traced)
    assert exact.coverage.exact
    x = np.random.default_rng(1).normal(size=(3, 600)).astype(np.float32) / 20
    seed = np.random.default_rng(2).normal(size=(3, 600)).astype(np.float32)
    wide = table.astype(np.float64)
    slope = 1 - np.tanh(x.astype(np.float64) @ wide) ** 2
    given = dict(zip([spec.name for spec in traced.function.inputs], (x, seed), strict=True))
    found = exact(given)[traced.function.outputs[0]]
    np.testing.assert_allclose(found, ((seed @ wide) * slope) @ wide.T, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("pick", ["gather", "gather_nd"])
@pytest.mark.parametrize("constant", [False, True], ids=["variable", "constant"])
def test_picked_rows_are_cast_and_not_the_table(pick: str, constant: bool) -> None:
    rows = np.random.default_rng(0).normal(size=(70_000, 4)).astype(np.float32)
    table = tf.constant(rows) if constant else tf.Variable(rows)

    def function(i: Any, x: Any) -> Any:
        held = tf.constant(rows) if constant else table
        found = tf.gather(held, i) if pick == "gather" else tf.gather_nd(held, i[:, None])
        return tf.sin(found * x) * tf.cast(tf.shape(held)[0], tf.float32)

    specs = [tf.TensorSpec([None], tf.int32, name="i"), tf.TensorSpec([None, 4], name="x")]
    source = open_source(function, specs, ["y"], None, False, None)
    traced = trace(Derivatives(source, [parse_request("vjp(y, x)")], "error").functions()[-1])
    exact, library = ExactFunction(traced), library_of(traced.concrete)
    assert exact.coverage.exact
    for definition in rewrite(traced.concrete.function_def, library.get, TO_FLOAT64).definitions:
        held = {node.name for node in definition.node_def if node.op == "ReadVariableOp" or _is_table(node, rows)}
        readers = {node.op for node in definition.node_def if {item.split(":")[0] for item in node.input} & held}
        assert "Cast" not in readers
    i, x, seed = np.array([69_999, 3], np.int32), np.ones((2, 4), np.float32) / 3, np.ones((2, 4), np.float32)
    given = dict(zip([spec.name for spec in traced.function.inputs], (i, x, seed), strict=True))
    wide = rows[i].astype(np.float64)
    expected = np.cos(wide * x.astype(np.float64)) * wide * len(rows)
    np.testing.assert_allclose(exact(given)[traced.function.outputs[0]], expected, rtol=1e-13)


def _is_table(node: Any, rows: Any) -> bool:
    return node.op == "Const" and len(node.attr["value"].tensor.tensor_content) == rows.nbytes
