"""Products with the derivatives of a bundle as a primitive of JAX: what no Jacobian is needed for.

``jax.custom_jvp`` wants derivatives that JAX can transpose, and a callback is none; a primitive states its transposes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback.errors import MissingDependencyError, NotExportedError
from pullback.integrations.differentiable_rows import DifferentiableRows

try:
    import jax
    import jax.numpy as jnp
    from jax.extend.core import Primitive
    from jax.interpreters import ad, batching, mlir
except ImportError as error:
    raise MissingDependencyError('JAX is not installed: pip install "pullback[jax]"') from error


def vjp(rows: DifferentiableRows, points: Any, weights: Any) -> Any:
    """``(N, K, n)``: weights ``(N, K, m)`` times the Jacobian at points ``(N, n)``."""
    return _bind(rows, "vjp", 1, points, weights)


def jvp(rows: DifferentiableRows, points: Any, directions: Any) -> Any:
    """``(N, K, m)``: the Jacobian times directions ``(N, K, n)``."""
    return _bind(rows, "jvp", 1, points, directions)


def hvp(rows: DifferentiableRows, points: Any, weights: Any, directions: Any) -> Any:
    """``(N, K, n)``: the Hessian, weighted by component, times directions."""
    return _bind(rows, "hvp", 2, points, weights, directions)


def second(rows: DifferentiableRows, points: Any, first: Any, other: Any) -> Any:
    """``(N, K, m)``: the second derivative of each component along two directions ``(N, K, n)``."""
    return _bind(rows, "second", 2, points, first, other)


def each(tangent: Any, many: int) -> Any:
    """A tangent of points ``(N, n)`` as one of ``many`` equal directions each."""
    return jnp.broadcast_to(tangent[:, None], (tangent.shape[0], many, tangent.shape[1]))


def third(rows: DifferentiableRows, *_: Any) -> Any:
    """Bundles end here."""
    raise NotExportedError(f"{rows.of}: a third derivative was requested; a bundle provides the first two")


_product = Primitive("pullback_product")

Rule = Callable[..., Any]

# What a tangent of each argument adds: of the points first, then of the seeds, in which products are linear.
_MOVED: dict[str, tuple[Rule, ...]] = {
    "vjp": (
        lambda rows, dx, x, w: hvp(rows, x, w, each(dx, w.shape[1])),
        lambda rows, dw, x, w: vjp(rows, x, dw),
    ),
    "jvp": (
        lambda rows, dx, x, t: second(rows, x, t, each(dx, t.shape[1])),
        lambda rows, dt, x, t: jvp(rows, x, dt),
    ),
    "hvp": (
        third,
        lambda rows, dw, x, w, t: hvp(rows, x, dw, t),
        lambda rows, dt, x, w, t: hvp(rows, x, w, dt),
    ),
    "second": (
        third,
        lambda rows, df, x, f, o: second(rows, x, df, o),
        lambda rows, do, x, f, o: second(rows, x, f, do),
    ),
}

# What a cotangent gives to each seed. Of the points a product is not linear: it is not transposed there.
_TRANSPOSED: dict[str, tuple[Rule, ...]] = {
    "vjp": (lambda rows, ct, x, w: jvp(rows, x, ct),),
    "jvp": (lambda rows, ct, x, t: vjp(rows, x, ct),),
    "hvp": (lambda rows, ct, x, w, t: second(rows, x, t, ct), lambda rows, ct, x, w, t: hvp(rows, x, w, ct)),
    "second": (lambda rows, ct, x, f, o: hvp(rows, x, ct, o), lambda rows, ct, x, f, o: hvp(rows, x, ct, f)),
}


def _bind(rows: DifferentiableRows, kind: str, order: int, *arrays: Any) -> Any:
    rows.require(order)  # while JAX traces: an error of a callback comes late and in other words
    return _product.bind(*arrays, rows=rows, kind=kind)


def _shape(rows: DifferentiableRows, kind: str, seed: Any) -> tuple[int, ...]:
    return (*seed.shape[:2], rows.n if kind in ("vjp", "hvp") else rows.m)


def _compute(*arrays: Any, rows: DifferentiableRows, kind: str) -> Any:
    def on_host(*host: Any) -> Any:
        return getattr(rows, kind)(*(np.ascontiguousarray(array) for array in host))

    result = jax.ShapeDtypeStruct(_shape(rows, kind, arrays[1]), rows.dtype)
    return jax.pure_callback(on_host, result, *arrays)


def _abstract(*arrays: Any, rows: DifferentiableRows, kind: str) -> Any:
    return jax.core.ShapedArray(_shape(rows, kind, arrays[1]), rows.dtype)


def _moved(primals: Sequence[Any], tangents: Sequence[Any], *, rows: DifferentiableRows, kind: str) -> Any:
    rules = zip(tangents, _MOVED[kind], strict=True)
    moved = [rule(rows, tangent, *primals) for tangent, rule in rules if type(tangent) is not ad.Zero]
    return _product.bind(*primals, rows=rows, kind=kind), sum(moved[1:], moved[0])


def _transposed(cotangent: Any, *arrays: Any, rows: DifferentiableRows, kind: str) -> Any:
    rules = zip(arrays[1:], _TRANSPOSED[kind], strict=True)
    wanted = type(cotangent) is not ad.Zero
    given = [rule(rows, cotangent, *arrays) if wanted and ad.is_undefined_primal(a) else None for a, rule in rules]
    return [None, *given]


def _mapped(arrays: Sequence[Any], axes: Sequence[Any], *, rows: DifferentiableRows, kind: str) -> Any:
    """Points that are mapped join the others; seeds alone join those of the same points."""
    size = next(array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None)
    front = [
        jnp.broadcast_to(array, (size, *array.shape)) if axis is None else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(arrays, axes, strict=True)
    ]
    if axes[0] is None:
        _, count, many, _ = front[1].shape
        seeds = [jnp.moveaxis(seed, 0, 1).reshape(count, size * many, seed.shape[3]) for seed in front[1:]]
        result = _product.bind(arrays[0], *seeds, rows=rows, kind=kind)
        return result.reshape(count, size, many, result.shape[2]), 1
    count = front[0].shape[1]
    joined = [array.reshape(size * count, *array.shape[2:]) for array in front]
    result = _product.bind(*joined, rows=rows, kind=kind)
    return result.reshape(size, count, *result.shape[1:]), 0


_product.def_impl(_compute)
_product.def_abstract_eval(_abstract)
ad.primitive_jvps.update({_product: _moved})
ad.primitive_transposes.update({_product: _transposed})
batching.primitive_batchers[_product] = _mapped  # no dictionary any more in JAX 0.10: it takes items alone
mlir.register_lowering(_product, mlir.lower_fun(_compute, multiple_results=False))
