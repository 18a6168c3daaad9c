"""``to_pytensor``: PyTensor's own check of gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pullback
import pytensor
import pytensor.tensor as pt
import pytest
from pullback.integrations.pytensor import to_pytensor

from tests.frameworks import held
from tests.frameworks.held import HELD, IDS, Held

X = np.array([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7]])


@pytest.fixture(autouse=True)
def without_compiler() -> Any:
    with pytensor.config.change_flags(cxx="", mode="FAST_COMPILE"):
        yield


@pytest.mark.parametrize(
    "row", [row for row in HELD if row[2] == ("x",)], ids=[i for i, r in zip(IDS, HELD) if r[2] == ("x",)]
)
def test_gradients_are_the_closed_form(row: Any) -> None:
    requests, of, wrt, order = row
    f = to_pytensor(Held(requests, True), of, wrt, held.given(wrt))
    x, x0 = pt.dvector("x"), held.Z[0, :3]
    weights = np.linspace(0.5, 1.5, len(held.rows(of)))
    total = (weights * f(x)).sum()
    gradient = pytensor.grad(total, x)
    np.testing.assert_allclose(gradient.eval({x: x0}), weights @ held.jacobian(of, wrt, x0), rtol=1e-12)
    if order == 1:
        with pytest.raises(pullback.NotExportedError, match="export the model with"):
            pytensor.grad(gradient.sum(), x)
        return
    hessian = pytensor.gradient.hessian(total, x)
    want = np.tensordot(weights, held.hessian(of, wrt, x0), 1)
    np.testing.assert_allclose(hessian.eval({x: x0}), want, rtol=1e-11, atol=1e-12)


def test_verify_grad_and_batches(hill: pullback.Bundle) -> None:
    for of in ("energy", "c", "c[1]"):
        for x in (X, X[0]):
            pytensor.gradient.verify_grad(to_pytensor(hill, of), [x], rng=np.random.default_rng(0))
    x = pt.dmatrix("x")
    np.testing.assert_array_equal(to_pytensor(hill, "c")(x).eval({x: X}), hill(X).c)


def test_value_and_gradient_are_one_evaluation() -> None:
    bundle = Held(("gradient(y[1], x)",))
    x = pt.dvector("x")
    y = to_pytensor(bundle, "y[1]", "x", held.given(("x",)))(x)
    compiled = pytensor.function([x], [y, pytensor.grad(y, x)])
    compiled(held.Z[0, :3])
    assert len(bundle.model.runs) == 1


def test_mistakes(hill: pullback.Bundle, hill32: pullback.Bundle) -> None:
    with pytest.raises(pullback.InputError, match="which output"):
        to_pytensor(hill)
    with pytest.raises(pullback.InputError, match="computes in float32"):
        to_pytensor(hill32, "energy")(pt.dvector())
    with pytest.raises(pullback.InputError, match="of one sample"):
        to_pytensor(hill, "energy")(np.ones(4))
    x = pt.dvector("x")
    with pytest.raises(pullback.InputError, match="of one sample"):
        to_pytensor(hill, "energy")(pt.specify_shape(x, (4,)))
