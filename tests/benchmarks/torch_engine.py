"""The same Keras model on the torch backend: eagerly, compiled with its derivative, or compiled ahead of time."""

from __future__ import annotations

import functools
import pathlib
import tempfile
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
    torch, model = _load(folder, threads)
    if work.kind == "gradient" and not compiled:
        derive = _autograd(torch, model, work)
    else:
        derive = _functional(torch, model, work)
    if compiled:
        derive = torch.compile(derive, dynamic=False)
    return _of_arrays(torch, derive)


def open_ahead_of_time(work: Work, folder: pathlib.Path, threads: int) -> Call:
    """AOTInductor: value and derivative as one graph, compiled by ``g++`` into a package, which is loaded and called.

    A package for each batch size. ``torch.export`` does not look into ``torch.func``: ``make_fx`` does so before.
    """
    torch, model = _load(folder, threads)
    from torch.fx.experimental.proxy_tensor import make_fx

    derive = _functional(torch, model, work)

    @functools.lru_cache(1)
    def of_batch(*shapes: tuple[int, ...]) -> Call:
        rows = tuple(torch.zeros(shape) for shape in shapes)
        program = torch.export.export(make_fx(derive)(*rows), rows)
        with tempfile.TemporaryDirectory() as target:
            path = str(pathlib.Path(target) / "derivative.pt2")
            torch._inductor.aoti_compile_and_package(program, package_path=path)
            loaded: Call = torch._inductor.aoti_load_package(path)
        return loaded

    return _of_arrays(torch, lambda *rows: of_batch(*(tuple(row.shape) for row in rows))(*rows))


def _load(folder: pathlib.Path, threads: int) -> tuple[Any, Any]:
    import keras
    import torch

    torch.set_num_threads(threads)
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return torch, model


def _functional(torch: Any, model: Any, work: Work) -> Call:
    return derivative(torch.func, torch.func.jacrev, lambda x: model(x, training=False), work)


def _of_arrays(torch: Any, derive: Call) -> Call:
    return lambda *arrays: [item.detach().numpy() for item in derive(*map(torch.from_numpy, arrays))]


def _autograd(torch: Any, model: Any, work: Work) -> Call:
    """What one writes by hand, without the cost of ``torch.func`` in every call."""

    def gradient(x: Any) -> Any:
        x = x.detach().requires_grad_(True)
        y = model(x, training=False)
        of = y if work.component is None else y[:, work.component]
        return y, torch.autograd.grad(of.sum(), x)[0]

    return gradient
