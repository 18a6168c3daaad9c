"""``to_jax`` of bundles that hold one source of derivatives each: a vjp alone, a jvp alone, products of Hessians."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pullback
import pytest
from jax.test_util import check_grads
from pullback.integrations.jax import to_jax

from tests.frameworks import held
from tests.frameworks.held import HELD, IDS, Held


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    with jax.enable_x64(True):
        yield


def made(requests: Any, of: str, wrt: Any, values: bool = True) -> tuple[Held, Any, Any]:
    """The function of the joined inputs, of one sample or of a batch."""
    bundle = Held(requests, values)
    f = to_jax(bundle, of, wrt, held.given(wrt))
    z = jnp.asarray(held.Z[:, held.columns(wrt)])
    return bundle, f if wrt == ("x",) else lambda z: f(z[..., :3], z[..., 3:].reshape(*z.shape[:-1], 2, 2)), z


@pytest.mark.parametrize("row", HELD, ids=IDS)
def test_checks_and_transforms(row: Any) -> None:
    requests, of, wrt, order = row
    _, f, z = made(requests, of, wrt)
    check_grads(f, (z,), order=order, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)
    m = len(held.rows(of))
    want = np.stack([held.jacobian(of, wrt, x) for x in np.asarray(z)])
    want = want[:, 0] if m == 1 else want
    bent = np.stack([held.hessian(of, wrt, x) for x in np.asarray(z)])
    for transform in (jax.jacrev, jax.jacfwd):
        np.testing.assert_allclose(jax.jit(jax.vmap(transform(f)))(z), want, rtol=1e-12, atol=1e-13)
        for outer in (jax.jacrev, jax.jacfwd):
            second = outer(transform(f))
            if order == 1:
                with pytest.raises(pullback.NotExportedError, match="export the model with"):
                    second(z[0])
                continue
            np.testing.assert_allclose(
                jax.jit(jax.vmap(second))(z), bent[:, 0] if m == 1 else bent, rtol=1e-11, atol=1e-12
            )
    if order == 2:
        with pytest.raises(pullback.NotExportedError, match="third"):
            jax.jacfwd(jax.hessian(f))(z[0])


def test_one_run_for_value_and_gradient_whatever_gives_the_gradient() -> None:
    for requests, run in (
        (("vjp(y[1], x)",), ("vjp", ("y", "adj_x"), 2)),
        (("gradient(y[1], x)",), ("evaluate", ("y", "gradient_y_1_x"), 2)),
    ):
        bundle, f, z = made(requests, "y[1]", ("x",))
        _, gradient = jax.jit(jax.value_and_grad(lambda x, f=f: f(x).sum()))(z)
        jax.block_until_ready(gradient)
        assert [(name, sorted(names), batch) for name, names, batch in bundle.model.runs] == [
            (run[0], sorted(run[1]), run[2])
        ]
        np.testing.assert_allclose(gradient[0], held.jacobian("y[1]", ("x",), held.Z[0, :3])[0])


def test_reverse_mode_of_a_vjp_is_one_run_for_all_rows() -> None:
    bundle, f, z = made(("vjp(y, x)",), "y", ("x",))
    jax.block_until_ready(jax.jit(jax.grad(lambda x: (f(x) ** 2).sum()))(z))
    assert [(name, batch) for name, _, batch in bundle.model.runs] == [("evaluate", 2), ("vjp", 2)]
    bundle.model.runs.clear()
    jax.block_until_ready(jax.jit(jax.vmap(jax.jacrev(f)))(z))
    assert bundle.model.runs[-1] == ("vjp", ("adj_x",), 6)
