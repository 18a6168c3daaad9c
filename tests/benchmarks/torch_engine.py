"""The same Keras model on the torch backend, eagerly or as one compiled graph of value and derivative."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from tests.benchmarks.work import Work

Call = Callable[..., Any]


def open_torch(work: Work, folder: pathlib.Path, threads: int, compiled: bool) -> Call:
    """A function of NumPy arrays; it gives the value and the derivative, of a product the product alone.

    ``torch.compile`` sees ``torch.func`` around the model, so that both passes are one graph: three times as fast as
    the compiled model under ``torch.autograd``. Every batch size has a graph of its own, without free sizes.
    """
    import keras
    import torch

    torch.set_num_threads(threads)
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if compiled:
        derive = torch.compile(_transforms(torch, model, work)[work.kind], dynamic=False)
    elif work.kind == "gradient":
        derive = _autograd(torch, model, work)
    else:
        derive = _transforms(torch, model, work)[work.kind]
    return lambda *arrays: [item.detach().numpy() for item in derive(*map(torch.from_numpy, arrays))]


def _autograd(torch: Any, model: Any, work: Work) -> Call:
    """What one writes by hand, without the cost of ``torch.func`` in every call."""

    def gradient(x: Any) -> Any:
        x = x.detach().requires_grad_(True)
        y = model(x, training=False)
        of = y if work.component is None else y[:, work.component]
        return y, torch.autograd.grad(of.sum(), x)[0]

    return gradient


def _transforms(torch: Any, model: Any, work: Work) -> dict[str, Call]:
    """Value and derivative by kind, with the transformations of ``torch.func``."""
    func = torch.func

    def of_rows(x: Any) -> Any:
        return model(x, training=False)

    def total(x: Any) -> Any:
        y = of_rows(x)
        return (y if work.component is None else y[:, work.component]).sum(), y

    def of_one(sample: Any) -> Any:
        y = of_rows(sample[None])[0]
        return y, y

    def gradient(x: Any) -> Any:
        slope, y = func.grad(total, has_aux=True)(x)
        return y, slope

    def jacobian(x: Any) -> Any:
        slope, y = func.vmap(func.jacrev(of_one, has_aux=True))(x)
        return y, slope

    def hessian(x: Any) -> Any:
        return of_rows(x), func.vmap(func.hessian(lambda sample: of_rows(sample[None])[0, 0]))(x)

    def hvp(x: Any, v: Any) -> Any:
        return (func.jvp(lambda x: func.grad(total, has_aux=True)(x)[0], (x,), (v,))[1],)

    return {"gradient": gradient, "jacobian": jacobian, "hessian": hessian, "hvp": hvp}
