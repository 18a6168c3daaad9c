"""``function`` in CasADi: derivatives in its order, against closed forms and its own; IPOPT with exact Hessians."""

from __future__ import annotations

import pathlib
from typing import Any

import casadi
import numpy as np
import pullback
import pytest
import scipy.optimize
import tensorflow as tf
from pullback.integrations.casadi import function
from pullback_export import export

A, B = np.array([0.3, -0.5]), np.array([0.8, 0.2])


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


def test_every_derivative_is_that_of_casadi(second: pullback.Bundle) -> None:
    """Values, Jacobian, Jacobian of the Jacobian, reverse mode, and its Jacobian; two inputs and two outputs."""
    ours, theirs = function(second, of=["u", "s"]), symbolic_pair()
    jacobians = (ours.jacobian(), theirs.jacobian())
    for left, right in [(ours, theirs), jacobians, (jacobians[0].jacobian(), jacobians[1].jacobian())]:
        assert left.name_out() == right.name_out()
        rest = [0] * (left.n_in() - 2)
        for name, x, y in zip(left.name_out(), left(A, B, *rest), right(A, B, *rest), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("count", [1, 3])
def test_directions_are_those_of_casadi(second: pullback.Bundle, count: int) -> None:
    """Forward and reverse mode along several directions at once, and the Jacobian of reverse mode."""
    rng = np.random.default_rng(count)
    for ours, theirs in [
        (f(second), f(None))
        for f in (
            lambda b: _model(b).forward(count),
            lambda b: _model(b).reverse(count),
            lambda b: _model(b).reverse(count).jacobian(),
            lambda b: _model(b).reverse(count).forward(2),
        )
    ]:
        point = [rng.normal(size=ours.size_in(k)) for k in range(ours.n_in())]
        for name, x, y in zip(ours.name_out(), ours(*point), theirs(*point), strict=True):
            np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13, err_msg=name)


def _model(bundle: pullback.Bundle | None) -> Any:
    return symbolic_pair() if bundle is None else function(bundle, of=["u", "s"])


def test_a_lagrangian(second: pullback.Bundle) -> None:
    found = []
    for f in (_model(second), _model(None)):
        a, b = casadi.MX.sym("a", 2), casadi.MX.sym("b", 2)
        u, s = f(a, b)
        energy = casadi.dot(casadi.DM([1.0, -2.0, 0.5]), u) + casadi.sin(s)
        gradient = casadi.vertcat(casadi.gradient(energy, a), casadi.gradient(energy, b))
        hessian = casadi.horzcat(casadi.jacobian(gradient, a), casadi.jacobian(gradient, b))
        found.append(casadi.Function("l", [a, b], [gradient, hessian])(A, B))
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(np.array(x), np.array(y), rtol=1e-12, atol=1e-13)


def test_matrices_are_ordered_by_columns(folder: pathlib.Path) -> None:
    inputs = [tf.TensorSpec([None, 2, 3], tf.float64, "w")]
    bundle = export(matrices, folder / "matrices.pullback", ["jacobian(p, w)", "weighted_hessian(p, w)"], inputs=inputs)
    w = casadi.SX.sym("w", 2, 3)
    theirs = casadi.Function("f", [w], [w.T**3 * casadi.DM([[1, 2], [3, 4], [5, 6]])], ["w"], ["p"])
    ours = function(bundle)
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


def test_ipopt_with_the_exact_hessian(valley: pullback.Bundle) -> None:
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


def test_the_callback_outlives_its_name(valley: pullback.Bundle) -> None:
    import gc

    x = casadi.MX.sym("x", 3)
    graph = casadi.Function("g", [x], [casadi.gradient(function(valley)(x), x)])
    gc.collect()
    point = np.array([0.1, -0.4, 0.7])
    tolerance = 1e-5 if valley.spec.inputs[0].dtype == "float32" else 1e-12
    np.testing.assert_allclose(np.array(graph(point))[:, 0], scipy.optimize.rosen_der(point), rtol=tolerance)


def test_what_is_missing_is_named(products: pullback.Bundle) -> None:
    f = function(products, of=["u[1]"], wrt=["a"], given={"b": B})
    assert f.name_in() == ["a"] and f.name_out() == ["u_1"]
    np.testing.assert_allclose(np.array(f.jacobian()(A, 0)), [[0, 2 * A[1]]], atol=1e-15)
    with pytest.raises(Exception, match=r"hessian\(u\[1\], a\)|weighted_hessian"):
        f.jacobian().jacobian()
    with pytest.raises(pullback.InputError, match="lists of names"):
        function(products, of="u")
    with pytest.raises(pullback.PullbackError, match="z"):
        function(products, of=["z"])
