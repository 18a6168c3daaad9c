"""The ``autograd.Function``s behind :func:`~pullback.integrations.torch.to_torch`.

The value, and products with its first and second derivatives: the derivatives of each are made of the others. Where a
Jacobian or Hessian is exported and small it stands in for the products, as a function of the points alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from pullback.errors import InputError, MissingDependencyError, NotExportedError
from pullback.integrations.differentiable_rows import DifferentiableRows

try:
    import torch
except ImportError as error:
    raise MissingDependencyError('PyTorch is not installed: pip install "pullback[torch]"') from error


def _of_defined(backward: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Nothing goes back where nothing comes: absent gradients and tangents are None, never zeros to compute with."""

    @functools.wraps(backward)
    def defined(ctx: Any, grad: Any) -> Any:
        return (None,) * (1 + len(ctx.saved_tensors)) if grad is None else backward(ctx, grad)

    return defined


class _OfRows(torch.autograd.Function):  # type: ignore[misc]  # torch may not be installed where types are checked
    """A function of points ``(N, n)``, and of seeds ``(N, K, ...)`` in each of which it is linear."""

    def __init_subclass__(cls) -> None:
        """torch reads the signature of ``forward`` at each call: it is found once."""
        super().__init_subclass__()
        cls.forward.__signature__ = inspect.signature(cls.forward)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.rows, *tensors = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def _sum(ctx: Any, terms: Callable[..., list[tuple[Any, Callable[..., Any]]]]) -> Any:
        """The moved value: ``terms`` of the tensors without the tangents of this level, each with its tangent or None.

        torch calls ``jvp`` with forward mode off at every level: ``jacfwd(jacfwd(f))`` was zero without a word.
        """
        forward = torch.autograd.forward_ad
        with forward._set_fwd_grad_enabled(True):
            tensors = [forward.unpack_dual(tensor).primal for tensor in ctx.saved_tensors]
            moved = [move(tangent) for tangent, move in terms(*tensors) if tangent is not None]
            return None if not moved else sum(moved[1:], moved[0])

    @classmethod
    def _vmap(cls, in_dims: Any, rows: DifferentiableRows, *tensors: Any) -> tuple[Any, int]:
        """Points that are mapped join the others; seeds alone join those of the same points."""
        dims = in_dims[1:]
        size = next(tensor.shape[dim] for tensor, dim in zip(tensors, dims, strict=True) if dim is not None)
        front = [
            tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, dims, strict=True)
        ]
        if dims[0] is None:
            seeds = [seed.movedim(0, 1).flatten(1, 2) for seed in front[1:]]
            return cls.apply(rows, tensors[0], *seeds).unflatten(1, (size, front[1].shape[2])), 1
        joined = [tensor.flatten(0, 1) for tensor in front]
        return cls.apply(rows, *joined).unflatten(0, (size, front[0].shape[1])), 0


class Value(_OfRows):
    """``(N, m)``."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any) -> Any:
        return _tensor(rows.value(_numbers(points), expects_derivative=True), points)

    @staticmethod
    @_of_defined
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        if ctx.rows.gives_both(x.shape[0]):
            jacobian = _Jacobian.apply if _is_differentiated() else _Jacobian.forward
            return None, (grad[:, :, None] * jacobian(ctx.rows, x)).sum(1)
        return None, _VJP.apply(ctx.rows, x, grad[:, None])[:, 0]

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any) -> Any:
        def moved(x: Any, dx: Any) -> Any:
            if ctx.rows.gives_both(x.shape[0]):
                return (_Jacobian.apply(ctx.rows, x) * dx[:, None]).sum(2)
            return _JVP.apply(ctx.rows, x, dx[:, None])[:, 0]

        return Value._sum(ctx, lambda x: [(dx, lambda dx: moved(x, dx))])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return Value._vmap(in_dims, *args)


class _Jacobian(_OfRows):
    """``(N, m, n)``, of points alone: where it is small, a product with it needs nothing of the bundle."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any) -> Any:
        return _tensor(rows.jacobian(_numbers(points)), points)

    @staticmethod
    @_of_defined
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        if ctx.rows.gives_hessian(x.shape[0]):
            return None, (grad[..., None] * _Hessian.apply(ctx.rows, x)).sum((1, 2))
        return None, _HVP.apply(ctx.rows, x, _units(ctx.rows, x), grad).sum(1)

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any) -> Any:
        def moved(x: Any, dx: Any) -> Any:
            if ctx.rows.gives_hessian(x.shape[0]):
                return (_Hessian.apply(ctx.rows, x) * dx[:, None, None]).sum(3)
            units = _units(ctx.rows, x)
            return _HVP.apply(ctx.rows, x, units, _each(dx, units))

        return _Jacobian._sum(ctx, lambda x: [(dx, lambda dx: moved(x, dx))])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _Jacobian._vmap(in_dims, *args)


class _Hessian(_OfRows):
    """``(N, m, n, n)``, of points alone."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any) -> Any:
        return _tensor(rows.hessian(_numbers(points)), points)

    @staticmethod
    @_of_defined
    def backward(ctx: Any, grad: Any) -> Any:
        _third(ctx)

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any) -> Any:
        _third(ctx)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _Hessian._vmap(in_dims, *args)


class _VJP(_OfRows):
    """``weights (N, K, m)`` times the Jacobian, ``(N, K, n)``."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any, weights: Any) -> Any:
        return _tensor(rows.vjp(_numbers(points), _numbers(weights)), points)

    @staticmethod
    @_of_defined
    def backward(ctx: Any, grad: Any) -> Any:
        x, weights = ctx.saved_tensors
        _, of_points, of_weights = ctx.needs_input_grad
        return (
            None,
            _HVP.apply(ctx.rows, x, weights, grad).sum(1) if of_points else None,
            _JVP.apply(ctx.rows, x, grad) if of_weights else None,
        )

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any, dw: Any) -> Any:
        return _VJP._sum(
            ctx,
            lambda x, weights: [
                (dx, lambda dx: _HVP.apply(ctx.rows, x, weights, _each(dx, weights))),
                (dw, lambda dw: _VJP.apply(ctx.rows, x, dw)),
            ],
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _VJP._vmap(in_dims, *args)


class _JVP(_OfRows):
    """The Jacobian times ``directions (N, K, n)``, ``(N, K, m)``."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any, directions: Any) -> Any:
        return _tensor(rows.jvp(_numbers(points), _numbers(directions)), points)

    @staticmethod
    @_of_defined
    def backward(ctx: Any, grad: Any) -> Any:
        x, directions = ctx.saved_tensors
        _, of_points, of_directions = ctx.needs_input_grad
        return (
            None,
            _HVP.apply(ctx.rows, x, grad, directions).sum(1) if of_points else None,
            _VJP.apply(ctx.rows, x, grad) if of_directions else None,
        )

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any, dt: Any) -> Any:
        return _JVP._sum(
            ctx,
            lambda x, directions: [
                (dx, lambda dx: _Second.apply(ctx.rows, x, directions, _each(dx, directions))),
                (dt, lambda dt: _JVP.apply(ctx.rows, x, dt)),
            ],
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _JVP._vmap(in_dims, *args)


class _HVP(_OfRows):
    """The Hessian with ``weights (N, K, m)`` times ``directions (N, K, n)``, ``(N, K, n)``."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any, weights: Any, directions: Any) -> Any:
        return _tensor(rows.hvp(_numbers(points), _numbers(weights), _numbers(directions)), points)

    @staticmethod
    @_of_defined
    def backward(ctx: Any, grad: Any) -> Any:
        x, weights, directions = ctx.saved_tensors
        _, of_points, of_weights, of_directions = ctx.needs_input_grad
        return (
            None,
            _third(ctx) if of_points else None,
            _Second.apply(ctx.rows, x, directions, grad) if of_weights else None,
            _HVP.apply(ctx.rows, x, weights, grad) if of_directions else None,
        )

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any, dw: Any, dt: Any) -> Any:
        return _HVP._sum(
            ctx,
            lambda x, weights, directions: [
                (dx, lambda dx: _third(ctx)),
                (dw, lambda dw: _HVP.apply(ctx.rows, x, dw, directions)),
                (dt, lambda dt: _HVP.apply(ctx.rows, x, weights, dt)),
            ],
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _HVP._vmap(in_dims, *args)


class _Second(_OfRows):
    """The second derivative of each component along ``first`` and ``other (N, K, n)``, ``(N, K, m)``."""

    @staticmethod
    def forward(rows: DifferentiableRows, points: Any, first: Any, other: Any) -> Any:
        return _tensor(rows.second(_numbers(points), _numbers(first), _numbers(other)), points)

    @staticmethod
    @_of_defined
    def backward(ctx: Any, grad: Any) -> Any:
        x, first, other = ctx.saved_tensors
        _, of_points, of_first, of_other = ctx.needs_input_grad
        return (
            None,
            _third(ctx) if of_points else None,
            _HVP.apply(ctx.rows, x, grad, other) if of_first else None,
            _HVP.apply(ctx.rows, x, grad, first) if of_other else None,
        )

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any, df: Any, do: Any) -> Any:
        return _Second._sum(
            ctx,
            lambda x, first, other: [
                (dx, lambda dx: _third(ctx)),
                (df, lambda df: _Second.apply(ctx.rows, x, df, other)),
                (do, lambda do: _Second.apply(ctx.rows, x, first, do)),
            ],
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _Second._vmap(in_dims, *args)


def _is_differentiated() -> bool:
    """Whether anything may follow what a backward pass does: another one, tangents, or a transform of functorch.

    If not, the Jacobian is a plain array there. Where torch does not say, something may.
    """
    level = getattr(torch.autograd.forward_ad, "_current_level", 0)
    transformed = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)
    return torch.is_grad_enabled() or level >= 0 or bool(transformed())


def _each(tangent: Any, seeds: Any) -> Any:
    """A tangent of points ``(N, n)`` as one of ``K`` equal directions each."""
    return tangent[:, None].expand(-1, seeds.shape[1], -1)


def _units(rows: DifferentiableRows, points: Any) -> Any:
    """Each component of the output alone, at every point: ``(N, m, m)``."""
    return torch.eye(rows.m, dtype=points.dtype, device=points.device).expand(points.shape[0], rows.m, rows.m)


def _third(ctx: Any) -> Any:
    raise NotExportedError(f"{ctx.rows.of}: a third derivative was requested; a bundle provides the first two")


def _numbers(tensor: Any) -> Any:
    try:
        return tensor.detach().cpu().numpy()
    except RuntimeError as error:
        raise InputError(
            "torch's older vmap (is_grads_batched=True, vectorize=True) cannot map products with derivatives: take"
            " torch.func (jacrev, hessian, vmap), or export the jacobian or the hessian itself"
        ) from error


def _tensor(array: Any, like: Any) -> Any:
    return torch.from_numpy(array).to(like.device)
