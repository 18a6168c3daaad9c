"""Inputs without a batch axis beside batched ones: parameters, a time, an adjacency matrix that all rows share."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback import InputError
from pullback.manifest import TensorSpec
from pullback_export import Gradient, compare, export

S = tf.TensorSpec
RNG = np.random.default_rng(0)
W = RNG.normal(size=(3, 4))
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def oscillator(x: Any, p: Any, t: Any) -> dict[str, Any]:
    """A vector and a number of each row, both of parameters and a time."""
    h = tf.tanh(x @ tf.cast(W, x.dtype) + p * t)
    return {"y": h, "e": tf.reduce_sum(h**2 * p, 1) * tf.exp(-t)}


def steps(x: Any, p: Any, t: Any) -> dict[str, Any]:
    """Three steps in a loop, which TensorFlow does not vectorise."""

    def step(i: Any, x: Any) -> Any:
        return i + 1, x + t * tf.sin(x * p)

    end = tf.while_loop(lambda i, x: i < 3, step, [0, x])[1]
    return {"y": end, "e": tf.reduce_sum(end**2, 1)}


def graph_layer() -> keras.Model:
    """A layer of a graph network: five nodes, one adjacency matrix for all rows."""
    keras.utils.set_random_seed(0)
    adjacency = keras.Input(batch_shape=(5, 5), name="adjacency")
    nodes = keras.Input((5, 3), name="nodes")
    mixed = keras.ops.matmul(adjacency, keras.layers.Dense(4, activation="tanh")(nodes))
    y = keras.layers.Dense(2, name="y")(keras.ops.tanh(mixed))
    return keras.Model([adjacency, nodes], {"y": y, "e": keras.ops.sum(y**2, axis=(1, 2))})


@dataclasses.dataclass(frozen=True)
class Row:
    """A function with its inputs, the names of the batched ones, and requests."""

    call: Callable[..., dict[str, Any]]
    inputs: tuple[tf.TensorSpec, ...]
    batched: Any
    requests: tuple[Any, ...]


EVERY = (
    *(
        "gradient(e, x)",
        "gradient(e, p)",
        Gradient("e", "t", name="slope"),
        "jacobian(y, x)",
        "jacobian(y, p)",
        "jacobian(y, p[1:3])",
    ),
    *("jacobian(y[2], p)", "derivative(e, t)", "derivative(e, t, t)", "derivative(e, x[0], t)", "hessian(e, p)"),
    *(
        "hessian(e, x, p)",
        "hessian(e, p, x)",
        "hessian(y, t)",
        "laplacian(e, p)",
        "vjp(y, p)",
        "vjp(y, x)",
        "vjp(y, t)",
    ),
    *("jvp(y, x)", "jvp(y, p)", "jvp(y, t)", "hvp(e, x)"),
)
FIRST = ("gradient(e, p)", "jacobian(y, p)", "vjp(y, p)", "vjp(e, x)", "jvp(y, p)")
FEW = (*FIRST, "hessian(e, p, x)", "hessian(e, t)")


def specs(dtype: str, width: int) -> tuple[tf.TensorSpec, ...]:
    return S([None, 3], dtype, "x"), S([width], dtype, "p"), S([], dtype, "t")


ROWS = {
    "float32": Row(oscillator, specs("float32", 4), True, EVERY),
    "float64": Row(oscillator, specs("float64", 4), ["x"], FEW),
    "loop": Row(steps, specs("float64", 3), "x", FIRST),
}


@pytest.fixture(scope="module", params=list(ROWS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Row, pathlib.Path]:
    row = ROWS[request.param]
    path = tmp_path_factory.mktemp("shared") / "it.pullback"
    export(row.call, path, row.requests, inputs=row.inputs, batched=row.batched)
    return row, path


def drawn(inputs: Sequence[Any], rows: int) -> dict[str, Any]:
    """Normal numbers, of which those that all rows share depend on nothing."""
    shapes = {spec.name: [rows if size is None else size for size in spec.shape.as_list()] for spec in inputs}
    rng = np.random.default_rng(3)
    return {spec.name: rng.normal(size=shapes[spec.name]).astype(spec.dtype.name) for spec in reversed(inputs)}


def zeros(function: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Seeds of a function in the shapes of the ``arrays`` that they belong to."""
    owners = {name: arrays[name[4:]] for name in sorted(function.spec.seeds)}
    return {name: np.zeros(np.shape(array), array.dtype) for name, array in owners.items()}


def of_row(row: Row, given: dict[str, Any], of: str, wrt: Sequence[str], number: int) -> Any:
    """The derivative of an output of one row alone by whole inputs, one after the other, with tapes."""
    alone = {
        spec.name: tf.constant(given[spec.name][number : number + 1] if spec.shape[:1] == [None] else given[spec.name])
        for spec in row.inputs
    }
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(list(alone.values()))
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(list(alone.values()))
            y = row.call(**alone)[of][0]
        found = inner.jacobian(y, alone[wrt[0]], experimental_use_pfor=False)
    for name in wrt[1:]:
        found = outer.jacobian(found, alone[name], experimental_use_pfor=False)
    batch = [name for name in wrt if given[name].ndim == 2]
    at = found.shape.rank - sum(given[name].ndim for name in wrt)
    for name in wrt:
        if name in batch:
            found = tf.squeeze(found, at)
            at += given[name].ndim - 1
        else:
            at += given[name].ndim
    return found.numpy()


RESULTS = (("gradient(e, p)", "e", "p"), ("jacobian(y, p)", "y", "p"), ("hessian(e, p, x)", "e", "px"))


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
def test_each_row_has_its_own_derivative(exported: tuple[Row, pathlib.Path], backend: str) -> None:
    row, path = exported
    bundle = pullback.load(path, backend=backend)
    assert bundle.verify().ok
    names = {item.request: item.name for item in bundle.spec.derivatives}
    for rows in (0, 1, 2, 7):
        given = drawn(row.inputs, rows)
        found = bundle(**given)
        want = {name: result.numpy() for name, result in row.call(**given).items()}
        tolerance = TOLERANCE[given["x"].dtype.name]
        for name, array in want.items():
            np.testing.assert_allclose(getattr(found, name), array, rtol=tolerance, atol=tolerance)
        for request, of, wrt in RESULTS:
            if request not in names:
                continue
            result = getattr(found, names[request])
            inner = [size for name in wrt for size in given[name].shape[given[name].ndim == 2 :]]
            assert result.shape == (rows, *want[of].shape[1:], *inner)
            for number in sorted({0, rows - 1}) if rows else ():
                alone = of_row(row, given, of, wrt, number)
                np.testing.assert_allclose(result[number], alone, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
def test_products_are_those_of_the_whole_batch(exported: tuple[Row, pathlib.Path], backend: str) -> None:
    """``<w, jvp v> == <vjp w, v>``, where a vjp by what all rows share sums over them."""
    row, path = exported
    bundle = pullback.load(path, backend=backend)
    for rows in (0, 1, 2, 7):
        given = drawn(row.inputs, rows)
        values = bundle(**given)
        direction = RNG.normal(size=given["p"].shape).astype(given["p"].dtype)
        pushed = bundle.jvp(**given, **zeros(bundle.jvp, given) | {"fwd_p": direction}).fwd_y
        tolerance = TOLERANCE[given["x"].dtype.name]
        np.testing.assert_allclose(pushed, values.dy_dp @ direction, rtol=tolerance, atol=tolerance)
        weights = RNG.normal(size=values.y.shape).astype(values.y.dtype)
        adjoints = zeros(bundle.vjp, values._asdict()) | {"adj_y": weights}
        pulled = bundle.vjp(**given, **adjoints).adj_p
        assert pulled.shape == given["p"].shape
        np.testing.assert_allclose((weights * pushed).sum(), pulled @ direction, rtol=tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("exported", ["float32"], indirect=True)
def test_every_kind_agrees_with_the_others(exported: tuple[Row, pathlib.Path]) -> None:
    row, path = exported
    bundle = pullback.load(path)
    given = drawn(row.inputs, 7)
    found = bundle(**given)
    close: Any = dict.fromkeys(("rtol", "atol"), TOLERANCE[given["x"].dtype.name])
    jacobian = found.dy_dp
    picked = {item.request: getattr(found, item.name) for item in bundle.spec.derivatives}
    np.testing.assert_allclose(picked["jacobian(y, p[1:3])"], jacobian[:, :, 1:3], **close)
    np.testing.assert_allclose(picked["jacobian(y[2], p)"], jacobian[:, 2], **close)
    np.testing.assert_allclose(picked["derivative(e, t)"], picked["gradient(e, t)"], **close)
    hessian = picked["hessian(e, p)"]
    np.testing.assert_allclose(hessian, hessian.swapaxes(1, 2), **close)
    np.testing.assert_allclose(picked["laplacian(e, p)"], np.trace(hessian, axis1=1, axis2=2), **close)
    np.testing.assert_allclose(picked["hessian(e, x, p)"], picked["hessian(e, p, x)"].swapaxes(1, 2), **close)


def test_the_manifest_says_which_they_are(exported: tuple[Row, pathlib.Path]) -> None:
    row, path = exported
    functions = pullback.load(path).functions
    dtype = row.inputs[0].dtype.name
    width = row.inputs[1].shape[0]
    held = {tensor.name: tensor for name in functions for tensor in functions[name].spec.inputs}
    assert held["x"] == TensorSpec("x", dtype, ("B", 3))
    assert held["p"] == TensorSpec("p", dtype, (width,))
    assert held["t"] == TensorSpec("t", dtype, ())
    assert held["fwd_p"] == TensorSpec("fwd_p", dtype, (width,))
    assert held["adj_y"].shape[0] == "B"
    evaluate, vjp = functions["evaluate"].spec, functions["vjp"].spec
    assert evaluate.shared_inputs == {"p", "t"}
    assert (evaluate.divisible, evaluate.rowwise, vjp.divisible) == (True, False, False)


WRONG = {
    "of each row": ({"p": (7, 4)}, "must be .* got .*it has no batch axis, all rows share one value"),
    "too short": ({"p": (3,)}, "axis 0 must have size 4"),
    "of one": ({"p": (1, 4)}, "it has no batch axis"),
    "a time of each row": ({"t": (7,)}, "'t' must be .* of shape .., got .*it has no batch axis"),
    "a batch of no axis": ({"x": (3,)}, "the batch axis is missing"),
}


@pytest.mark.parametrize("exported", ["float32"], indirect=True)
@pytest.mark.parametrize("case", list(WRONG))
def test_what_all_rows_share_has_its_exact_shape(case: str, exported: tuple[Row, pathlib.Path]) -> None:
    row, path = exported
    shapes, problem = WRONG[case]
    given = drawn(row.inputs, 7)
    wrong = {name: np.ones(shape, given[name].dtype) for name, shape in shapes.items()}
    bundle = pullback.load(path)
    for positional in (False, True):
        values = {**given, **wrong}
        with pytest.raises(InputError, match=problem):
            bundle(*[values[spec.name] for spec in row.inputs]) if positional else bundle(**values)


@pytest.mark.parametrize("exported", ["float32", "float64"], indirect=True)
@pytest.mark.parametrize("backend", ["onnx", "saved_model"])
def test_chunks_and_threads_take_it_whole(exported: tuple[Row, pathlib.Path], backend: str) -> None:
    row, path = exported
    bundle = pullback.load(path, backend=backend, **({"threads": 2} if backend == "onnx" else {}))
    given = drawn(row.inputs, 3000)
    close: Any = dict.fromkeys(("rtol", "atol"), TOLERANCE[given["x"].dtype.name])
    order = dict(reversed(given.items()))  # a shared input may come first
    whole = bundle(**given, chunk=0)
    for other in (bundle(**given), bundle(**order), bundle(**given, chunk=97), bundle(**order, chunk=2999)):
        for name, array in whole._asdict().items():
            np.testing.assert_allclose(getattr(other, name), array, **close)
    adjoints = zeros(bundle.vjp, whole._asdict())
    with pytest.raises(InputError, match="chunk needs a batch axis"):
        bundle.vjp(**given, **adjoints, chunk=10)


def test_several_directions(exported: tuple[Row, pathlib.Path]) -> None:
    row, path = exported
    bundle = pullback.load(path)
    given = drawn(row.inputs, 5)
    values = bundle(**given)
    width, dtype = len(given["p"]), given["p"].dtype
    seeds = {name: np.stack([seed] * width) for name, seed in zeros(bundle.jvp, given).items()}
    found = bundle.jvp(**given, **seeds | {"fwd_p": np.eye(width, dtype=dtype)}).fwd_y
    close: Any = dict.fromkeys(("rtol", "atol"), TOLERANCE[dtype.name])
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), values.dy_dp, **close)
    if "hvp" in bundle.functions:
        units = np.eye(3, dtype=dtype)[:, None].repeat(5, 1)
        products = bundle.hvp(**given, fwd_x=units).hvp_e_x
        assert products.shape == (3, 5, 3)
        for number in range(5):
            flat = bundle.flat(of="e", wrt="x", given={"p": given["p"], "t": given["t"]})
            np.testing.assert_allclose(products[:, number], flat.hess(given["x"][number]), **close)


def test_flat_views(exported: tuple[Row, pathlib.Path]) -> None:
    row, path = exported
    bundle = pullback.load(path)
    given = drawn(row.inputs, 5)
    values = bundle(**given)
    close: Any = dict.fromkeys(("rtol", "atol"), TOLERANCE[given["x"].dtype.name])
    by_p = bundle.flat(of="e", wrt="p", given={"x": given["x"][2], "t": given["t"]})
    np.testing.assert_allclose(by_p.value(given["p"]), values.e[2], **close)
    np.testing.assert_allclose(by_p.gradient(given["p"]), values.de_dp[2], **close)
    of_y = bundle.flat(of="y", wrt="p", given={"x": given["x"][2], "t": given["t"]})
    np.testing.assert_allclose(of_y.jacobian(given["p"]), values.dy_dp[2], **close)
    np.testing.assert_allclose(of_y.vjp(given["p"], values.y[0]), values.y[0] @ values.dy_dp[2], **close)
    points = np.stack([given["p"], given["p"] + 1])
    np.testing.assert_allclose(by_p.samples().value(points)[0], values.e[2], **close)
    by_x = bundle.flat(of="e", wrt="x", given={"p": given["p"], "t": given["t"]})
    found = by_x.samples().value(given["x"].astype(np.float64))
    np.testing.assert_allclose(found[:, 0], values.e, **close)
    np.testing.assert_allclose(by_x.samples().jacobian(given["x"][:2].astype(np.float64))[1, 0],
                               by_x.gradient(given["x"][1]), **close)  # fmt: skip
    with pytest.raises(InputError, match="given 'p' must be"):
        bundle.flat(of="e", wrt="x", given={"p": given["p"][None].repeat(2, 0), "t": given["t"]})


@pytest.mark.parametrize("exported", ["float64"], indirect=True)
def test_compare_knows_them(exported: tuple[Row, pathlib.Path]) -> None:
    row, path = exported
    given = drawn(row.inputs, 5)
    assert compare(row.call, path, given).ok

    def other(x: Any, p: Any, t: Any) -> dict[str, Any]:
        return row.call(x, p * 1.01, t)

    assert not compare(other, path, given).ok


def test_a_graph_network(tmp_path: pathlib.Path) -> None:
    model = graph_layer()
    requests = ["jacobian(y, adjacency)", "gradient(e, adjacency)", "gradient(e, nodes)", "vjp(y, adjacency)"]
    bundle = export(model, tmp_path / "b", requests, batched=True)
    assert [tensor.shape for tensor in bundle.spec.inputs] == [(5, 5), ("B", 5, 3)]
    adjacency = RNG.normal(size=(5, 5)).astype(np.float32)
    nodes = RNG.normal(size=(4, 5, 3)).astype(np.float32)
    a = tf.constant(adjacency)
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = model([a, tf.constant(nodes)])["y"]
    want = tape.jacobian(y, a)
    found = bundle(adjacency=adjacency, nodes=nodes)
    np.testing.assert_allclose(found.dy_dadjacency, want, rtol=1e-4, atol=1e-5)
    pulled = bundle.vjp(adjacency=adjacency, nodes=nodes, adj_y=y.numpy()).adj_adjacency
    np.testing.assert_allclose(pulled, np.tensordot(y, want, 3), rtol=1e-4, atol=1e-4)


class Diffusion(tf.Module):
    @tf.function(input_signature=[S([None, None, 2], tf.float64, "nodes"), S([None, None], tf.float64, "edges")])
    def __call__(self, nodes: Any, edges: Any) -> Any:
        return {"y": tf.tanh(edges @ nodes)}


def test_free_axes_of_a_saved_model(tmp_path: pathlib.Path) -> None:
    """Both inputs begin with a free axis: ``batched=`` names the one that is the batch."""
    tf.saved_model.save(Diffusion(), str(tmp_path / "saved"))
    requests = ["jacobian(y, edges)", "jvp(y, edges)", "vjp(y, edges)", "vjp(y, nodes)"]
    axes = {"nodes": {1: "atoms"}, "edges": {0: "atoms", 1: "atoms"}}
    bundle = export(tmp_path / "saved", tmp_path / "b", requests, batched=["nodes"], axes=axes)
    shapes = {tensor.name: tensor.shape for tensor in bundle.jvp.spec.inputs}
    assert shapes == {"nodes": ("B", "atoms", 2), "edges": ("atoms", "atoms"), "fwd_edges": ("atoms", "atoms")}
    for rows, atoms in ((0, 3), (1, 4), (7, 2)):
        nodes, edges = RNG.normal(size=(rows, atoms, 2)), RNG.normal(size=(atoms, atoms))
        e = tf.constant(edges)
        with tf.GradientTape() as tape:
            tape.watch(e)
            y = tf.tanh(e @ nodes)
        found = bundle(nodes=nodes, edges=edges)
        want = tape.jacobian(y, e) if rows else np.zeros((0, atoms, 2, atoms, atoms))
        np.testing.assert_allclose(found.dy_dedges, want, atol=1e-12)
        pushed = bundle.jvp(nodes=nodes, edges=edges, fwd_edges=edges).fwd_y
        np.testing.assert_allclose(pushed, np.tensordot(want, edges, 2), atol=1e-12)
    with pytest.raises(InputError, match="atoms is 4 here and 5"):
        bundle(nodes=np.zeros((2, 4, 2)), edges=np.zeros((5, 5)))
