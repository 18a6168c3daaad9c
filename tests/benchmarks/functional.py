"""Value and derivative of a function, written once for JAX and torch: their transformations have the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks.work import Work

Call = Callable[..., Any]


def derivative(func: Any, jacobian: Callable[..., Call], model: Call, work: Work) -> Call:
    """A function of ``x``, for products also of a tangent: the value and the derivative, of products the product alone.

    ``func``: the module ``jax`` or ``torch.func``; ``jacobian``: its ``jacfwd`` or ``jacrev``; ``model``: rows to rows.
    """

    def total(x: Any) -> Any:
        y = model(x)
        return (y if work.component is None else y[:, work.component]).sum(), y

    def of_one(sample: Any) -> Any:
        y = model(sample[None])[0]
        return y, y

    def gradient_of_rows(x: Any) -> Any:
        slope, y = func.grad(total, has_aux=True)(x)
        return y, slope

    def jacobian_of_rows(x: Any) -> Any:
        slope, y = func.vmap(jacobian(of_one, has_aux=True))(x)
        return y, slope

    def hessian_of_rows(x: Any) -> Any:
        return model(x), func.vmap(func.hessian(lambda sample: model(sample[None])[0, 0]))(x)

    def product(x: Any, v: Any) -> Any:
        return (func.jvp(lambda x: func.grad(total, has_aux=True)(x)[0], (x,), (v,))[1],)

    kinds = {"gradient": gradient_of_rows, "jacobian": jacobian_of_rows, "hessian": hessian_of_rows, "hvp": product}
    return kinds[work.kind]
