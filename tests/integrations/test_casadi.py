"""``function`` in CasADi: derivatives in its order, against closed forms and its own; IPOPT with exact Hessians."""

from __future__ import annotations

import ast
import functools
import os
import pathlib
import subprocess
import sys
from typing import Any

import casadi
import numpy as np
import pullback
import pytest
import scipy.optimize
import tensorflow as tf
from pullback.cli import main
from pullback.integrations import casadi as ours_of
from pullback.integrations.casadi import native
from pullback_export import export

A, B = np.array([0.3, -0.5]), np.array([0.8, 0.2])


@pytest.fixture(params=["native", "callback"])
def function(request: pytest.FixtureRequest) -> Any:
    """Without Python in the loop, and by callbacks."""
    return functools.partial(ours_of.function, backend=request.param)


def symbolic_pair() -> Any:
    """The model ``mixed`` of conftest, written in CasADi."""
    a, b = casadi.SX.sym("a", 2), casadi.SX.sym("b", 2)
    u = casadi.vertcat(casadi.sin(a[0]) * b[0], a[1] ** 2 + b[1] ** 3, a[0] * a[1] * b[0])
    return casadi.Function("f", [a, b], [u, casadi.sum1(a) * b[0] ** 2], ["a", "b"], ["u", "s"])


def matrices(w: Any) -> Any:
    """A matrix of 2 x 3 to a matrix of 3 x 2, whose row-major and column-major orders differ."""
    return {"p": tf.transpose(w, [0, 2, 1]) ** 3 * tf.constant([[1.0, 2], [3, 4], [5, 6]], tf.float64)}


@pytest.fixture(scope="module")
def second(folder: pathlib.Path) -> pullback.Bundle:
    """``mixed`` of conftest with all that is wanted of second order, from vjps alone at first order."""
    from tests.integrations.conftest import mixed

    inputs = [tf.TensorSpec([None, 2], tf.float64, name) for name in "ab"]
    wanted = [f"vjp({of}, {wrt})" for of in "us" for wrt in "ab"]
    wanted += [f"weighted_hessian(u, {args})" for args in ("a", "b", "a, b")]
    wanted += [f"hessian(s, {args})" for args in ("a", "b", "a, b")]
    return export(mixed, folder / "second.pullback", wanted, inputs=inputs, unconnected="zero")


def test_every_derivative_is_that_of_casadi(second: pullback.Bundle, function: Any) -> None:
    """Values, Jacobian, Jacobian of the Jacobian, reverse mode, and its Jacobian; two inputs and two outputs."""
    ours, theirs = function(second, of=["u", "s"]), symbolic_pair()
    jacobians = (ours.jacobian(), theirs.jacobian())
    for left, right in [(ours, theirs), jacobians, (jacobians[0].jacobian(), jacobians[1].jacobian())]:
        assert left.name_out() == right.name_out()
        rest = [0] * (left.n_in() - 2)
        for name, x, y in zip(left.name_out(), left(A, B, *rest), right(A, B, *rest), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("count", [1, 3])
def test_directions_are_those_of_casadi(second: pullback.Bundle, function: Any, count: int) -> None:
    """Forward and reverse mode along several directions at once, and the Jacobian of reverse mode."""
    rng = np.random.default_rng(count)
    for ours, theirs in [
        (f(second), f(None))
        for f in (
            lambda b: _model(b, function).forward(count),
            lambda b: _model(b, function).reverse(count),
            lambda b: _model(b, function).reverse(count).jacobian(),
            lambda b: _model(b, function).reverse(count).forward(2),
        )
    ]:
        point = [rng.normal(size=ours.size_in(k)) for k in range(ours.n_in())]
        for name, x, y in zip(ours.name_out(), ours(*point), theirs(*point), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13, err_msg=name)


def _model(bundle: pullback.Bundle | None, function: Any) -> Any:
    return symbolic_pair() if bundle is None else function(bundle, of=["u", "s"])


def test_a_lagrangian(second: pullback.Bundle, function: Any) -> None:
    found = []
    for f in (_model(second, function), _model(None, function)):
        a, b = casadi.MX.sym("a", 2), casadi.MX.sym("b", 2)
        u, s = f(a, b)
        energy = casadi.dot(casadi.DM([1.0, -2.0, 0.5]), u) + casadi.sin(s)
        gradient = casadi.vertcat(casadi.gradient(energy, a), casadi.gradient(energy, b))
        hessian = casadi.horzcat(casadi.jacobian(gradient, a), casadi.jacobian(gradient, b))
        found.append(casadi.Function("l", [a, b], [gradient, hessian])(A, B))
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13)


@pytest.fixture(scope="module")
def of_matrices(folder: pathlib.Path) -> pullback.Bundle:
    inputs = [tf.TensorSpec([None, 2, 3], tf.float64, "w")]
    return export(matrices, folder / "matrices.pullback", ["jacobian(p, w)", "weighted_hessian(p, w)"], inputs=inputs)


def test_matrices_are_ordered_by_columns(of_matrices: pullback.Bundle, function: Any) -> None:
    w = casadi.SX.sym("w", 2, 3)
    theirs = casadi.Function("f", [w], [w.T**3 * casadi.DM([[1, 2], [3, 4], [5, 6]])], ["w"], ["p"])
    ours = function(of_matrices)
    rng = np.random.default_rng(0)
    for left, right in [
        (ours, theirs),
        (ours.jacobian(), theirs.jacobian()),
        (ours.jacobian().jacobian(), theirs.jacobian().jacobian()),
        (ours.reverse(2), theirs.reverse(2)),
        (ours.reverse(2).jacobian(), theirs.reverse(2).jacobian()),
    ]:
        point = [rng.normal(size=left.size_in(k)) for k in range(left.n_in())]
        for name, x, y in zip(left.name_out(), left.call(point), right.call(point), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13, err_msg=name)


def _solve(f: Any, n: int, **options: Any) -> tuple[Any, Any]:
    x = casadi.MX.sym("x", n)
    quiet = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", **options}}
    solver = casadi.nlpsol("solver", "ipopt", {"x": x, "f": f(x), "g": casadi.sum1(x)}, quiet)
    return solver(x0=[-1.2, 1.0, 0.5], lbg=-10, ubg=10), solver.stats()


def test_ipopt_with_the_exact_hessian(valley: pullback.Bundle, function: Any) -> None:
    """A float32 bundle at a tolerance that its rounding allows."""
    single = valley.spec.inputs[0].dtype == "float32"
    options = {"tol": 1e-3 if single else 1e-9}
    found, stats = _solve(function(valley), 3, **options)
    assert stats["success"]
    np.testing.assert_allclose(np.array(found["x"])[:, 0], np.ones(3), atol=1e-3 if single else 1e-7)
    if not single:
        _, approximate = _solve(function(valley), 3, hessian_approximation="limited-memory", **options)
        assert stats["iter_count"] < approximate["iter_count"]
        assert stats["n_call_nlp_hess_l"] > 0


def test_a_derivative_evaluates_nothing_else(pair: pullback.Bundle, function: Any) -> None:
    """CasADi passes the outputs to a derivative; where those were dense, it evaluated the model once more for them."""
    a = casadi.MX.sym("a", 2)
    b = casadi.MX.sym("b", 2)
    f = function(pair, of=["u"])
    u = f(a, b)
    weights = casadi.DM([1.0, -2.0, 0.5])
    jacobian = casadi.Function("first", [a, b], [casadi.jacobian(u, a)])
    adjoint = casadi.Function("adjoint", [a, b], [casadi.jtimes(u, a, weights, True)])
    hessian = casadi.Function("second", [a, b], [casadi.hessian(casadi.dot(weights, u), a)[0]])
    for graph in (jacobian, adjoint, hessian):
        called = [node.name() for node in graph.find_functions(0)]
        assert len(called) == 1, called
        assert called[0] != "f"
    np.testing.assert_allclose(np.array(hessian(A, B)), _lagrangian_hessian(weights), atol=1e-13)


def _lagrangian_hessian(weights: Any) -> Any:
    a, b = casadi.SX.sym("a", 2), casadi.SX.sym("b", 2)
    value = casadi.dot(weights, symbolic_pair()(a, b)[0])
    return np.array(casadi.Function("h", [a, b], [casadi.hessian(value, a)[0]])(A, B))


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/task").is_dir(), reason="threads are counted in /proc/self/task, which Linux alone has"
)
def test_small_graphs_run_on_one_thread(pair: pullback.Bundle) -> None:
    """Threads of ONNX Runtime spin beside a small graph; our files ask for none; other sessions stay as they are."""

    def threads_of(given: Any) -> int:
        before = len(list(pathlib.Path("/proc/self/task").iterdir()))
        f = ours_of.function(pair, of=["u"], wrt=["a"], given={"b": given}, backend="native")
        a = casadi.MX.sym("a", 2)
        casadi.Function("second", [a], [casadi.hessian(casadi.sum1(f(a)), a)[0]])(A)
        return len(list(pathlib.Path("/proc/self/task").iterdir())) - before

    threads_of(B)  # what CasADi and its library start once
    assert threads_of(2 * B) == 0
    assert native.OPTIONS not in os.environ


def test_the_callback_outlives_its_name(valley: pullback.Bundle, function: Any) -> None:
    import gc

    x = casadi.MX.sym("x", 3)
    graph = casadi.Function("g", [x], [casadi.gradient(function(valley)(x), x)])
    gc.collect()
    point = np.array([0.1, -0.4, 0.7])
    tolerance = 1e-5 if valley.spec.inputs[0].dtype == "float32" else 1e-12
    np.testing.assert_allclose(np.array(graph(point))[:, 0], scipy.optimize.rosen_der(point), rtol=tolerance)


def test_what_is_missing_is_named(products: pullback.Bundle) -> None:
    function = ours_of.function
    f = function(products, of=["u[1]"], wrt=["a"], given={"b": B})
    assert f.name_in() == ["a"] and f.name_out() == ["u_1"]
    np.testing.assert_allclose(np.array(f.jacobian()(A, 0)), [[0, 2 * A[1]]], atol=1e-15)
    with pytest.raises(Exception, match=r"hessian\(u\[1\], a\)|weighted_hessian"):
        f.jacobian().jacobian()
    with pytest.raises(pullback.InputError, match="lists of names"):
        function(products, of="u")
    with pytest.raises(pullback.PullbackError, match="z"):
        function(products, of=["z"])


def test_from_products_alone(products: pullback.Bundle) -> None:
    """A Jacobian from vjps of unit seeds, one file for each output."""
    native, symbolic = ours_of.function(products, of=["u", "s"], backend="native"), symbolic_pair()
    for x, y in zip(native.jacobian()(A, B, 0, 0), symbolic.jacobian()(A, B, 0, 0), strict=True):
        np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("second_order", [("hvp(u, a)",), ("hessian(u, a)",), ("weighted_hessian(u, a)",)])
def test_second_order_of_each_kind(folder: pathlib.Path, second_order: tuple[str, ...]) -> None:
    """From products with both seeds, dense Hessians and weighted ones; ``b`` fixed."""
    from tests.integrations.conftest import mixed

    inputs = [tf.TensorSpec([None, 2], tf.float64, name) for name in "ab"]
    name = second_order[0].split("(")[0]
    bundle = export(mixed, folder / f"by_{name}.pullback", ["jvp(u, a)", *second_order], inputs=inputs)
    f = ours_of.function(bundle, of=["u"], wrt=["a"], given={"b": B}, backend="native")
    a = casadi.SX.sym("a", 2)
    theirs = casadi.Function("f", [a], [symbolic_pair()(a, B)[0]], ["a"], ["u"])
    for left, right in [(f, theirs), (f.jacobian(), theirs.jacobian())]:
        np.testing.assert_allclose(np.array(left.call([A] + [0] * (left.n_in() - 1))[0]), _at(right), atol=1e-13)
    np.testing.assert_allclose(
        np.array(f.jacobian().jacobian()(A, 0, 0)[0]), _at(theirs.jacobian().jacobian()), atol=1e-13
    )


@pytest.mark.filterwarnings("ignore:hvp_s_a")  # a sum has no curvature
def test_second_order_of_two_inputs_from_products(folder: pathlib.Path) -> None:
    """Mixed blocks from ``hvp(y, a, b)``: each file is a batch of unit directions of one input."""
    from tests.integrations.conftest import mixed

    inputs = [tf.TensorSpec([None, 2], tf.float64, name) for name in "ab"]
    wanted = [f"jvp({of}, {wrt})" for of in "us" for wrt in "ab"]
    wanted += [f"hvp({of}, {wrt})" for of in "us" for wrt in ("a", "a, b", "b, a", "b")]
    bundle = export(mixed, folder / "blocks.pullback", wanted, inputs=inputs, formats="onnx", unconnected="zero")
    ours, theirs = ours_of.function(bundle, of=["u", "s"], backend="native"), symbolic_pair()
    found = ours.jacobian().jacobian()(A, B, *[0] * 6)
    want = theirs.jacobian().jacobian()(A, B, *[0] * 6)
    for x, y in zip(found, want, strict=True):
        np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13)


def _at(function: Any) -> Any:
    return np.array(function.call([A] + [0] * (function.n_in() - 1))[0])


def test_a_saved_function_needs_no_pullback(valley: pullback.Bundle, tmp_path: pathlib.Path) -> None:
    """``function(bundle).save(...)`` is loaded by CasADi alone, with its derivatives."""
    f = ours_of.function(valley, backend="native")
    f.save(str(tmp_path / "f.casadi"))
    program = (
        "import casadi, sys; f = casadi.Function.load(sys.argv[1]); x = casadi.MX.sym('x', 3)\n"
        "h = casadi.Function('h', [x], [casadi.hessian(f(x), x)[0]]); print(h([1, 1, 1]).full().tolist())\n"
        "assert 'pullback' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "f.casadi")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(ast.literal_eval(done.stdout), scipy.optimize.rosen_hess(np.ones(3)), rtol=1e-5)


def test_the_command_writes_what_casadi_opens(products: pullback.Bundle, tmp_path: pathlib.Path) -> None:
    """Bare files: values, blocks of the Jacobian, and any number of seeds by the names that CasADi looks for."""
    assert main(["casadi", str(products.path), str(tmp_path / "out"), "--of", "u,s"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"f.onnx", "jac_f.onnx", "adj_f.onnx", "fwd_f.onnx", "f.casadi"} <= names
    theirs, rng = symbolic_pair(), np.random.default_rng(0)
    for kind, of in (("adj", lambda f: f.reverse(3)), ("fwd", lambda f: f.forward(3))):
        f = casadi.GraphBuilder(str(tmp_path / "out" / f"{kind}_f.onnx")).create("f", ["a", "b"], ["u", "s"])
        left, right = of(f), of(theirs)
        point = [rng.normal(size=right.size_in(k)) for k in range(right.n_in())]
        for x, y in zip(f(A, B), theirs(A, B), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-13)
        for name, x, y in zip(right.name_out(), left.call(point), right.call(point), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13, err_msg=name)
    assert main(["casadi", str(products.path), str(tmp_path / "out")]) == 2  # files are there
    assert main(["casadi", str(products.path), str(tmp_path / "out"), "--overwrite"]) == 0


def test_a_perceptron_as_symbols_and_c(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The value graph is read into expressions: CasADi differentiates them itself, and writes C."""
    layers = [tf.keras.layers.Dense(8, "tanh"), tf.keras.layers.Dense(2)]
    model = tf.keras.Sequential([tf.keras.Input((3,), name="x", dtype="float64"), *layers])
    bundle = export(model, folder / "mlp.pullback", ["jacobian(y, x)"], outputs=["y"], precision="float64")
    assert main(["casadi", str(bundle.path), str(tmp_path / "out")]) == 0
    builder = casadi.GraphBuilder(str(tmp_path / "out" / "f.onnx"))
    f = builder.create("f", ["x"], ["y"], {"symbolic": True})
    x = np.array([0.2, -0.4, 0.9])
    want = bundle(x[None])
    np.testing.assert_allclose(np.array(f(x)).ravel(), want.y[0], rtol=1e-12)
    np.testing.assert_allclose(np.array(f.jacobian()(x, 0)), want.dy_dx[0], rtol=1e-12, atol=1e-14)
    generator = casadi.CodeGenerator("f.c")
    generator.add(f)
    generator.add(f.jacobian())
    generator.generate(f"{tmp_path}/")
    text = (tmp_path / "f.c").read_text()
    assert "jac_f" in text and "Python" not in text


def test_a_missing_hessian_is_named(products: pullback.Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    """First order works; numbers of second order say what to export."""
    f = ours_of.function(products, of=["s"], wrt=["a"], given={"b": B}, backend="native")
    a = casadi.MX.sym("a", 2)
    h = casadi.Function("h", [a], [casadi.hessian(f(a), a)[0]])
    with pytest.raises(Exception, match=r"'hessian\(s, a\)|jac_jac_f"):
        h(A)
    problem = {"x": a, "f": (f(a) - 0.1) ** 2 + casadi.sumsqr(a)}
    quiet = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "hessian_approximation": "limited-memory"}}
    solver = casadi.nlpsol("solver", "ipopt", problem, quiet)
    solver(x0=A)
    assert solver.stats()["success"]


def test_without_the_backend(valley: pullback.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel without the plugin: callbacks, or the name of what to install."""
    monkeypatch.setattr(native, "is_available", lambda: False)
    assert "Node" in repr(type(ours_of.function(valley)))
    with pytest.raises(pullback.MissingDependencyError, match=r"casadi>=3\.8"):
        ours_of.function(valley, backend="native")
    with pytest.raises(pullback.InputError, match="backend must be one of"):
        ours_of.function(valley, backend="onnx")
