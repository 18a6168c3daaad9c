"""A bundle as a differentiable function of PyTorch. Needs ``pip install "pullback[torch]"``.

Value, Jacobian and Hessian are three ``autograd.Function``s of the points alone, each the derivative of the one before:
so reverse, forward and nested modes, and ``vmap``, are those of torch itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.bundle import Bundle
from pullback.errors import MissingDependencyError, NotExportedError
from pullback.integrations.differentiable_rows import DifferentiableRows

try:
    import torch
except ImportError as error:
    raise MissingDependencyError('PyTorch is not installed: pip install "pullback[torch]"') from error


def to_torch(
    bundle: Bundle, of: str | None = None, wrt: Sequence[str] | None = None, given: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """``f(x)``: tensors ``(B, *in)`` to a tensor ``(B, *out)``, or one sample ``(*in,)`` to ``(*out,)``.

    Works under ``backward`` (twice, where the bundle gives Hessians), ``torch.func`` (``grad``, ``jacrev``, ``jacfwd``,
    ``vmap``, ``jvp``, ``hessian``). One evaluation gives the value and the Jacobian that a backward pass takes.

    Args:
        bundle, of, wrt, given: see
            :class:`~pullback.integrations.differentiable_rows.DifferentiableRows`.

    The function raises ``InputError`` for shapes that do not fit and for float64 tensors in a float32 model;
    ``NotExportedError`` for a derivative that the bundle does not give. Results have the dtype of the model.
    """
    rows = DifferentiableRows(bundle, of, wrt, given)
    plain = rows.without_derivatives()

    def function(*args: Any, **named: Any) -> Any:
        tensors = [torch.as_tensor(value) for value in rows.bind(args, named)]
        batch = rows.batch_of([tensor.shape for tensor in tensors])
        dtype = getattr(torch, str(rows.dtype))
        for name, tensor in zip(rows.names, tensors, strict=True):
            rows.require_held(name, str(tensor.dtype).removeprefix("torch."))
        count = 1 if batch is None else batch
        sizes = [int(np.prod(shape)) for shape in rows.shapes]
        flat = [tensor.to(dtype).reshape(count, size) for tensor, size in zip(tensors, sizes, strict=True)]
        value = _Value.apply(rows if torch.is_grad_enabled() else plain, torch.cat(flat, 1))
        return value.reshape(rows.out_shape if batch is None else (count, *rows.out_shape))

    return function


class _OfPoints(torch.autograd.Function):  # type: ignore[misc]  # torch may not be installed where types are checked
    """A function of ``(N, n)``; its derivative, which ``_NEXT`` names, has one axis more."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        rows, points = inputs
        ctx.rows = rows
        ctx.save_for_backward(points)
        ctx.save_for_forward(points)

    @classmethod
    def _derivative(cls, ctx: Any) -> Any:
        (points,) = ctx.saved_tensors
        return _NEXT[cls].apply(ctx.rows, points)

    @classmethod
    def _moved(cls, ctx: Any, product: Callable[[Any], Any]) -> Any:
        """The derivative along a tangent, of points without the tangent of this level, with those of outer ones.

        torch calls ``jvp`` with forward mode off at every level: ``jacfwd(jacfwd(f))`` was zero without a word.
        """
        forward = torch.autograd.forward_ad
        with forward._set_fwd_grad_enabled(True):
            points = forward.unpack_dual(ctx.saved_tensors[0]).primal
            return product(_NEXT[cls].apply(ctx.rows, points))

    @classmethod
    def _vmap(cls, info: Any, in_dims: Any, rows: DifferentiableRows, points: Any) -> tuple[Any, int]:
        moved = points.movedim(in_dims[1], 0)
        result = cls.apply(rows, moved.reshape(-1, rows.n))
        return result.reshape(*moved.shape[:2], *result.shape[1:]), 0


class _Value(_OfPoints):
    """``(N, m)``."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any) -> Any:
        return _tensor(rows.value(_numbers(points), expects_derivative=True), points)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, (grad[:, :, None] * _Value._derivative(ctx)).sum(1)

    @staticmethod
    def jvp(ctx: Any, _: Any, tangent: Any) -> Any:
        return _Value._moved(ctx, lambda jacobian: (jacobian * tangent[:, None]).sum(2))

    @staticmethod
    def vmap(info: Any, in_dims: Any, rows: DifferentiableRows, points: Any) -> Any:
        return _Value._vmap(info, in_dims, rows, points)


class _Jacobian(_OfPoints):
    """``(N, m, n)``."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any) -> Any:
        return _tensor(rows.jacobian(_numbers(points)), points)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return None, (grad[:, :, :, None] * _Jacobian._derivative(ctx)).sum((1, 2))

    @staticmethod
    def jvp(ctx: Any, _: Any, tangent: Any) -> Any:
        return _Jacobian._moved(ctx, lambda hessian: (hessian * tangent[:, None, None]).sum(3))

    @staticmethod
    def vmap(info: Any, in_dims: Any, rows: DifferentiableRows, points: Any) -> Any:
        return _Jacobian._vmap(info, in_dims, rows, points)


class _Hessian(_OfPoints):
    """``(N, m, n, n)``; the end: bundles hold no third derivatives."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any) -> Any:
        return _tensor(rows.hessian(_numbers(points)), points)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        raise NotExportedError(f"{ctx.rows.of}: a third derivative was requested; a bundle provides the first two")

    @staticmethod
    def jvp(ctx: Any, _: Any, tangent: Any) -> Any:
        raise NotExportedError(f"{ctx.rows.of}: a third derivative was requested; a bundle provides the first two")

    @staticmethod
    def vmap(info: Any, in_dims: Any, rows: DifferentiableRows, points: Any) -> Any:
        return _Hessian._vmap(info, in_dims, rows, points)


_NEXT: dict[Any, Any] = {_Value: _Jacobian, _Jacobian: _Hessian}


def _numbers(points: Any) -> Any:
    return points.detach().cpu().numpy()


def _tensor(array: Any, like: Any) -> Any:
    return torch.from_numpy(array).to(like.device)
