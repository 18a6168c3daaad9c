"""What the matrix families share: batches of matrices, real or complex, and loops over their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.complex_value import ComplexValue, each, real_of

# Up to so many steps a loop is written out: a pass of ``Loop`` costs more than a few small nodes.
UNROLLED = 6


def transpose_matrix(op: OpContext, x: Any) -> Any:
    """The last two axes swapped."""
    axes = list(range(real_of(x).rank))
    return each(lambda part: op.transpose(part, [*axes[:-2], axes[-1], axes[-2]]), x)


def adjoint(op: OpContext, x: Any) -> Any:
    """The conjugate transpose."""
    return transpose_matrix(op, conj(x))


def conj(x: Any) -> Any:
    return x.conj() if isinstance(x, ComplexValue) else x


def absolute(op: OpContext, x: Any) -> Value:
    """``|x|``; complex: scaled by the larger part, so that squares do not overflow."""
    if not isinstance(x, ComplexValue):
        return op.Abs(x)
    a, b = op.Abs(x.real), op.Abs(x.imag)
    large = op.Max(a, b)
    ratio = op.Min(a, b) / op.Where(large.equals(0), 1, large)
    return large * op.Sqrt(1 + ratio * ratio)


def quotient(op: OpContext, x: Any, y: Any) -> Any:
    """``x / y`` of two real or two complex values, or of a complex value by a real one."""
    if not isinstance(y, ComplexValue):
        return each(lambda part: part / y, x)
    size = absolute(op, y)
    unit = each(lambda part: part / size, y)
    return each(lambda part: part / size, x * unit.conj())


def times(x: Any, factor: Value) -> Any:
    """``x`` times a real factor."""
    return each(lambda part: part * factor, x)


def as_batch(op: OpContext, x: Any) -> Any:
    """Matrices ``(..., m, n)`` as ``(batch, m, n)``."""
    dims = real_of(x).dims
    if len(dims) == 3:
        return x
    batch: Size = 1
    for size in dims[:-2]:
        batch = batch * size
    return each(lambda part: op.reshape(part, [batch, *dims[-2:]]), x)


def unbatch(op: OpContext, x: Any, like: Any) -> Any:
    """``(batch, ...)`` with the leading axes of the matrices ``like``."""
    leading = real_of(like).dims[:-2]
    if len(leading) == 1:
        return x
    return each(lambda part: op.reshape(part, [*leading, *part.dims[1:]]), x)


def unsqueeze(op: OpContext, x: Any, *axes: int) -> Any:
    return each(lambda part: op.Unsqueeze(part, op.const(list(axes), np.int64)), x)


def indices(op: OpContext, size: Size) -> Value:
    """``0, 1, ..., size - 1`` as int64."""
    if isinstance(size, int):
        return op.const(np.arange(size), np.int64)
    return op.Range(op.const(0, np.int64), scalar_size(op, size), op.const(1, np.int64))


def scalar_size(op: OpContext, size: Size) -> Value:
    """A size as an int64 scalar."""
    return op.graph.emit("Squeeze", [op.sizes([size]), op.const([0])])


def identity(op: OpContext, size: Size, dtype: Any) -> Value:
    """The identity matrix."""
    if isinstance(size, int) and size <= 64:
        return op.const(np.eye(size), dtype)
    index = indices(op, size)
    return op.cast(unsqueeze(op, index, 1).equals(unsqueeze(op, index, 0)), dtype)


def column(op: OpContext, x: Any, k: int | Value) -> Any:
    """``x[:, :, k]``."""
    return each(lambda part: op.Gather(part, as_index(op, k), axis=2), x)


def as_index(op: OpContext, k: int | Value) -> Value:
    return k if isinstance(k, Value) else op.const(k, np.int64)


def outer(op: OpContext, x: Any, y: Any) -> Any:
    """``x[:, :, None] * y[:, None, :]``."""
    return unsqueeze(op, x, 2) * unsqueeze(op, y, 1)


Step = Callable[[OpContext, Any, list[Any]], tuple[list[Any], list[Any]]]


def repeat(op: OpContext, count: Size | Value, state: Sequence[Any], step: Step) -> tuple[list[Any], list[Any]]:
    """``step`` for k = 0, 1, ..., count - 1: ``(op, k, state) -> (state, scans)``; returns the last state and the scans
    stacked along a new first axis. Values may be complex. Few steps are written out, more become a ``Loop``.
    """
    if isinstance(count, int) and 0 < count <= UNROLLED:
        current, rows = list(state), []
        for k in range(count):
            current, scans = step(op, k, current)
            rows.append(scans)
        return current, [_stack(op, list(column)) for column in zip(*rows, strict=True)]
    return _loop(op, count, list(state), step)


def _stack(op: OpContext, parts: list[Any]) -> Any:
    if isinstance(parts[0], ComplexValue):
        return ComplexValue(_stack(op, [part.real for part in parts]), _stack(op, [part.imag for part in parts]))
    return op.Concat(*[unsqueeze(op, part, 0) for part in parts], axis=0)


def _loop(
    op: OpContext, count: Size | Value, state: list[Any], step: Step, until: bool = False
) -> tuple[list[Any], list[Any]]:
    body = op.body(hoists=True)
    k = body.graph.input("k", np.dtype(np.int64), ())
    going = body.graph.input("going", np.dtype(bool), ())
    flat = _flatten(state)
    inner = [body.graph.input(f"state{i}", value.dtype, value.shape) for i, value in enumerate(flat)]
    new_state, scans = step(body, k, _unflatten(state, inner))
    if until:
        going, scans = scans[0], []
    results = [*_flatten(new_state), *_flatten(scans)]
    body.graph.outputs = [("going", going), *((f"result{i}", value) for i, value in enumerate(results))]
    trips = count if isinstance(count, Value) else scalar_size(op, count)
    outputs = op.graph.emit_many("Loop", [trips, op.const(True), *flat], {"body": body.graph}, len(results))
    for value, start in zip(outputs, flat, strict=False):
        value.refine(start.shape)
    for value, inside in zip(outputs[len(flat) :], results[len(flat) :], strict=True):
        if inside.shape is not None and not isinstance(count, Value):
            value.refine((count, *inside.shape))
    return _unflatten(state, outputs[: len(flat)]), _unflatten(scans, outputs[len(flat) :])


def repeat_while(op: OpContext, limit: Size | Value, state: Sequence[Any], step: Step) -> list[Any]:
    """Like :func:`repeat` as a ``Loop`` which ends as soon as the one scan of ``step``, a boolean, is false."""
    return _loop(op, limit, list(state), step, until=True)[0]


def _flatten(values: Sequence[Any]) -> list[Value]:
    flat: list[Value] = []
    for value in values:
        flat += [value.real, value.imag] if isinstance(value, ComplexValue) else [value]
    return flat


def _unflatten(like: Sequence[Any], flat: Sequence[Value]) -> list[Any]:
    rest = iter(flat)
    return [ComplexValue(next(rest), next(rest)) if isinstance(item, ComplexValue) else next(rest) for item in like]


def squared(op: OpContext, x: Any) -> Value:
    """``|x|**2``."""
    return x.real * x.real + x.imag * x.imag if isinstance(x, ComplexValue) else x * x


def where(op: OpContext, condition: Value, x: Any, y: Any) -> Any:
    """``Where`` in which either side may be complex."""
    if not isinstance(x, ComplexValue) and not isinstance(y, ComplexValue):
        return op.Where(condition, x, y)
    real = op.Where(condition, real_of(x), real_of(y))
    zero = op.const(0, real.dtype)
    imag = [item.imag if isinstance(item, ComplexValue) else zero for item in (x, y)]
    return ComplexValue(real, op.Where(condition, *imag))


def beside(op: OpContext, a: Any, b: Any) -> Any:
    """``[a, b]``: the columns of both matrices."""
    if isinstance(a, ComplexValue):
        return ComplexValue(op.Concat(a.real, b.real, axis=2), op.Concat(a.imag, b.imag, axis=2))
    return op.Concat(a, b, axis=2)
