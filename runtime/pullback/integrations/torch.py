"""A bundle as a differentiable function of PyTorch. Needs ``pip install "pullback[torch]"``.

Reverse, forward and nested modes, and ``vmap``, are those of torch itself, of whatever source a bundle holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.bundle import Bundle
from pullback.errors import MissingDependencyError
from pullback.integrations.differentiable_rows import DifferentiableRows

try:
    import torch
except ImportError as error:
    raise MissingDependencyError('PyTorch is not installed: pip install "pullback[torch]"') from error

from pullback.integrations.torch_functions import Value


def to_torch(
    bundle: Bundle, of: str | None = None, wrt: Sequence[str] | None = None, given: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """``f(x)``: tensors ``(B, *in)`` to a tensor ``(B, *out)``, or one sample ``(*in,)`` to ``(*out,)``.

    Works under ``backward`` (twice, where the bundle holds something of second order), ``torch.func`` (``grad``,
    ``jacrev``, ``jacfwd``, ``vmap``, ``jvp``, ``hessian``). A ``vjp`` alone is enough for backward passes, a
    ``jvp`` for forward mode, an ``hvp`` or ``weighted_hessian`` for the second ones. Where the bundle
    holds the gradient or a small Jacobian, one evaluation gives the value and what the backward pass takes.

    Args:
        bundle, of, wrt, given: see
            :class:`~pullback.integrations.differentiable_rows.DifferentiableRows`.

    The function raises ``InputError`` for shapes that do not fit and for float64 tensors in a float32 model;
    ``NotExportedError`` for a derivative that the bundle does not give. Results have the dtype of the model.
    """
    rows = DifferentiableRows(bundle, of, wrt, given)
    plain = rows.without_derivatives()
    dtype = getattr(torch, str(rows.dtype))
    sizes = [int(np.prod(shape)) for shape in rows.shapes]

    def function(*args: Any, **named: Any) -> Any:
        tensors = [torch.as_tensor(value) for value in rows.bind(args, named)]
        batch = rows.batch_of([tensor.shape for tensor in tensors])
        for name, tensor in zip(rows.names, tensors, strict=True):
            if tensor.dtype is not dtype:
                rows.require_held(name, str(tensor.dtype).removeprefix("torch."))
        count = 1 if batch is None else batch
        flat = [tensor.to(dtype).reshape(count, size) for tensor, size in zip(tensors, sizes, strict=True)]
        value = Value.apply(rows if torch.is_grad_enabled() else plain, torch.cat(flat, 1))
        return value.reshape(rows.out_shape if batch is None else (count, *rows.out_shape))

    return function
