"""Mistakes with PyTorch, JAX and PyTensor: the same in each, in the words of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.integrations.mistakes import Bundles, Entry, Row

X = np.array([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7]])
IMAGE = np.linspace(0, 1, 64).reshape(1, 8, 8, 1)


def _torch(bundle: Any, x: Any, of: str | None = "energy", gradients: int = 0) -> Any:
    import torch
    from pullback.integrations.torch import to_torch

    tensor = torch.from_numpy(np.array(x)).requires_grad_(gradients > 0)
    value = to_torch(bundle, of)(tensor)
    for _ in range(gradients):
        (value,) = torch.autograd.grad(value.sum(), tensor, create_graph=True)
    return value.detach().numpy()


def _torch_memory(b: Bundles) -> Any:
    """torch itself refuses a saved tensor that was changed between both passes; ours keeps the Jacobian."""
    import torch
    from pullback.integrations.torch import to_torch

    plain = torch.from_numpy(X.copy())
    tensor = plain.clone().requires_grad_()
    value = to_torch(b.hill, "energy")(tensor).sum()
    plain += 1
    to_torch(b.hill, "energy")(plain)
    value.backward()
    tensor.grad += 0
    return tensor.grad.numpy(), b.hill(X).denergy_dx


def _jax(bundle: Any, x: Any, of: str | None = "energy", gradients: int = 0) -> Any:
    import jax
    from pullback.integrations.jax import to_jax

    def total(at: Any) -> Any:
        return to_jax(bundle, of)(at).sum()

    call = to_jax(bundle, of) if gradients == 0 else jax.grad(total)
    if gradients == 2:
        call = jax.grad(lambda at: jax.grad(total)(at).sum())
    with jax.enable_x64(True):
        return np.asarray(call(x))


def _jax_memory(b: Bundles) -> Any:
    import jax
    from pullback.integrations.jax import to_jax

    x = X.copy()
    call = jax.jit(jax.grad(lambda at: to_jax(b.hill, "energy")(at).sum()))
    with jax.enable_x64(True):
        found = np.asarray(call(x))
        x += 1
        call(x)
    return found, b.hill(X).denergy_dx


def _without_x64(b: Bundles) -> Any:
    import jax
    from pullback.integrations.jax import to_jax

    with jax.enable_x64(False):
        return to_jax(b.hill, "energy")(X)


def _pytensor(bundle: Any, x: Any, of: str | None = "energy", gradients: int = 0) -> Any:
    import pytensor
    import pytensor.tensor as pt
    from pullback.integrations.pytensor import to_pytensor

    symbol = pt.tensor(dtype=np.asarray(x).dtype, shape=np.shape(x))
    value = to_pytensor(bundle, of)(symbol)
    for _ in range(gradients):
        value = pytensor.grad(value.sum(), symbol)
    return value.eval({symbol: x})


def _pytensor_memory(b: Bundles) -> Any:
    import pytensor
    import pytensor.tensor as pt
    from pullback.integrations.pytensor import to_pytensor

    symbol, x = pt.dmatrix("x"), X.copy()
    call = pytensor.function([symbol], pytensor.grad(to_pytensor(b.hill, "energy")(symbol).sum(), symbol))
    found = call(x)
    x += 1
    call(x)
    return found, b.hill(X).denergy_dx


def _rows(name: str, run: Any, memory: Any) -> tuple[Entry, ...]:
    return (
        Row(name, "sample", "one sample", lambda b: (run(b.hill, X[0]), b.hill(X[:1]).energy[0])),
        Row(name, "memory", "x changed after the value", memory),
        Row(name, "order", "no of= with several outputs", lambda b: run(b.hill, X, None), "which output: energy, c"),
        Row(name, "order", "an input as of=", lambda b: run(b.hill, X, "x"), "there is no output 'x'"),
        Row(
            name,
            "precision",
            "float64 into float32",
            lambda b: run(b.hill32, X),
            'export the model with precision="float64"',
        ),
        Row(
            *(name, "precision", "the gradient in float32"),
            lambda b: (run(b.hill32, X.astype(np.float32), gradients=1), b.hill(X).denergy_dx),
            tolerance=1e-5,
        ),
        Row(name, "size", "four numbers for three", lambda b: run(b.hill, np.ones((2, 4))), "of one sample"),
        Row(name, "missing", "a second derivative", lambda b: run(b.picture, IMAGE, None, 2), "hessian"),
    )


ENTRIES: tuple[Entry, ...] = (
    *_rows("torch", _torch, _torch_memory),
    *_rows("jax", _jax, _jax_memory),
    Row("jax", "precision", "a float64 model without x64", _without_x64, "jax_enable_x64"),
    *_rows("pytensor", _pytensor, _pytensor_memory),
)
