"""The same Keras model on the torch backend, eagerly or as one compiled graph of value and derivative."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from tests.benchmarks.functional import derivative
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
    if work.kind == "gradient" and not compiled:
        derive = _autograd(torch, model, work)
    else:
        derive = derivative(torch.func, torch.func.jacrev, lambda x: model(x, training=False), work)
    if compiled:
        derive = torch.compile(derive, dynamic=False)
    return lambda *arrays: [item.detach().numpy() for item in derive(*map(torch.from_numpy, arrays))]


def _autograd(torch: Any, model: Any, work: Work) -> Call:
    """What one writes by hand, without the cost of ``torch.func`` in every call."""

    def gradient(x: Any) -> Any:
        x = x.detach().requires_grad_(True)
        y = model(x, training=False)
        of = y if work.component is None else y[:, work.component]
        return y, torch.autograd.grad(of.sum(), x)[0]

    return gradient
