"""``to_torch`` of bundles that hold one source of derivatives each: a vjp alone, a jvp alone, products of Hessians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pullback
import pytest
import torch
from pullback.integrations.torch import to_torch

from tests.frameworks import held
from tests.frameworks.held import HELD, IDS, Held

Row = tuple[tuple[str, ...], str, tuple[str, ...], int]
ROWS = pytest.mark.parametrize("row", HELD, ids=IDS)


def made(row: Row, values: bool = True) -> tuple[Held, Any, list[Any]]:
    requests, of, wrt, _ = row
    bundle = Held(requests, values)
    ends = np.cumsum([len(held.columns([name])) for name in wrt])[:-1]
    parts = np.split(held.Z[:, held.columns(wrt)], ends, 1)
    shapes = {"x": (3,), "a": (2, 2)}
    points = [torch.from_numpy(part.copy()).reshape(-1, *shapes[n]) for n, part in zip(wrt, parts, strict=True)]
    return bundle, to_torch(bundle, of, wrt, held.given(wrt)), points


@ROWS
def test_torchs_own_checks(row: Row) -> None:
    _, f, points = made(row)
    points = [point.requires_grad_() for point in points]
    dense = any(text.startswith(("gradient", "jacobian")) for text in row[0])
    assert torch.autograd.gradcheck(f, points, check_forward_ad=True, check_batched_grad=dense)
    if row[3] == 2:
        assert torch.autograd.gradgradcheck(f, points, check_fwd_over_rev=True)


@ROWS
def test_transforms_are_the_closed_form(row: Row) -> None:
    _, of, wrt, order = row
    _, f, points = made(row)
    if len(points) > 1:
        points = [torch.cat([p.reshape(2, -1) for p in points], 1)]
        several = f
        f = lambda z: several(z[:3], z[3:].reshape(2, 2))  # noqa: E731
    z = points[0].numpy()
    m = len(held.rows(of))
    want = np.stack([held.jacobian(of, wrt, x) for x in z]).reshape((2, z.shape[1]) if m == 1 else (2, m, z.shape[1]))
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        np.testing.assert_allclose(torch.vmap(transform(f))(points[0]), want, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(transform(f)(points[0][0]), want[0], rtol=1e-12, atol=1e-13)
        for outer in (torch.func.jacrev, torch.func.jacfwd):
            second = outer(transform(f))
            if order == 1:
                with pytest.raises(pullback.NotExportedError, match="export the model with"):
                    second(points[0][0])
                continue
            bent = np.stack([held.hessian(of, wrt, x) for x in z]).reshape(*want.shape, -1)
            np.testing.assert_allclose(torch.vmap(second)(points[0]), bent, rtol=1e-11, atol=1e-12)
            if m == 1 and outer is torch.func.jacrev:
                continue
            with pytest.raises(pullback.NotExportedError, match="third"):
                torch.func.jacfwd(second)(points[0][0])


def test_a_backward_pass_of_a_vjp_is_one_run_without_a_jacobian() -> None:
    bundle, f, (x,) = made((("vjp(y, x)", "hvp(y, x)"), "y", ("x",), 2))
    x.requires_grad_()
    y = f(x)
    assert [name for name, _, _ in bundle.model.runs] == ["evaluate"]
    (g,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
    assert bundle.model.runs[1:] == [("vjp", ("adj_x",), 2)]
    bundle.model.runs.clear()
    g.sum().backward()
    assert {name for name, _, _ in bundle.model.runs} == {"hvp", "vjp"}
    assert all(batch <= 6 for _, _, batch in bundle.model.runs)


def test_the_gradient_of_a_scalar_by_a_vjp_comes_with_the_value() -> None:
    bundle, f, (x,) = made((("vjp(y, x)",), "y[1]", ("x",), 1))
    x.requires_grad_()
    f(x).sum().backward()
    assert bundle.model.runs == [("vjp", ("y", "adj_x"), 2)]
    np.testing.assert_allclose(x.grad[0], held.jacobian("y[1]", ("x",), held.Z[0, :3])[0])


def test_a_jacobian_is_kept_from_the_forward_pass_and_a_large_one_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    row = (("jacobian(y, x)", "vjp(y, x)"), "y", ("x",), 1)
    bundle, f, (x,) = made(row, values=False)
    f(x.requires_grad_()).sum().backward()
    assert [names for _, names, _ in bundle.model.runs] == [("y", "jacobian_y_x")]
    monkeypatch.setattr("pullback.flat.samples.LARGEST", 17)
    f((x + 1).detach().requires_grad_()).sum().backward()
    assert [names for _, names, _ in bundle.model.runs[1:]] == [("y",), ("adj_x",)]


def test_an_older_vmap_is_told() -> None:
    _, f, (x,) = made((("vjp(y, x)",), "y", ("x",), 1))
    with pytest.raises(pullback.InputError, match=r"torch\.func"):
        torch.autograd.functional.jacobian(f, x, vectorize=True)
