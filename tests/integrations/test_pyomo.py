"""``BundleGreyBox`` in Pyomo: what the solver requests, against closed forms.

Solving needs cyipopt and the ASL library, which have no wheels for every machine: Pyomo's own numbers are compared.
"""

from __future__ import annotations

import numpy as np
import pullback
import pyomo.environ as pyo
import pytest
import scipy.optimize
from pullback.integrations.pyomo import BundleGreyBox
from pyomo.contrib.pynumero.interfaces.external_grey_box import ExternalGreyBoxBlock

POINT = np.array([0.1, -0.4, 0.7])


def test_values_jacobian_and_hessian(valley: pullback.Bundle) -> None:
    box = BundleGreyBox(valley, "y", "x")
    tolerance = 1e-5 if valley.spec.inputs[0].dtype == "float32" else 1e-12
    box.set_input_values(POINT)
    box.set_output_constraint_multipliers(np.array([2.0]))
    assert box.input_names() == ["x[0]", "x[1]", "x[2]"]
    assert box.output_names() == ["y[0]"]
    np.testing.assert_allclose(box.evaluate_outputs(), scipy.optimize.rosen(POINT), rtol=tolerance)
    np.testing.assert_allclose(
        box.evaluate_jacobian_outputs().toarray()[0], scipy.optimize.rosen_der(POINT), rtol=tolerance
    )
    lower = np.tril(2 * scipy.optimize.rosen_hess(POINT))
    np.testing.assert_allclose(box.evaluate_hessian_outputs().toarray(), lower, rtol=tolerance, atol=1e-3 * tolerance)


def test_several_inputs_and_weighted_hessians(pair: pullback.Bundle) -> None:
    box = BundleGreyBox(pair, "u", ("a", "b"))
    assert box.input_names() == ["a[0]", "a[1]", "b[0]", "b[1]"]
    point, weights = np.array([0.3, -0.5, 0.8, 0.2]), np.array([1.0, -2.0, 0.5])
    box.set_input_values(point)
    box.set_output_constraint_multipliers(weights)
    found = box.evaluate_hessian_outputs().toarray()
    step = 1e-6
    for row in range(4):
        moved = np.eye(4)[row] * step
        gradients = []
        for sign in (1, -1):
            box.set_input_values(point + sign * moved)
            gradients.append(weights @ box.evaluate_jacobian_outputs().toarray())
        column = (gradients[0] - gradients[1]) / (2 * step)
        np.testing.assert_allclose(found[row, : row + 1], column[: row + 1], atol=1e-8)


def test_it_fits_a_model(valley: pullback.Bundle) -> None:
    model = pyo.ConcreteModel()
    model.box = ExternalGreyBoxBlock(external_model=BundleGreyBox(valley, "y", "x"))
    model.objective = pyo.Objective(expr=model.box.outputs["y[0]"])
    assert list(model.box.inputs) == ["x[0]", "x[1]", "x[2]"]


def test_a_bundle_without_second_order_offers_none(products: pullback.Bundle) -> None:
    """Pyomo then asks IPOPT to approximate it."""
    box = BundleGreyBox(products, "u", "a", {"b": [0.5, 0.5]})
    assert not hasattr(box, "evaluate_hessian_outputs")
    box.set_input_values(np.array([0.1, 0.2]))
    assert box.evaluate_jacobian_outputs().toarray().shape == (3, 2)


def test_an_unknown_output_is_named(valley: pullback.Bundle) -> None:
    with pytest.raises(pullback.PullbackError, match="z"):
        BundleGreyBox(valley, "z", "x")
