"""Bundles that hold one set of requests each: a polynomial in closed form, and the exact numbers to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pullback import Flat

from tests.runtime import polynomial
from tests.runtime.polynomial import Polynomial

Array = npt.NDArray[Any]

T = 0.25
Z = np.array([[0.3, -0.7, 1.1, 0.2, -0.4, 0.9, 0.5], [-0.2, 0.5, 0.4, -0.6, 0.8, 0.1, -0.3]])

# What a bundle holds, of, wrt, and the orders of derivatives that follow from it.
HELD: list[tuple[tuple[str, ...], str, tuple[str, ...], int]] = [
    (("vjp(y, x)",), "y", ("x",), 1),
    (("vjp(y, x)",), "y[1]", ("x",), 1),
    (("jvp(y, x)",), "y", ("x",), 1),
    (("vjp(y, x)", "jvp(y, x)"), "y", ("x",), 1),
    (("vjp(y, x)", "vjp(y, a)"), "y", ("x", "a"), 1),
    (("gradient(y[1], x)",), "y[1]", ("x",), 1),
    (("jacobian(y, x)", "jacobian(y, a)"), "y", ("x", "a"), 1),
    (("vjp(y, x)", "hvp(y, x)"), "y", ("x",), 2),
    (("jvp(y, x)", "weighted_hessian(y, x)"), "y", ("x",), 2),
    (("vjp(y, x)", "jvp(y, x)", "hvp(y, x)"), "y", ("x",), 2),
    (("gradient(y[1], x)", "hvp(y[1], x)"), "y[1]", ("x",), 2),
    (("jacobian(y, x)", "hvp(y, x)"), "y", ("x",), 2),
    (("jacobian(y, x)", "hessian(y, x)"), "y", ("x",), 2),
    (("jacobian(y, x)", "weighted_hessian(y, x)"), "sum(y)", ("x",), 2),
]
IDS = ["+".join(requests) + " of " + of for requests, of, _, _ in HELD]


class Held:
    """What the integrations ask of a bundle, with ``requests``; ``runs`` of ``model`` are its evaluations."""

    def __init__(self, requests: Sequence[str], values: bool = False, **options: Any) -> None:
        self.model = Polynomial(requests, values=values, **options)
        self.functions = self.model.functions
        self.spec = self.functions["evaluate"].spec

    def flat(self, of: str, wrt: Sequence[str], given: Any = None) -> Flat:
        return Flat(self.model.functions, of, wrt, given)


def given(wrt: Sequence[str]) -> dict[str, Any]:
    rest = {"x": Z[0, :3], "a": Z[0, 3:].reshape(2, 2)}
    return {"t": T} | {name: array for name, array in rest.items() if name not in wrt}


def columns(wrt: Sequence[str]) -> Array:
    return np.concatenate([polynomial.COLUMNS[name] for name in wrt])


def rows(of: str) -> Array:
    """``of`` as a matrix ``(m, 3)`` of the components of ``y``."""
    return {"y": np.eye(3), "y[1]": np.eye(3)[[1]], "sum(y)": np.ones((1, 3))}[of]


def whole(wrt: Sequence[str], x: Array) -> Array:
    """All seven variables where those of ``wrt`` are ``x``."""
    z = Z[0].copy()
    z[columns(wrt)] = x
    return z


def jacobian(of: str, wrt: Sequence[str], x: Array) -> Array:
    return np.asarray(rows(of) @ polynomial.jacobian(whole(wrt, x), T)[:, columns(wrt)])


def hessian(of: str, wrt: Sequence[str], x: Array) -> Array:
    found = np.tensordot(rows(of), polynomial.hessians(whole(wrt, x), T), 1)
    return np.asarray(found[:, columns(wrt)][:, :, columns(wrt)])
