"""Functions that meet points, ``batch_axes=2``: each function's derivatives at each point, against whole ones."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, cli, export
from pullback_export.gate.existing_bundle import compare

from tests.rotation import chosen

Arrays = Mapping[str, np.ndarray[Any, Any]]
RNG = np.random.default_rng(3)
BRANCH, TRUNK, MIX = (RNG.normal(size=shape) / 2 for shape in ((3, 4), (2, 4), (4, 3)))
SIZES = (0, 1, 2, 7)
SCALAR = [
    *("gradient(y, x)", "jacobian(y, u)", "hessian(y, x)", "hessian(y, x, u)", "hessian(y, u)", "laplacian(y, x)"),
    *("vjp(y, x)", "vjp(y, u)", "jvp(y, x)"),
]


def _basis(u: Any) -> Any:
    return tf.tanh(u @ tf.constant(BRANCH, u.dtype))


def _modes(x: Any) -> Any:
    return tf.sin(tf.tensordot(x, tf.constant(TRUNK, x.dtype), 1))


def own_points(u: Any, x: Any) -> Any:
    return {"y": tf.einsum("bp,bnp->bn", _basis(u), _modes(x))}


def shared_points(u: Any, x: Any) -> Any:
    return {"y": _basis(u) @ tf.transpose(_modes(x)) + tf.reduce_sum(u**2, 1)[:, None]}


def vectors(u: Any, x: Any) -> Any:
    """Three components at each point, and the coordinates themselves."""
    return {"y": (_basis(u)[:, None] * _modes(x)) @ tf.constant(MIX, x.dtype) + x[..., :1]}


def with_time(u: Any, x: Any, t: Any, k: Any) -> Any:
    """A time of each point, the same for all functions, and one number for all."""
    return {"y": tf.einsum("bp,bnp->bn", _basis(u), _modes(x)) * tf.exp(-k * t[:, 0]) + tf.sin(t[:, 0])}


def marching(u: Any, x: Any) -> Any:
    """A loop, which ``tf.vectorized_map`` cannot have: seeds take copies of the functions."""
    state = _modes(x)
    for _ in tf.range(3):
        state = state + 0.3 * tf.tanh(state * _basis(u)[:, None])
    return {"y": tf.reduce_sum(state, -1)}


class Case(NamedTuple):
    name: str
    model: Callable[..., Any]
    inputs: Mapping[str, tuple[int | None, ...]]
    requests: list[str]
    batched: Mapping[str, str] | None = None
    out: tuple[int, ...] = ()


OWN = {"u": (None, 3), "x": (None, None, 2)}
GRID = {"u": (None, 3), "x": (None, 2)}
FREE = {"u": (None, None), "x": (None, None, 2)}
CASES = (
    Case("own", own_points, OWN, [*SCALAR, "hvp(y, x)", "derivative(y, x[0], x[1])"]),
    Case("grid", shared_points, GRID, SCALAR, {"u": "functions", "x": "points"}),
    Case("vectors", vectors, OWN, ["jacobian(y, x)", "hessian(y, x)", "laplacian(y, x)", "jacobian(y, u)",
         "vjp(y, x)", "vjp(y, u)", "jvp(y, x)", "hvp(y, x)", "weighted_hessian(y, x)", "gradient(y[1], x)"],
         None, (3,)),
    Case("time", with_time, {**OWN, "t": (None, 1), "k": ()}, ["gradient(y, x)", "gradient(y, t)", "gradient(y, k)",
         "hessian(y, x, t)", "hessian(y, t, k)", "laplacian(y, t)", "vjp(y, t)", "vjp(y, k)", "vjp(y, u)"],
         {"u": "functions", "x": "both", "t": "points"}),
    Case("loop", marching, OWN, ["gradient(y, x)", "hessian(y, x)", "laplacian(y, x)", "gradient(y, u)",
         "hessian(y, u, x)"]),
)  # fmt: skip
DTYPES = ("float64", "float32")
# Of four commits in a row, one runs a case in float64 and one in float32; the loop takes a minute.
ROWS = [
    pytest.param(
        case,
        dtype,
        id=f"{case.name}-{dtype}",
        marks=() if turn == number and case.name != "loop" else pytest.mark.slow,
    )
    for case in CASES
    for turn in (chosen(f"points {case.name}", 4),)
    for number, dtype in enumerate(DTYPES)
]


def exported(case: Case, dtype: str, folder: pathlib.Path, **options: Any) -> pullback.Bundle:
    inputs = [tf.TensorSpec(shape, dtype, name) for name, shape in case.inputs.items()]
    options = {"batched": case.batched, "batch_axes": 2, **options}
    return export(case.model, folder / f"{case.name}.pullback", case.requests, inputs=inputs, **options)


def has(case: Case, name: str) -> tuple[bool, bool]:
    """Whether an input has functions, and points."""
    free = [size is None for size in case.inputs[name][:2]]
    word = (case.batched or {}).get(name, "both" if free == [True, True] else "functions" if any(free) else "")
    return word in ("functions", "both"), word in ("points", "both")


def drawn(case: Case, functions: int, points: int, dtype: str) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for name, shape in case.inputs.items():
        rows, columns = has(case, name)
        sample = shape[rows + columns :]
        found[name] = RNG.normal(size=(functions,) * rows + (points,) * columns + sample).astype(dtype)
    return found


def part(case: Case, arrays: Arrays, functions: slice, points: slice) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for name, array in arrays.items():
        rows, columns = has(case, name)
        found[name] = array[(functions,) * rows + (points,) * columns]
    return found


class Dense:
    """Derivatives of the whole arrays by nested tapes, of which each pair's own are picked."""

    def __init__(self, case: Case, arrays: Arrays, dtype: str = "float64") -> None:
        self.case = case
        self.arrays = {name: array.astype(dtype) for name, array in arrays.items()}
        self._known: dict[tuple[str, ...], np.ndarray[Any, Any]] = {}
        tensors = {name: tf.constant(array) for name, array in self.arrays.items()}
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(list(tensors.values()))
            with tf.GradientTape(persistent=True) as inner:
                inner.watch(list(tensors.values()))
                y = case.model(*tensors.values())["y"]
            first = {name: inner.jacobian(y, tensors[name]) for name in self._names(0)}
        self.batch = tuple(y.shape[:2])
        self._known = {(name,): self._own(found.numpy(), name) for name, found in first.items()}
        for one, other in self._pairs():
            dense = outer.jacobian(first[one], tensors[other]).numpy()
            self._known[one, other] = self._own(dense, one, other)

    def _pairs(self) -> set[tuple[str, str]]:
        named = (_wrt(request) for request in self.case.requests)
        return {(one.split("[")[0], other.split("[")[0]) for one, other in (names for names in named if len(names) > 1)}

    def _names(self, place: int) -> set[str]:
        return {_wrt(request)[place].split("[")[0] for request in self.case.requests}

    def _own(self, dense: np.ndarray[Any, Any], *wrt: str) -> np.ndarray[Any, Any]:
        """``(B, N, *out, *in)``: the entry of each pair by what is its own; by what is others' it must be zero."""
        before = 2 + len(self.case.out)
        own = np.zeros((*self.batch, *self.case.out, *(size for name in wrt for size in self.sample(name))))
        rest = np.array(dense)
        for b, n in itertools.product(*map(range, self.batch)):
            index: list[Any] = [b, n, *[slice(None)] * len(self.case.out)]
            for name in wrt:
                rows, columns = has(self.case, name)
                index += [b] * rows + [n] * columns + [slice(None)] * len(self.sample(name))
            own[b, n] = dense[tuple(index)]
            rest[tuple(index)] = 0
        assert dense.ndim >= before
        assert not rest.any()
        return own

    def sample(self, name: str) -> tuple[int, ...]:
        return self.arrays[name].shape[sum(has(self.case, name)) :]

    def of(self, request: str) -> np.ndarray[Any, Any]:
        """What a request gives."""
        wrt = _wrt(request)
        names = tuple(name.split("[")[0] for name in wrt)
        found = self._known[names]
        if "y[" in request:
            found = found[:, :, int(request.split("y[")[1][0])]
        if request.startswith("laplacian"):
            return np.trace(found, axis1=-2, axis2=-1)
        if request.startswith("derivative"):
            return found[..., int(wrt[0][2:-1]), int(wrt[1][2:-1])]
        return found


def _wrt(request: str) -> tuple[str, ...]:
    kind, names = request.rstrip(")").split("(")
    _, *wrt = names.split(", ")
    twice = kind in ("hessian", "laplacian", "hvp", "weighted_hessian") and len(wrt) == 1
    return tuple(wrt * 2 if twice else wrt)


def product(dense: Dense, kind: str, name: str, seeds: Arrays) -> np.ndarray[Any, Any]:
    """What the pairs' Jacobians give for seeds: sums over what shares the input, by the definition of a vjp."""
    rows, columns = has(dense.case, name)
    letters = "o"[: len(dense.case.out)]
    jacobian = dense.of(f"jacobian(y, {name})").reshape(*dense.batch, *dense.case.out, -1)
    own = "b" * rows + "n" * columns + "i"
    if kind == "vjp":
        found = np.einsum(f"bn{letters}i,bn{letters}->{own}", jacobian, seeds["adj_y"])
        return found.reshape(dense.arrays[name].shape)
    tangent = seeds[f"fwd_{name}"].reshape(*dense.arrays[name].shape[: rows + columns], -1)
    return np.einsum(f"bn{letters}i,{own}->bn{letters}", jacobian, tangent)


@pytest.mark.parametrize(("case", "dtype"), ROWS)
def test_each_pair_has_its_own_derivatives(case: Case, dtype: str, tmp_path: pathlib.Path) -> None:
    bundle = exported(case, dtype, tmp_path)
    assert bundle.manifest is not None
    assert bundle.manifest.format_version == 2
    assert bundle.spec.batch_axes == 2
    assert bundle.verify().ok
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    arrays = drawn(case, 3, 4, dtype)
    dense = Dense(case, arrays)
    whole: dict[str, Any] = {}
    for backend in ("onnx", "saved_model"):
        loaded = pullback.load(bundle.path, backend=backend)
        results = loaded(**arrays)._asdict()
        for item in loaded.spec.derivatives:
            want = dense.of(item.request)
            assert results[item.name].shape == want.shape, item.request
            np.testing.assert_allclose(results[item.name], want, rtol=tolerance, atol=tolerance * np.abs(want).max())
        whole = results if backend == "onnx" else whole
        _check_products(dense, loaded, arrays, tolerance)
        for functions, points in itertools.product(SIZES, SIZES):
            some = part(case, drawn(case, 7, 7, dtype), slice(functions), slice(points))
            shapes = {name: array.shape for name, array in loaded(**some)._asdict().items()}
            assert shapes == {name: (functions, points, *array.shape[2:]) for name, array in whole.items()}
    few = loaded(**part(case, arrays, slice(2), slice(1, 3)))._asdict()
    for name, array in few.items():
        np.testing.assert_allclose(array, whole[name][:2, 1:3], rtol=tolerance, atol=tolerance, err_msg=name)


def _check_products(dense: Dense, bundle: pullback.Bundle, arrays: Arrays, tolerance: float) -> None:
    """Products are those of the Jacobians of the pairs; second-order ones those of the Hessians."""
    y = bundle(**arrays, fetch=("y",)).y
    shapes = {"adj_y": y.shape} | {f"fwd_{name}": array.shape for name, array in arrays.items()}
    for kind in set(bundle.functions) - {"evaluate"}:
        spec = bundle.functions[kind].spec
        seeds = {name: RNG.normal(size=shapes[name]).astype(y.dtype) for name in sorted(spec.seeds)}
        results = bundle.functions[kind](**arrays, **seeds)._asdict()
        for item in spec.requested:
            if kind in ("vjp", "jvp"):
                want = product(dense, kind, item.wrt[0], seeds)
            else:
                weights = seeds["adj_y"] if dense.case.out else np.ones((*dense.batch, 1))
                blocks = dense.of("hessian(y, x)").reshape(*dense.batch, -1, 2, 2)
                want = np.einsum("bnoij,bno->bnij", blocks, weights)
                want = np.einsum("bnij,bnj->bni", want, seeds["fwd_x"]) if kind == "hvp" else want
            scale = tolerance * np.abs(want).max()
            np.testing.assert_allclose(results[item.name], want, rtol=tolerance, atol=scale, err_msg=item.request)


def test_one_function_at_one_point_is_a_flat_view(tmp_path: pathlib.Path) -> None:
    case = CASES[0]
    bundle = exported(case, "float64", tmp_path)
    arrays = drawn(case, 1, 1, "float64")
    found = bundle(**arrays)
    flat = bundle.flat(of="y", wrt=("u", "x"))
    x = np.concatenate([arrays["u"].ravel(), arrays["x"].ravel()])
    assert flat.value(x) == pytest.approx(found.y.item(), rel=1e-12)
    np.testing.assert_allclose(flat.gradient(x), [*found.dy_du.ravel(), *found.dy_dx.ravel()], rtol=1e-10)
    np.testing.assert_allclose(flat.hess(x)[3:, 3:], found.d2y_dx2[0, 0], rtol=1e-10)
    by_x = bundle.flat(of="y", wrt="x", given={"u": arrays["u"][0]})
    np.testing.assert_allclose(by_x.hessp(x[3:], np.ones(2)), found.d2y_dx2[0, 0].sum(1), rtol=1e-10)
    points = RNG.normal(size=(5, 2))
    np.testing.assert_allclose(by_x.samples().jacobian(points)[:, 0], [by_x.gradient(p) for p in points], rtol=1e-10)


def test_compare_knows_the_axes_from_the_bundle(tmp_path: pathlib.Path) -> None:
    case = CASES[1]._replace(requests=["gradient(y, x)"])
    bundle = exported(case, "float32", tmp_path, formats="onnx")
    assert compare(case.model, bundle.path).ok
    assert not compare(lambda u, x: {"y": 1.01 * case.model(u, x)["y"]}, bundle.path).ok


def test_a_deeponet_of_keras(tmp_path: pathlib.Path) -> None:
    """Sensors and points as a functional model: which inputs have points is seen from their free axes."""
    keras.utils.set_random_seed(1)
    sensors, places = keras.Input((3,), name="u"), keras.Input((None, 2), name="x")
    branch = keras.layers.Dense(4, activation="tanh")(keras.layers.Dense(6, activation="tanh")(sensors))
    trunk = keras.layers.Dense(4, activation="swish")(keras.layers.Dense(6, activation="tanh")(places))
    model = keras.Model([sensors, places], keras.layers.Dot((1, 2), name="y")([branch, trunk]))
    wanted = ["gradient(y, x)", "laplacian(y, x)", "gradient(y, u)", "vjp(y, u)"]
    bundle = export(model, tmp_path / "net.pullback", wanted, batch_axes=2, outputs=["y"])
    case = Case("keras", lambda u, x: {"y": model([u, x])}, OWN, wanted)
    arrays = drawn(case, 2, 3, "float32")
    dense, results = Dense(case, arrays, "float32"), bundle(**arrays)._asdict()
    for item in bundle.spec.derivatives:
        want = dense.of(item.request)
        np.testing.assert_allclose(results[item.name], want, rtol=2e-4, atol=2e-5, err_msg=item.request)


@pytest.mark.parametrize(
    ("request_", "says"), [("jacobian(mix, x)", "make it an output"), ("gradient(y[0], mix)", "mix")]
)
def test_inner_layers_are_refused(request_: str, says: str, tmp_path: pathlib.Path) -> None:
    """A layer that mixes points, before an output that does not change with the others."""
    places = keras.Input((None, 2), name="x")
    mixed = keras.layers.Softmax(axis=1, name="mix")(places)
    y = keras.layers.Lambda(lambda pair: pair[0] + 0 * pair[1], name="y")([keras.layers.Dense(2)(places), mixed])
    with pytest.raises(ExportError, match=says):
        export(keras.Model(places, y), tmp_path / "net.pullback", [request_], batch_axes=2)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_it_too(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "operators.py").write_text(
        "import tensorflow as tf\n\n\ndef on_grid(u, x):\n    return {'y': tf.tanh(u) @ tf.transpose(tf.sin(x))}\n"
    )
    monkeypatch.chdir(tmp_path)
    arguments = [
        "operators.py:on_grid",
        "grid.pullback",
        "--input",
        "u:float64[None,2]",
        "--input",
        "x:float64[None,2]",
    ]
    arguments += ["-d", "gradient(y, x)", "--format", "onnx", "--batch-axes", "2", "-q"]
    assert cli.main([*arguments, "--batched", "u=functions,x=points"]) == 0
    assert pullback.load("grid.pullback").spec.batch_axes == 2
    assert cli.main([*arguments, "--overwrite", "--batched", "u=functions,x"]) == 2
    assert cli.main([*arguments, "--overwrite"]) == 2


def test_axes_names_the_points(tmp_path: pathlib.Path) -> None:
    bundle = exported(CASES[0], "float64", tmp_path, axes={"x": {1: "places"}})
    assert bundle.spec.points == "places"
    assert next(tensor for tensor in bundle.spec.outputs if tensor.name == "dy_dx").shape == ("B", "places", 2)


def test_sensors_of_any_number_are_no_points(tmp_path: pathlib.Path) -> None:
    """As many sensors as points, too: the axes are told apart by what was said of them."""
    case = Case("sensors", of_free_sensors, FREE, ["gradient(y, u)", "gradient(y, x)"],
                {"u": "functions", "x": "both"})  # fmt: skip
    bundle = exported(case, "float64", tmp_path, formats="onnx")
    assert {tensor.name: tensor.shape for tensor in bundle.spec.outputs}["dy_du"] == ("B", "points", "u_1")
    u, x = RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4, 2))
    found = bundle(u=u, x=x)
    slope = (1 - np.tanh((u**2).sum(1)) ** 2)[:, None, None] * np.sin(x).sum(-1)[..., None] * 2 * u[:, None]
    np.testing.assert_allclose(found.dy_du, slope, rtol=1e-10, atol=1e-12)


def softmax_over_points(u: Any, x: Any) -> Any:
    return {"y": tf.nn.softmax(own_points(u, x)["y"], axis=1)}


def mean_over_functions(u: Any, x: Any) -> Any:
    return {"y": own_points(u - tf.reduce_mean(u, 0), x)["y"]}


def of_free_sensors(u: Any, x: Any) -> Any:
    """The function by its values at any number of sensors."""
    return {"y": tf.tanh(tf.reduce_sum(u**2, 1))[:, None] * tf.reduce_sum(tf.sin(x), -1)}


def without_points(u: Any, x: Any) -> Any:
    return {"y": tf.reduce_sum(own_points(u, x)["y"], 1)}


def _refused(inputs: Mapping[str, Any], says: str, model: Any = own_points, request: str = "gradient(y, x)",
             **options: Any) -> Any:  # fmt: skip
    return pytest.param(model, inputs, request, options, says, id=says[:50])


REFUSED = (
    _refused(OWN, "'y' at one point changes with the other points", softmax_over_points),
    _refused(OWN, "'y' of one sample changes with the other samples", mean_over_functions),
    _refused(OWN, "no axis of the points after that of the functions", without_points),
    _refused(GRID, r"say it: batched=\{'u': 'functions', 'x': 'points'\}", shared_points),
    _refused(GRID, "none of the inputs .* has the axis of the points", shared_points, batched={"u": "functions"}),
    _refused(GRID, "input 'x' of shape .* has no two batch axes", shared_points,
             batched={"u": "functions", "x": "both"}),
    _refused({"u": (1, 3), "x": (4, 2)}, "none of the inputs .* has a batch axis", shared_points),
    _refused(OWN, "write 'functions', 'points' or 'both'", batched={"u": "rows", "x": "both"}),
    _refused(OWN, "there is no input 'z'", batched={"z": "both"}),
    _refused(OWN, "batched=False with batch_axes=2", batched=False),
    _refused(OWN, "write batch_axes=2 beside it", batched={"u": "functions", "x": "both"}, batch_axes=1),
    _refused(OWN, "batch_axes=3: write 1, or 2", batch_axes=3),
    _refused(OWN, "training=True with batch_axes=2", training=True),
    _refused(OWN, "u has no points axis, all points share it, and hvp", request="hvp(y, u)"),
    _refused(OWN, r"y has shape \('B', 'N', 3\)", vectors),
    _refused(FREE, "If the axis of one of u, x counts something else", of_free_sensors),
    _refused(FREE, "'m' is the name of the axis of the points; give axis 1 another",
             of_free_sensors, batched={"u": "functions", "x": "both"}, axes={"u": {1: "m"}, "x": {1: "m"}}),
    _refused({**OWN, "t": (None, None, 1)}, "axis of the points has one name", lambda u, x, t: own_points(u, x),
             axes={"x": {1: "a"}, "t": {1: "b"}}),
)  # fmt: skip


@pytest.mark.parametrize(("model", "inputs", "request_", "options", "says"), REFUSED)
def test_what_is_refused(
    model: Any, inputs: Mapping[str, Any], request_: str, options: Any, says: str, tmp_path: pathlib.Path
) -> None:
    case = Case("refused", model, inputs, [request_])
    with pytest.raises(ExportError, match=says):
        exported(case, "float32", tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
