"""Mistakes with the bundle itself, SciPy, CasADi, OpenMDAO and Pyomo."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.integrations.mistakes import Bundles, Entry, Row

X, P = np.array([0.3, -0.5, 0.8]), np.array([1.0, 2.0, -1.0])
W = np.array([1.0, -2.0])


def _results_are_kept(b: Bundles) -> Any:
    x = X[None].copy()
    kept = b.hill(x).denergy_dx
    x += 1
    b.hill(x)
    return kept, b.hill(X[None]).denergy_dx


def _prepared_with_a_copy(b: Bundles) -> Any:
    step = b.hill.prepared(1, fetch=("denergy_dx",), copy=True)
    kept = step(X[None]).denergy_dx
    step(X[None] + 1)
    return kept, b.hill(X[None]).denergy_dx


BUNDLE: tuple[Entry, ...] = (
    Row("bundle", "sample", "bundle(x) of one sample", lambda b: b.hill(X), "pass np.asarray(x)[None]"),
    Row("bundle", "memory", "x changed in place after the call", _results_are_kept),
    Row("bundle", "memory", "prepared(..., copy=True) called again", _prepared_with_a_copy),
    Row("bundle", "order", "hvp(x, fwd_x, adj_c)", lambda b: b.hill.hvp(X[None], P[None], W[None]), "must have size 2"),
    Row("bundle", "precision", "1e300 into float32", lambda b: b.hill32(X[None] * 1e300), "float32 cannot hold"),
    Row("bundle", "size", "four numbers for three", lambda b: b.hill(np.ones((1, 4))), "must have size 3"),
    Row("bundle", "missing", "bundle.vjp", lambda b: b.hill.vjp(x=X[None]), "export the model with"),
)


def _minimum(b: Bundles) -> Any:
    from scipy import optimize

    found = [
        optimize.minimize(f.value_and_gradient, X, jac=True, method="BFGS").x
        for f in (bundle.flat("energy", "x") for bundle in (b.hill32, b.hill))
    ]
    return found[0], found[1]


def _changed_x(b: Bundles) -> Any:
    f, x = b.hill.flat("energy", "x"), X.copy()
    kept = f.gradient(x)
    kept_again = f.gradient(x)
    kept_again += 7
    x += 1
    f.value(x)
    return kept, b.hill.flat("energy", "x").gradient(X)


SCIPY: tuple[Entry, ...] = (
    Row("scipy", "sample", "a batch of one", lambda b: b.hill.flat("energy", "x").value(X[None]), "shape (3,)"),
    Row("scipy", "memory", "x and a gradient changed in place", _changed_x),
    Row("scipy", "order", "f.vjp(v, x)", lambda b: b.hill.flat("c", "x").vjp(W, X), "x must have shape (3,)"),
    Row("scipy", "order", "f.hess(v, x)", lambda b: b.hill.flat("c", "x").hess(W, X), "x must have shape (3,)"),
    Row("scipy", "precision", "BFGS at its own tolerances", _minimum, tolerance=1e-3),
    Row(
        *("scipy", "precision", "a step beyond float32"),
        lambda b: b.hill32.flat("energy", "x").value(X * 1e300),
        'restrict the search with bounds, or export the model with precision="float64"',
    ),
    Row("scipy", "size", "four numbers for three", lambda b: b.hill.flat("energy", "x").value(np.ones(4)), "(3,)"),
    Row(
        *("scipy", "missing", "hess without a Hessian"),
        lambda b: b.picture.flat("score", "image").hess(np.ones(64)),
        "export the model with 'hessian(score, image)'",
    ),
)


def _casadi(b: Any, of: Any, backend: str = "auto") -> Any:
    from pullback.integrations.casadi import function

    return function(b, of=of, backend=backend)


def _casadi_memory(b: Bundles) -> Any:
    f, x = _casadi(b.hill, ["energy"], "callback"), X.copy()
    kept = f(x)
    x += 1
    f(x)
    return np.array(kept).ravel(), b.hill(X[None]).energy


def _ipopt(b: Bundles) -> Any:
    """IPOPT's own tolerance asks for more than float32 has: it ends at its acceptable one, in the right place."""
    import casadi

    found = []
    for bundle in (b.hill32, b.hill):
        x = casadi.MX.sym("x", 3)
        quiet = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes"}}
        solver = casadi.nlpsol("s", "ipopt", {"x": x, "f": _casadi(bundle, ["energy"])(x)}, quiet)
        found.append(np.array(solver(x0=X)["x"]).ravel())
    return found[0], found[1]


def _casadi_second(b: Bundles) -> Any:
    return _casadi(b.picture, ["score"]).jacobian().jacobian()(0, 0, 0)


CASADI: tuple[Entry, ...] = (
    Row(
        *("casadi", "sample", "a row instead of a column"),
        lambda b: (np.array(_casadi(b.hill, ["c"])(X[None])).ravel(), b.hill(X[None]).c[0]),
    ),
    Row(
        *("casadi", "sample", "points as columns"),
        lambda b: (np.array(_casadi(b.hill, ["c"])(np.stack([X, P], 1))).T, b.hill(np.stack([X, P])).c),
    ),
    Row("casadi", "memory", "x changed in place", _casadi_memory),
    Row("casadi", "order", "of= as text", lambda b: _casadi(b.hill, "c"), "of and wrt are lists of names"),
    Row("casadi", "precision", "IPOPT's own tolerances", _ipopt, tolerance=1e-3),
    Row(
        *("casadi", "size", "four numbers for three"),
        *(lambda b: _casadi(b.hill, ["c"])(np.ones(4)), "mismatching shape. Got 4-by-1", True),
    ),
    Row("casadi", "missing", "a Hessian", _casadi_second, "holds no second derivatives; export the model with"),
)


def _problem(bundle: Any, points: int = 1) -> Any:
    import openmdao.api as om
    from pullback.integrations.openmdao import BundleComp

    problem = om.Problem()
    problem.model.add_subsystem("net", BundleComp(bundle, vec_size=points), promotes=["*"])
    problem.setup()
    return problem


def _set(problem: Any, x: Any) -> Any:
    problem.set_val("x", x)
    problem.run_model()
    return problem.get_val("energy")


def _openmdao_memory(b: Bundles) -> Any:
    problem, x = _problem(b.hill), X.copy()
    _set(problem, x)
    x += 1
    return problem.get_val("energy"), b.hill(X[None]).energy


def _partials(b: Bundles) -> Any:
    """Its default step would ask a float32 model for digits that it does not have."""
    problem = _problem(b.hill32)
    _set(problem, X)
    found = problem.check_partials(out_stream=None)["net"]["energy", "x"]
    return found["abs error"].forward, 0.0


OPENMDAO: tuple[Entry, ...] = (
    Row("openmdao", "sample", "two points, vec_size=1", lambda b: _set(_problem(b.hill), [X, P]), "(3,)", True),
    Row("openmdao", "memory", "x changed in place", _openmdao_memory),
    Row("openmdao", "order", "BundleComp(bundle, 0)", lambda b: _problem(b.hill, 0), "vec_size=0: give"),
    Row("openmdao", "precision", "check_partials", _partials, tolerance=1e-2),
    Row("openmdao", "precision", "1e300", lambda b: _set(_problem(b.hill32), X * 1e300), "float32 cannot hold"),
    Row("openmdao", "size", "four numbers for three", lambda b: _set(_problem(b.hill), np.ones(4)), "(3,)", True),
    Row("openmdao", "missing", "a partial", lambda b: _problem(_Bare(b.hill)), "jacobian(energy, x), jacobian(c, x)"),
)


class _Bare:
    """A bundle of values alone."""

    def __init__(self, bundle: Any) -> None:
        import dataclasses
        import types

        spec = bundle.functions["evaluate"].spec
        values = tuple(t for t in spec.outputs if t.name in ("energy", "c"))
        bare = dataclasses.replace(spec, outputs=values, derivatives=())
        self.functions = {"evaluate": types.SimpleNamespace(spec=bare)}


def _box(bundle: Any, of: str = "energy", x: Any = X, weights: Any = None) -> Any:
    from pullback.integrations.pyomo import BundleGreyBox

    box = BundleGreyBox(bundle, of, "x")
    box.set_input_values(x)
    if weights is None:
        return box.evaluate_outputs()
    box.set_output_constraint_multipliers(weights)
    return box.evaluate_hessian_outputs()


def _pyomo_memory(b: Bundles) -> Any:
    from pullback.integrations.pyomo import BundleGreyBox

    box, x = BundleGreyBox(b.hill, "energy", "x"), X.copy()
    box.set_input_values(x)
    x += 1
    return box.evaluate_outputs(), b.hill(X[None]).energy


def _no_second_order(b: Bundles) -> Any:
    from pullback.integrations.pyomo import BundleGreyBox

    box = BundleGreyBox(b.picture, "score", "image")
    return hasattr(box, "evaluate_hessian_outputs"), False


def _order_of_pyomo(b: Bundles) -> Any:
    from pullback.integrations.pyomo import BundleGreyBox

    return BundleGreyBox(b.hill, "x", "energy")


PYOMO: tuple[Entry, ...] = (
    Row("pyomo", "sample", "a batch of one", lambda b: _box(b.hill, x=X[None]), "x must have shape (3,)"),
    Row("pyomo", "memory", "x changed in place", _pyomo_memory),
    Row("pyomo", "order", "BundleGreyBox(bundle, wrt, of)", _order_of_pyomo, "the outputs are energy, c"),
    Row(
        "pyomo",
        "precision",
        "1e300",
        lambda b: _box(b.hill32, x=X * 1e300),
        'export the model with precision="float64"',
    ),
    Row("pyomo", "size", "four numbers for three", lambda b: _box(b.hill, x=np.ones(4)), "x must have shape (3,)"),
    Row("pyomo", "size", "one multiplier for two", lambda b: _box(b.hill, "c", weights=[1.0]), "of shape (2,)"),
    Row("pyomo", "missing", "a Hessian: Pyomo sees that there is none", _no_second_order),
)

ENTRIES: tuple[Entry, ...] = (*BUNDLE, *SCIPY, *CASADI, *OPENMDAO, *PYOMO)
