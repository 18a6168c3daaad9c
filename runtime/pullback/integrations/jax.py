"""A bundle as a differentiable function of JAX, by callbacks. Needs ``pip install "pullback[jax]"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, MissingDependencyError
from pullback.integrations.differentiable_rows import DifferentiableRows

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise MissingDependencyError('JAX is not installed: pip install "pullback[jax]"') from error

from pullback.integrations.jax_products import each, hvp, jvp, third


def to_jax(
    bundle: Bundle, of: str | None = None, wrt: Sequence[str] | None = None, given: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """``f(x)``: arrays ``(B, *in)`` to an array ``(B, *out)``, or one sample ``(*in,)`` to ``(*out,)``.

    Works under ``jit``, ``grad``, ``vmap``, ``jvp``, ``jacrev``, ``jacfwd``, and ``hessian`` where the bundle holds
    something of second order. A ``vjp`` alone is enough for reverse mode, a ``jvp`` for forward mode, an ``hvp`` or
    ``weighted_hessian`` for the second derivatives. Where the bundle holds the gradient or a small Jacobian, value and
    gradient take one callback together; where it holds the Hessian too, value, gradient and Hessian take another one.

    Args:
        bundle, of, wrt, given: see
            :class:`~pullback.integrations.differentiable_rows.DifferentiableRows`.

    Raises:
        InputError: the model computes in float64 and JAX does not: ``jax.config.update("jax_enable_x64", True)``. The
            function raises it for shapes that do not fit.
    """
    rows = DifferentiableRows(bundle, of, wrt, given)
    flat = _differentiable(rows)

    def function(*args: Any, **named: Any) -> Any:
        if rows.dtype == np.float64 and not jax.config.jax_enable_x64:
            raise InputError(
                "the model computes in float64 and JAX would round to float32:"
                ' jax.config.update("jax_enable_x64", True), or export the model with precision="float32"'
            )
        arrays = [jnp.asarray(value) for value in rows.bind(args, named)]
        batch = rows.batch_of([array.shape for array in arrays])
        for name, array in zip(rows.names, arrays, strict=True):
            rows.require_held(name, str(array.dtype))
        count = 1 if batch is None else batch
        sizes = [int(np.prod(shape)) for shape in rows.shapes]
        parts = [array.astype(rows.dtype).reshape(count, size) for array, size in zip(arrays, sizes, strict=True)]
        value = flat(jnp.concatenate(parts, 1))
        return value.reshape(rows.out_shape if batch is None else (count, *rows.out_shape))

    return function


def _differentiable(rows: DifferentiableRows) -> Callable[[Any], Any]:
    """``(N, n)`` to ``(N, m)``.

    Where the bundle gives value and Jacobian (and the Hessian) in one evaluation and they are small, each level gives
    itself and all before it, so that one callback serves them all; otherwise derivatives are products.
    """
    m, n = rows.m, rows.n

    def value_of(x: Any) -> Any:
        return _call(rows, lambda points: (rows.value(points),), x, (m,))[0]

    def both_of(x: Any) -> Any:
        return _call(rows, rows.both, x, (m,), (m, n))

    def three_of(x: Any) -> Any:
        return _call(rows, lambda points: (*rows.both(points), rows.hessian(points)), x, (m,), (m, n), (m, n, n))

    value, both, three = (jax.custom_jvp(part) for part in (value_of, both_of, three_of))

    def value_jvp(primals: Any, tangents: Any) -> Any:
        (x,), (dx,) = primals, tangents
        if not rows.gives_both(x.shape[0]):
            return value(x), jvp(rows, x, dx[:, None])[:, 0]
        y, jacobian = both(x)
        return y, jnp.einsum("nmi,ni->nm", jacobian, dx)

    def both_jvp(primals: Any, tangents: Any) -> Any:
        (x,), (dx,) = primals, tangents
        if rows.gives_hessian(x.shape[0]):
            y, jacobian, hessian = three(x)
            bent = jnp.einsum("nmij,nj->nmi", hessian, dx)
        else:
            y, jacobian = both(x)
            components = jnp.broadcast_to(jnp.eye(m, dtype=rows.dtype), (x.shape[0], m, m))
            bent = hvp(rows, x, components, each(dx, m))
        return (y, jacobian), (jnp.einsum("nmi,ni->nm", jacobian, dx), bent)

    def three_jvp(primals: Any, tangents: Any) -> Any:
        third(rows)

    value.defjvp(value_jvp)
    both.defjvp(both_jvp)
    three.defjvp(three_jvp)
    function: Callable[[Any], Any] = value
    return function


def _call(rows: DifferentiableRows, compute: Callable[[Array], Any], x: Any, *shapes: tuple[int, ...]) -> Any:
    """One callback for all rows, under ``vmap`` for those of the whole batch."""
    results = tuple(jax.ShapeDtypeStruct((x.shape[0], *shape), rows.dtype) for shape in shapes)

    def folded(points: Any) -> Any:
        points = np.asarray(points)
        lead = points.shape[:-1]
        found = compute(np.ascontiguousarray(points).reshape(-1, rows.n))
        return tuple(array.reshape(*lead, *array.shape[1:]) for array in found)

    return jax.pure_callback(folded, results, x, vmap_method="broadcast_all")
