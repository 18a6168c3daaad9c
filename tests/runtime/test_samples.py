"""``Flat.samples``: several points and directions at once are what ``Flat`` gives one by one, from every source."""

from __future__ import annotations

import numpy as np
import pytest
from pullback import Flat, NotExportedError

from tests.runtime.polynomial import Polynomial

T = 0.25
SOURCES: list[tuple[tuple[str, ...], str, tuple[str, ...]]] = [
    (("jacobian(y, x)", "hessian(y, x)"), "y", ("x",)),
    (("jacobian(y, x) * 4", "hessian(y, x) * 2"), "y[1]", ("x",)),
    (("jacobian(y, x)", "weighted_hessian(y, x)"), "sum(y)", ("x",)),
    (("gradient(y[0], x)", "jacobian(y[1:], x)", "hvp(y, x)"), "y", ("x",)),
    (("vjp(y, x)", "hvp(y[0], x)", "hvp(y[1], x) * 2", "hvp(y[2], x)"), "y", ("x",)),
    (("vjp(y, x)", "hvp(y, x)"), "y[1:]", ("x",)),
    (("jvp(y, x)", "weighted_hessian(y, x)"), "y", ("x",)),
    (("vjp(y, x)", "vjp(y, a)", "hessian(y, x)", "hessian(y, a)", "hessian(y, x, a)"), "y", ("x", "a")),
    (
        ("jvp(y, x)", "jvp(y, a)", "weighted_hessian(y, x)", "weighted_hessian(y, x, a)", "weighted_hessian(y, a)"),
        "y",
        ("a", "x"),
    ),
    (("derivative(y, x[0])", "derivative(y, x[1])", "derivative(y, x[2])", "hessian(y, x)"), "y", ("x",)),
]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize(
    ("batched", "dtype", "values"),
    [(True, "float64", False), (True, "float64", True), (False, "float64", True), (True, "float32", False)],
)
@pytest.mark.parametrize(("requests", "of", "wrt"), SOURCES, ids=["+".join(row[0]) for row in SOURCES])
def test_samples_are_what_single_points_give(
    requests: tuple[str, ...], of: str, wrt: tuple[str, ...], batched: bool, dtype: str, values: bool, count: int
) -> None:
    rng = np.random.default_rng(3)
    model = Polynomial(requests, batched, dtype, values)
    given = {"x": np.ones(3), "a": np.ones((2, 2)), "t": T}
    f = Flat(model.functions, of, wrt, {name: value for name, value in given.items() if name not in wrt})
    many = f.samples()
    n, m = many.n, many.m
    points, weights = rng.normal(size=(count, n)), rng.normal(size=(count, 2, m))
    first, other = rng.normal(size=(2, count, 2, n))
    rtol = 1e-12 if dtype == "float64" else 2e-5

    def check(found: object, single: list[object], shape: tuple[int, ...]) -> None:
        array = np.asarray(found)
        assert array.shape == shape and array.dtype == np.float64
        want = np.reshape(np.asarray(single, np.float64), shape)
        np.testing.assert_allclose(array, want, rtol=rtol, atol=rtol * max(1.0, np.abs(want).max(initial=0)))

    check(many.value(points), [f.value(x) for x in points], (count, m))
    value, jacobian = many.both(points)
    check(value, [f.value(x) for x in points], (count, m))
    check(jacobian, [f.jacobian(x) for x in points], (count, m, n))
    rows = range(count)
    check(many.vjp(points, weights), [[f.vjp(points[i], v) for v in weights[i]] for i in rows], (count, 2, n))
    check(many.jvp(points, first), [[f.jvp(points[i], t) for t in first[i]] for i in rows], (count, 2, m))
    bent = [[f.hess(points[i], v) @ t for v, t in zip(weights[i], first[i], strict=True)] for i in rows]
    check(many.hvp(points, weights, first), bent, (count, 2, n))
    same = np.repeat(weights[:, :1], 2, 1)
    bent = [[f.hess(points[i], weights[i, 0]) @ t for t in first[i]] for i in rows]
    check(many.hvp(points, same, first), bent, (count, 2, n))
    units = [[f.hess(points[i], unit) for unit in np.eye(m)] for i in rows]
    check(many.hessians(points), units, (count, m, n, n))
    curved = [np.einsum("ka,mab,kb->km", first[i], np.array(units[i]), other[i]) for i in rows]
    check(many.second(points, first, other), curved, (count, 2, m))


def test_all_points_and_directions_are_one_run() -> None:
    model = Polynomial(("vjp(y, x)", "hvp(y, x)"), values=True)
    many = Flat(model.functions, "y", "x", {"a": np.ones((2, 2)), "t": T}).samples()
    many.vjp(np.ones((4, 3)), np.ones((4, 5, 3)))
    many.hvp(np.ones((4, 3)), np.ones((4, 5, 3)), np.ones((4, 5, 3)))
    assert [(name, batch) for name, _, batch in model.runs] == [("vjp", 20), ("hvp", 20)]


def test_what_is_missing_is_named() -> None:
    many = Flat(Polynomial(("vjp(y, x)",)).functions, "y", "x", {"a": np.ones((2, 2)), "t": T}).samples()
    with pytest.raises(NotExportedError, match=r"export the model with 'weighted_hessian\(y, x\)'"):
        many.require(2)
    with pytest.raises(NotExportedError, match=r"export the model with 'weighted_hessian\(y, x\)'"):
        many.hvp(np.ones((1, 3)), np.ones((1, 1, 3)), np.ones((1, 1, 3)))
