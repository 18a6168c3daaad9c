"""``to_jax``: JAX's own checks of derivatives and its transforms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pullback
import pytest
from jax.test_util import check_grads
from pullback.integrations.differentiable_rows import DifferentiableRows
from pullback.integrations.jax import to_jax

X = np.array([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7]])


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("of", ["energy", "c", "c[1]", "sum(c)"])
def test_check_grads(hill: pullback.Bundle, of: str) -> None:
    f = to_jax(hill, of=of)
    for x in (X, X[0]):
        check_grads(f, (x,), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)
        check_grads(jax.jit(f), (x,), order=1)


def test_values_and_shapes(hill: pullback.Bundle, picture: pullback.Bundle) -> None:
    energy, c = to_jax(hill, of="energy"), to_jax(hill, of="c")
    want = hill(X)
    np.testing.assert_array_equal(energy(X), want.energy)
    np.testing.assert_array_equal(jax.jit(c)(x=X), want.c)
    assert energy(X[0]).shape == () and c(X[0]).shape == (2,)
    image = np.random.default_rng(0).random((3, 8, 8, 1))
    gradient = jax.grad(lambda image: to_jax(picture)(image).sum())(image)
    np.testing.assert_allclose(gradient, picture(image).dscore_dimage)


@pytest.mark.parametrize("transform", [jax.jacrev, jax.jacfwd])
def test_transforms(hill: pullback.Bundle, transform: Any) -> None:
    energy, c = to_jax(hill, of="energy"), to_jax(hill, of="c")
    want = hill(X)
    for wrapped in (lambda f: f, jax.jit):
        np.testing.assert_allclose(wrapped(jax.vmap(c))(X), want.c)
        np.testing.assert_allclose(wrapped(jax.vmap(transform(c)))(X), want.dc_dx)
        np.testing.assert_allclose(wrapped(jax.vmap(jax.grad(energy)))(X), want.denergy_dx)
        for outer in (jax.jacrev, jax.jacfwd):
            found = wrapped(jax.vmap(outer(transform(energy))))(X)
            np.testing.assert_allclose(found, want.d2energy_dx2, rtol=1e-12, atol=1e-14)
    value, moved = jax.jvp(c, (X,), (np.ones_like(X),))
    np.testing.assert_allclose(moved, want.dc_dx.sum(2))
    np.testing.assert_allclose(value, want.c)
    nested = jax.vmap(jax.vmap(jax.grad(energy)))(np.stack([X, X + 1, X - 1]))
    np.testing.assert_allclose(nested[1], hill(X + 1).denergy_dx)


def test_one_callback_for_value_and_gradient(hill: pullback.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("value", "both", "hessian"):
        plain = getattr(DifferentiableRows, name)
        monkeypatch.setattr(
            DifferentiableRows, name, lambda *a, plain=plain, name=name: calls.append(name) or plain(*a)
        )
    f = jax.jit(jax.vmap(jax.value_and_grad(to_jax(hill, of="energy"))))
    jax.block_until_ready(f(X))
    assert calls == ["both"]


def test_an_optimum(hill: pullback.Bundle) -> None:
    """Newton's method within ``jit``: the gradient vanishes where it ends."""
    square = jax.jit(lambda x: jnp.sum(to_jax(hill, of="c")(x) ** 2))
    x = jnp.array([0.3, -0.5, 0.8])
    start = square(x)
    for _ in range(200):
        x = x - 0.05 * jax.grad(square)(x)
    assert square(x) < 0.5 * start


def test_mistakes(hill: pullback.Bundle, hill32: pullback.Bundle, picture: pullback.Bundle) -> None:
    with pytest.raises(pullback.InputError, match="which output: energy, c"):
        to_jax(hill)
    f = to_jax(hill32, of="energy")
    with pytest.raises(pullback.InputError, match="computes in float32"):
        f(X)
    assert f(X.astype(np.float32)).dtype == np.float32
    with pytest.raises(pullback.InputError, match="of one sample"):
        f(np.ones(4, np.float32))
    with pytest.raises(pullback.InputError, match="takes x"):
        f(X, X)
    with jax.enable_x64(False), pytest.raises(pullback.InputError, match="jax_enable_x64"):
        to_jax(hill, of="energy")(X)
    image = np.random.default_rng(0).random((1, 8, 8, 1))
    with pytest.raises(Exception, match="hessian"):
        jax.block_until_ready(jax.jacfwd(jax.grad(lambda x: to_jax(picture)(x).sum()))(image))
    with pytest.raises(pullback.NotExportedError, match="third"):
        jax.jacfwd(jax.hessian(to_jax(hill, of="energy")))(X[0])
