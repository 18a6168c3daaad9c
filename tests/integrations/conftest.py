"""Bundles of functions whose derivatives are known in closed form, exported once for all tests."""

from __future__ import annotations

import pathlib
from typing import Any

import pullback
import pytest
import tensorflow as tf
from pullback_export import export, forces

S = tf.TensorSpec


def rosenbrock(x: Any) -> Any:
    """Three variables; the minimum is 0 at (1, 1, 1)."""
    return {"y": tf.reduce_sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2, 1)}


def mixed(a: Any, b: Any) -> Any:
    """Two inputs of two, a vector of three and a number."""
    u = tf.stack([tf.sin(a[:, 0]) * b[:, 0], a[:, 1] ** 2 + b[:, 1] ** 3, a[:, 0] * a[:, 1] * b[:, 0]], 1)
    return {"u": u, "s": tf.reduce_sum(a, 1) * b[:, 0] ** 2}


def argon(positions: Any, strain: Any) -> Any:
    """Lennard-Jones atoms in eV and Angstrom, deformed by a strain."""
    moved = positions @ (tf.eye(3, dtype=tf.float64) + strain)
    between = moved[:, None] - moved[None]
    square = tf.reduce_sum(between**2, -1) + 1e9 * tf.eye(tf.shape(moved)[0], dtype=tf.float64)
    attraction = (3.4**2 / square) ** 3
    return {"energy": tf.reduce_sum(4 * 0.0104 * (attraction**2 - attraction)) / 2}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where the bundles of the session are."""
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="session", params=["float32", "float64"])
def valley(request: pytest.FixtureRequest, folder: pathlib.Path) -> pullback.Bundle:
    """:func:`rosenbrock` with gradient, Hessian and Hessian-vector product, in both precisions."""
    dtype = request.param
    wanted = ["gradient(y, x)", "hessian(y, x)", "hvp(y, x)"]
    path = folder / f"valley_{dtype}.pullback"
    if path.exists():  # pytest forgets one precision when a test wants the other
        return pullback.load(path)
    return export(rosenbrock, path, wanted, inputs=[S([None, 3], dtype, "x")])


@pytest.fixture(scope="session")
def pair(folder: pathlib.Path) -> pullback.Bundle:
    """:func:`mixed` with every Jacobian and weighted Hessians."""
    inputs = [S([None, 2], tf.float64, "a"), S([None, 2], tf.float64, "b")]
    wanted = ["jacobian(u, a)", "jacobian(u, b)", "gradient(s, a)", "gradient(s, b)"]
    wanted += ["weighted_hessian(u, a)", "weighted_hessian(u, b)", "weighted_hessian(u, a, b)"]
    return export(mixed, folder / "pair.pullback", wanted, inputs=inputs)


@pytest.fixture(scope="session")
def products(folder: pathlib.Path) -> pullback.Bundle:
    """:func:`mixed` with vjps and jvps and no Jacobian."""
    inputs = [S([None, 2], tf.float64, "a"), S([None, 2], tf.float64, "b")]
    wanted = [f"{kind}({of}, {wrt})" for kind in ("vjp", "jvp") for of in "us" for wrt in "ab"]
    return export(mixed, folder / "products.pullback", wanted, inputs=inputs)


@pytest.fixture(scope="session")
def atoms_bundle(folder: pathlib.Path) -> pullback.Bundle:
    """:func:`argon` with forces and the derivative by the strain."""
    inputs = [S([None, 3], tf.float64, "positions"), S([3, 3], tf.float64, "strain")]
    wanted = [forces("energy", "positions"), "gradient(energy, strain)"]
    return export(argon, folder / "argon.pullback", wanted, inputs=inputs, batched=False)
