"""SciPy takes a flat view as it is: every method that takes derivatives, and the optimum of the closed form.

The bundles are ``hill_*`` of ``tests/runtime/make_fixture.py``: a convex energy, and two constraints.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pullback
import pytest
from pullback import Flat
from scipy import integrate, optimize

from tests.runtime.conftest import FIXTURES

Array = npt.NDArray[np.float64]

Q = np.array([[3.0, 0.5, -0.4], [0.5, 2.0, 0.3], [-0.4, 0.3, 1.5]])
B, A = np.array([1.0, -2.0, 0.5]), np.array([0.5, 1.0, -1.5])
X0 = np.array([1.5, 1.0, -1.2])

# How far from what the closed form finds with the same method: a float32 gradient is known to about 1e-7 of its terms,
# and methods stop where they see no descent. ``ENDS`` is how far they stop from the optimum by their own defaults.
FAR = {"float32": 3e-4, "float64": 1e-8}
ENDS = 1e-4


def energy(x: Array) -> float:
    return float(x @ Q @ x / 2 + (x**4).sum() / 4 - B @ x)


def slope(x: Array) -> Array:
    return np.asarray(Q @ x + x**3 - B)


def bend(x: Array) -> Array:
    return np.asarray(Q + 3 * np.diag(x**2))


def optimum() -> Array:
    x = np.zeros(3)
    for _ in range(50):
        x = x - np.linalg.solve(bend(x), slope(x))
    return x


@pytest.fixture(params=["float32", "float64"])
def hill(request: pytest.FixtureRequest) -> tuple[pullback.Bundle, float]:
    return pullback.load(FIXTURES / f"hill_{request.param}.pullback"), FAR[request.param]


METHODS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP", "trust-constr"), ()),
    **dict.fromkeys(("dogleg", "trust-exact"), ("hess",)),
    **{f"{name} hess": ("hess",) for name in ("Newton-CG", "trust-ncg", "trust-krylov", "trust-constr")},
    **{f"{name} hessp": ("hessp",) for name in ("Newton-CG", "trust-ncg", "trust-krylov", "trust-constr")},
}


@pytest.mark.parametrize("method", METHODS)
def test_minimize(hill: tuple[pullback.Bundle, float], method: str) -> None:
    bundle, far = hill
    f = bundle.flat("energy", "x")
    second = {name: getattr(f, name) for name in METHODS[method]}
    found = optimize.minimize(f.value_and_gradient, X0, jac=True, method=method.split()[0], **second)
    np.testing.assert_allclose(found.x, optimum(), rtol=0, atol=far + ENDS)
    exact = {"hess": bend, "hessp": lambda x, p: bend(x) @ p}
    same = optimize.minimize(
        energy, X0, jac=slope, method=method.split()[0], **{name: exact[name] for name in METHODS[method]}
    )
    np.testing.assert_allclose(found.x, same.x, rtol=0, atol=far if far == FAR["float64"] else far + ENDS)
    assert found.fun == pytest.approx(same.fun, abs=far)
    if far == FAR["float64"]:
        assert found.success
        assert found.nit <= same.nit + 1


def test_value_and_gradient_apart_are_one_evaluation() -> None:
    """``jac=f.gradient`` costs what ``jac=True`` does."""
    counts = []
    for how in ("apart", "together"):
        f = pullback.load(FIXTURES / "hill_float64.pullback").flat("energy", "x")
        runs = counted(f)
        if how == "apart":
            optimize.minimize(f.value, X0, jac=f.gradient, method="BFGS")
        else:
            optimize.minimize(f.value_and_gradient, X0, jac=True, method="BFGS")
        counts.append(len(runs))
    assert counts[0] == counts[1] > 3


def counted(f: Flat) -> list[tuple[str, ...]]:
    """What the view runs from now on."""
    function = next(function for function in f._functions if function.spec.name == "evaluate")
    runs: list[tuple[str, ...]] = []
    run = function.run
    function.run = lambda names, feeds: (runs.append(names), run(names, feeds))[1]  # type: ignore[method-assign]
    return runs


@pytest.mark.parametrize("method", ["trust-constr", "SLSQP"])
def test_nonlinear_constraints(hill: tuple[pullback.Bundle, float], method: str) -> None:
    """On a ball, beyond a plane: the Hessian of the Lagrangian comes from products with both seeds."""
    bundle, far = hill
    f, c = bundle.flat("energy", "x"), bundle.flat("c", "x")
    low, high = [-np.inf, 0.2], [0.5, np.inf]
    bound = optimize.NonlinearConstraint(c.value, low, high, jac=c.jacobian, hess=c.hess)
    closed = optimize.NonlinearConstraint(
        lambda x: np.array([x @ x, A @ x]),
        low,
        high,
        jac=lambda x: np.stack([2 * x, A]),
        hess=lambda x, v: 2 * v[0] * np.eye(3),
    )
    hessians = ({"hess": f.hess}, {"hess": bend}) if method == "trust-constr" else ({}, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SLSQP does not use Hessians, and says so
        found = optimize.minimize(f.value_and_gradient, X0, jac=True, method=method, constraints=[bound], **hessians[0])
        same = optimize.minimize(energy, X0, jac=slope, method=method, constraints=[closed], **hessians[1])
    np.testing.assert_allclose(found.x, same.x, rtol=0, atol=10 * far)
    value = c.value(found.x)
    assert value[0] <= 0.5 + ENDS + far
    assert value[1] >= 0.2 - ENDS - far
    assert min(abs(value - [0.5, 0.2])) < ENDS + far  # a constraint acts


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares(hill: tuple[pullback.Bundle, float], method: str) -> None:
    """Residuals of two constraints and three coordinates against targets that no point meets."""
    bundle, far = hill
    c = bundle.flat("c", "x")
    targets = np.array([1.0, 0.3, 0.2, -0.4, 0.1])

    def model(value: Callable[[Array], Any], jacobian: Callable[[Array], Any]) -> Any:
        return optimize.least_squares(
            lambda x: np.concatenate([value(x), x]) - targets,
            X0,
            jac=lambda x: np.concatenate([jacobian(x), np.eye(3)]),
            method=method,
        )

    found = model(c.value, c.jacobian)
    same = model(lambda x: np.array([x @ x, A @ x]), lambda x: np.stack([2 * x, A]))
    assert found.success
    np.testing.assert_allclose(found.x, same.x, rtol=0, atol=10 * far)
    alone = optimize.least_squares(c.value, X0, jac=c.jacobian, method="trf")  # as it is: the origin
    np.testing.assert_allclose(alone.x, 0, atol=2e-2)


@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_root(hill: tuple[pullback.Bundle, float], method: str) -> None:
    bundle, far = hill
    f = bundle.flat("energy", "x")
    found = optimize.root(f.gradient, X0, jac=f.hess, method=method)
    np.testing.assert_allclose(found.x, optimum(), rtol=0, atol=far)


def test_root_of_one_number() -> None:
    """A view of one component of ``x``: SciPy passes vectors of one, or numbers."""
    bundle = pullback.load(FIXTURES.parents[1] / "golden" / "v1" / "bowl.pullback")
    f = bundle.flat("y", "x")
    found = optimize.minimize(f.value_and_gradient, [0.9], jac=True, method="L-BFGS-B")
    assert f.value(found.x) <= min(f.value([x]) for x in np.linspace(-1, 1, 201)) + 1e-5
    assert f.value(0.25) == f.value([0.25])


@pytest.mark.parametrize("method", ["BDF", "Radau", "LSODA"])
def test_solve_ivp(hill: tuple[pullback.Bundle, float], method: str) -> None:
    """Down the slope, with the Hessian as the Jacobian of the equation."""
    bundle, far = hill
    f = bundle.flat("energy", "x")
    options: dict[str, Any] = {"method": method, "rtol": 1e-6, "atol": 1e-8}
    found = integrate.solve_ivp(lambda t, y: -f.gradient(y), (0, 1), X0, jac=lambda t, y: -f.hess(y), **options)
    same = integrate.solve_ivp(lambda t, y: -slope(y), (0, 1), X0, jac=lambda t, y: -bend(y), **options)
    assert found.success
    np.testing.assert_allclose(found.y[:, -1], same.y[:, -1], rtol=0, atol=20 * far)


def test_the_gradient_passes_scipys_check() -> None:
    f = pullback.load(FIXTURES / "hill_float64.pullback").flat("energy", "x")
    assert optimize.check_grad(f.value, f.gradient, X0) < 1e-5
    assert optimize.check_grad(f.gradient, f.hess, X0) < 1e-5


def test_prepared_buffers_need_a_copy() -> None:
    """What aliasing does: a gradient that changes after it was returned. ``copy=True`` and ``flat`` are safe."""
    bundle = pullback.load(FIXTURES / "hill_float64.pullback")

    def minimum(step: pullback.Prepared) -> Any:
        def both(x: Array) -> tuple[float, Array]:
            result = step(x[None])
            return float(result.energy[0]), result.denergy_dx[0]

        return optimize.minimize(both, X0, jac=True, method="BFGS")

    aliasing = minimum(bundle.prepared(1, fetch=("energy", "denergy_dx")))
    copying = minimum(bundle.prepared(1, fetch=("energy", "denergy_dx"), copy=True))
    np.testing.assert_allclose(copying.x, optimum(), atol=1e-6)
    assert copying.success
    assert not (aliasing.success and aliasing.nit == copying.nit)
