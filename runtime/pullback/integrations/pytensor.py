"""A bundle as a differentiable function of PyTensor, which PyMC samples. Needs ``pip install "pullback[pytensor]"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.bundle import Bundle
from pullback.errors import InputError, MissingDependencyError, NotExportedError
from pullback.integrations.differentiable_rows import DifferentiableRows

try:
    import pytensor.tensor as pt
    from pytensor.gradient import DisconnectedType
    from pytensor.graph.basic import Apply
    from pytensor.graph.op import Op
except ImportError as error:
    raise MissingDependencyError('PyTensor is not installed: pip install "pullback[pytensor]"') from error


def to_pytensor(
    bundle: Bundle, of: str | None = None, wrt: Sequence[str] | None = None, given: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """``f(x)``: a tensor ``(B, *in)`` to a tensor ``(B, *out)``, or one sample ``(*in,)`` to ``(*out,)``.

    Reverse mode serves ``pytensor.grad`` and PyMC's samplers, from whatever the bundle holds; gradients of gradients
    where it holds something of second order. Where it holds the gradient or a small Jacobian, one evaluation gives the
    value and what the gradient takes.

    Args:
        bundle, of, wrt, given: see
            :class:`~pullback.integrations.differentiable_rows.DifferentiableRows`.

    The function raises ``InputError`` for shapes that do not fit and for float64 tensors in a float32 model;
    ``pytensor.grad`` raises ``NotExportedError`` for a derivative that the bundle does not give.
    """
    rows = DifferentiableRows(bundle, of, wrt, given)

    def function(*args: Any, **named: Any) -> Any:
        tensors = [pt.as_tensor(value) for value in rows.bind(args, named)]
        single = [tensor.ndim == len(shape) for tensor, shape in zip(tensors, rows.shapes, strict=True)]
        if len(set(single)) != 1:
            raise InputError(f"{', '.join(rows.names)}: give all inputs as samples or all as batches")
        known = [
            tuple(size if size is not None else want for size, want in zip(t.type.shape, _wanted(t, shape)))
            for t, shape in zip(tensors, rows.shapes, strict=True)
        ]
        rows.batch_of(known)
        for name, tensor in zip(rows.names, tensors, strict=True):
            rows.require_held(name, tensor.dtype)
        count = 1 if single[0] else tensors[0].shape[0]
        sizes = [int(np.prod(shape)) for shape in rows.shapes]
        parts = [t.astype(str(rows.dtype)).reshape((count, size)) for t, size in zip(tensors, sizes, strict=True)]
        value = _OfRows(rows, "value")(pt.concatenate(parts, axis=1))
        return value.reshape(rows.out_shape if single[0] else (count, *rows.out_shape))

    return function


def _wanted(tensor: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """What stands for sizes that are known only when the graph runs; as many rows in every input."""
    return shape if tensor.ndim == len(shape) else (-1, *shape)


_ARITY = {"value": 1, "vjp": 2, "jvp": 2, "hvp": 3}  # the points and the seeds


class _OfRows(Op):  # type: ignore[misc]  # PyTensor may not be installed where types are checked
    """The value ``(N, m)`` of points ``(N, n)``, or a product with seeds ``(N, K, ...)`` in which it is linear."""

    __props__ = ("rows", "kind")

    def __init__(self, rows: DifferentiableRows, kind: str) -> None:
        self.rows, self.kind = rows, kind

    def make_node(self, *inputs: Any) -> Any:
        tensors = [pt.as_tensor(value) for value in inputs]
        size = self.rows.n if self.kind in ("vjp", "hvp") else self.rows.m
        shape = (None, size) if self.kind == "value" else (None, None, size)
        return Apply(self, tensors, [pt.tensor(dtype=str(self.rows.dtype), shape=shape)])

    def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
        arrays = [np.ascontiguousarray(array, self.rows.dtype) for array in inputs[: _ARITY[self.kind]]]
        if self.kind == "value":
            outputs[0][0] = self.rows.value(arrays[0], expects_derivative=True)
        else:
            outputs[0][0] = getattr(self.rows, self.kind)(*arrays)

    def infer_shape(self, fgraph: Any, node: Any, shapes: Any) -> Any:
        return [(*shapes[_ARITY[self.kind] - 1][:-1], node.outputs[0].type.shape[-1])]

    def connection_pattern(self, node: Any) -> list[list[bool]]:
        return [[place < _ARITY[self.kind]] for place in range(len(node.inputs))]

    def L_op(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        """What a cotangent gives to the points and to each seed."""
        (ct,) = cotangents
        x, *seeds = inputs
        if self.kind == "value":
            # The value goes in as well: computed first, it leaves the Jacobian for the product.
            return [self._product("vjp", x, ct[:, None], *outputs)[:, 0]]
        if self.kind == "vjp":
            products = [self._product("hvp", x, seeds[0], ct).sum(1), self._product("jvp", x, ct)]
            return products + [DisconnectedType()() for _ in seeds[1:]]
        if self.kind == "jvp":
            return [self._product("hvp", x, ct, *seeds).sum(1), self._product("vjp", x, ct)]
        raise NotExportedError(f"{self.rows.of}: a third derivative was requested; a bundle provides the first two")

    def _product(self, kind: str, *tensors: Any) -> Any:
        self.rows.require(2 if kind == "hvp" else 1)
        return _OfRows(self.rows, kind)(*tensors)
