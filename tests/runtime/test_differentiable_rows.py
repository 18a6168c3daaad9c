"""What torch and JAX differentiate, without them: rows against the bundle itself and against differences."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.integrations.differentiable_rows import DifferentiableRows

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
X = np.array([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7]])


@pytest.fixture(scope="module", params=["float32", "float64"])
def hill(request: pytest.FixtureRequest) -> pullback.Bundle:
    return pullback.load(FIXTURES / f"hill_{request.param}.pullback")


def test_rows_are_those_of_the_bundle(hill: pullback.Bundle) -> None:
    """Of the whole output in one call for all rows, of a component row by row."""
    c, second, energy = (DifferentiableRows(hill, of, None, None) for of in ("c", "c[1]", "energy"))
    points = X.astype(c.dtype)
    want = hill(points)
    value, jacobian = c.both(points)
    np.testing.assert_array_equal(value, want.c)
    np.testing.assert_array_equal(jacobian, want.dc_dx)
    np.testing.assert_allclose(second.both(points)[1], want.dc_dx[:, 1:], rtol=1e-6)
    np.testing.assert_array_equal(energy.hessian(points)[:, 0], want.d2energy_dx2)
    by_row = DifferentiableRows(hill, "sum(energy)", None, None).hessian(points)[:, 0]
    np.testing.assert_allclose(by_row, want.d2energy_dx2, rtol=1e-6)
    assert {array.dtype for array in (value, jacobian, energy.hessian(points), second.value(points))} == {c.dtype}
    assert c.value(points[:0]).shape == (0, 2) and second.hessian(points[:0]).shape == (0, 1, 3, 3)


def test_hessians_of_components_are_differences_of_jacobians() -> None:
    c = DifferentiableRows(pullback.load(FIXTURES / "hill_float64.pullback"), "c", None, None)
    step = 1e-6
    for axis, unit in enumerate(np.eye(3) * step):
        slope = (c.both(X + unit)[1] - c.both(X - unit)[1]) / (2 * step)
        np.testing.assert_allclose(c.hessian(X)[..., axis], slope, atol=1e-8)


def test_a_kept_jacobian_is_given_once_for_each_point_and_never_shared(hill: pullback.Bundle) -> None:
    c = DifferentiableRows(hill, "c", None, None)
    points = X.astype(c.dtype)
    want = c.both(points)[1]
    for batch in (points, points + 1, points):
        c.value(batch, expects_derivative=True)
    c.jacobian(points)[:] = 0
    np.testing.assert_array_equal(c.jacobian(points), want)
    np.testing.assert_array_equal(c.jacobian(points + 1), c.both(points + 1)[1])


@pytest.mark.parametrize(
    ("of", "wrt", "words"),
    [(None, None, "which output: energy, c"), ("z", None, "z"), ("c", ["q"], "q"), ("c[9]", None, "c")],
)
def test_mistakes(hill: pullback.Bundle, of: Any, wrt: Any, words: str) -> None:
    with pytest.raises(pullback.PullbackError, match=words):
        DifferentiableRows(hill, of, wrt, None)


@pytest.mark.parametrize("name", ["torch", "jax", "casadi"])
def test_a_missing_library_is_told(name: str) -> None:
    """In environments that have it, the import itself is what is tested."""
    if importlib.util.find_spec(name) is None:
        with pytest.raises(pullback.MissingDependencyError, match=rf'pip install "pullback\[{name}\]"'):
            importlib.import_module(f"pullback.integrations.{name}")
    else:
        importlib.import_module(f"pullback.integrations.{name}")
