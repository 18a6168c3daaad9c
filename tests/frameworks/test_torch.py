"""``to_torch``: torch's own checks of derivatives, its transforms, and a training loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pullback
import pytest
import torch
from pullback.integrations.torch import to_torch

X = torch.tensor([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7]], dtype=torch.float64)


@pytest.mark.parametrize("of", ["energy", "c", "c[1]", "sum(c)"])
def test_gradcheck_and_gradgradcheck(hill: pullback.Bundle, of: str) -> None:
    f = to_torch(hill, of=of)
    for x in (X, X[0]):
        x = x.clone().requires_grad_()
        assert torch.autograd.gradcheck(f, (x,), check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(f, (x,), check_fwd_over_rev=True)


def test_values_and_shapes(hill: pullback.Bundle, picture: pullback.Bundle) -> None:
    energy, c = to_torch(hill, of="energy"), to_torch(hill, of="c")
    want = hill(X.numpy())
    torch.testing.assert_close(energy(X), torch.from_numpy(want.energy), rtol=0, atol=0)
    torch.testing.assert_close(c(x=X), torch.from_numpy(want.c), rtol=0, atol=0)
    assert energy(X[0]).shape == () and c(X[0]).shape == (2,) and c(X[:0]).shape == (0, 2)
    image = torch.rand(3, 8, 8, 1, dtype=torch.float64, requires_grad=True)
    score = to_torch(picture)(image)
    (gradient,) = torch.autograd.grad(score.sum(), image)
    torch.testing.assert_close(gradient, torch.from_numpy(picture(image.detach().numpy()).dscore_dimage))


@pytest.mark.parametrize("transform", [torch.func.jacrev, torch.func.jacfwd])
def test_transforms(hill: pullback.Bundle, transform: Any) -> None:
    energy, c = to_torch(hill, of="energy"), to_torch(hill, of="c")
    want = hill(X.numpy())
    torch.testing.assert_close(torch.vmap(c)(X), c(X))
    torch.testing.assert_close(torch.vmap(transform(c))(X), torch.from_numpy(want.dc_dx))
    torch.testing.assert_close(torch.vmap(torch.func.grad(energy))(X), torch.from_numpy(want.denergy_dx))
    for outer in (torch.func.jacrev, torch.func.jacfwd):
        found = torch.vmap(outer(transform(energy)))(X)
        torch.testing.assert_close(found, torch.from_numpy(want.d2energy_dx2))
        assert outer(transform(c))(X[0]).shape == (2, 3, 3)
    value, moved = torch.func.jvp(c, (X,), (torch.ones_like(X),))
    torch.testing.assert_close(moved, torch.from_numpy(want.dc_dx.sum(2)))
    torch.testing.assert_close(value, torch.from_numpy(want.c))


def test_one_evaluation_for_value_and_gradient(hill: pullback.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    plain = pullback.Function.__call__
    monkeypatch.setattr(pullback.Function, "__call__", lambda *a, **k: calls.append(k) or plain(*a, **k))
    f = to_torch(hill, of="energy")
    x = X.clone().requires_grad_()
    f(x).sum().backward()
    assert len(calls) == 1 and x.grad is not None
    with torch.no_grad():
        f(x + 2)
    assert calls.pop()["fetch"] == ("energy",)
    first, second = f(x), f(x + 1)  # two forward passes wait for their backward passes
    (first.sum() + second.sum()).backward()
    assert len(calls) == 3


def test_results_do_not_alias(hill: pullback.Bundle) -> None:
    f = to_torch(hill, of="energy")
    x = X.clone().requires_grad_()
    first = torch.autograd.grad(f(x).sum(), x)[0]
    kept = first.clone()
    first.zero_()
    torch.testing.assert_close(torch.autograd.grad(f(x).sum(), x)[0], kept)


def test_a_training_loop_through_a_bundle(hill: pullback.Bundle) -> None:
    """A linear map in front of the bundle learns to bring ``c`` to what another one gives."""
    torch.manual_seed(0)
    c = to_torch(hill, of="c")
    inputs = torch.rand(32, 2, dtype=torch.float64)
    teacher, student = (torch.nn.Linear(2, 3, dtype=torch.float64) for _ in range(2))
    wanted = c(teacher(inputs)).detach()
    optimiser = torch.optim.Adam(student.parameters(), lr=0.03)
    losses = []
    for _ in range(300):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(c(student(inputs)), wanted)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]


def test_mistakes(hill: pullback.Bundle, hill32: pullback.Bundle, picture: pullback.Bundle) -> None:
    with pytest.raises(pullback.InputError, match="which output: energy, c"):
        to_torch(hill)
    f = to_torch(hill32, of="energy")
    with pytest.raises(pullback.InputError, match="computes in float32"):
        f(X)
    assert f(X.float()).dtype == torch.float32
    assert to_torch(hill, of="energy")(X.float()).dtype == torch.float64
    with pytest.raises(pullback.InputError, match="of one sample"):
        f(torch.ones(4))
    with pytest.raises(pullback.InputError, match="takes x"):
        f(X, X)
    image = torch.rand(1, 8, 8, 1, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(to_torch(picture)(image).sum(), image, create_graph=True)
    with pytest.raises(pullback.NotExportedError, match="hessian"):
        gradient.sum().backward()
    x = X.clone().requires_grad_()
    g = torch.autograd.grad(to_torch(hill, of="energy")(x).sum(), x, create_graph=True)[0]
    h = torch.autograd.grad((g**2).sum(), x, create_graph=True)[0]
    with pytest.raises(pullback.NotExportedError, match="third"):
        h.sum().backward()


def test_tangents_through_a_plain_backward_pass(hill: pullback.Bundle) -> None:
    """Forward over reverse without ``create_graph``: the Jacobian of the pass is no constant then."""
    f, forward = to_torch(hill, "energy"), torch.autograd.forward_ad
    point, direction = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64), torch.tensor([1.0, 0.5, -2.0]).double()
    with forward.dual_level():
        x = forward.make_dual(point.clone().requires_grad_(), direction)
        (gradient,) = torch.autograd.grad(f(x).sum(), x)
        tangent = forward.unpack_dual(gradient).tangent
    want = hill.flat("energy", "x").hess(point.numpy()) @ direction.numpy()
    np.testing.assert_allclose(tangent.detach().numpy(), want, rtol=1e-12)
