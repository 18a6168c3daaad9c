"""Evaluates a node with NumPy when its inputs are known: small constants, and sizes that came from shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback_export.graph.dims import Dim, never_negative
from pullback_export.graph.operators import LARGEST_CONSTANT, REARRANGING
from pullback_export.graph.size_arithmetic import maximum, minimum, product, truncated
from pullback_export.graph.values import Array, Operands

if TYPE_CHECKING:
    from pullback_export.graph.values import Value


def _axes(args: Sequence[Any], attrs: dict[str, Any]) -> tuple[int, ...] | None:
    axes = args[1] if len(args) > 1 and args[1] is not None else attrs.get("axes")
    return None if axes is None else tuple(int(axis) for axis in np.asarray(axes).ravel())


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
        axes = _axes(args, attrs)
        if axes == () or (axes is None and attrs.get("noop_with_empty_axes")):
            return args[0]
        return function(args[0], axis=axes, keepdims=bool(attrs.get("keepdims", 1)))

    return run


def _unsqueeze(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    axes = _axes(args, attrs)
    assert axes is not None
    rank = args[0].ndim + len(axes)
    result = args[0]
    for axis in sorted(a % rank for a in axes):
        result = np.expand_dims(result, axis)
    return result


def _slice(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    data, starts, ends = args[0], args[1], args[2]
    axes = args[3] if len(args) > 3 and args[3] is not None else range(len(starts))
    steps = args[4] if len(args) > 4 and args[4] is not None else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = data.shape[int(axis)]
        stop: int | None = int(end)
        if step < 0 and (int(end) < -size):
            stop = None
        index[int(axis)] = slice(int(start), stop, int(step))
    return data[tuple(index)]


def _div(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Integers are divided towards zero; by zero not at all."""
    left, right = args
    if left.dtype != object and left.dtype.kind not in "iu":
        return left / right
    if (right == 0).any():
        return None
    if left.dtype == object:
        return np.frompyfunc(truncated, 2, 1)(left, right)
    quotient = left // right
    return quotient + ((quotient < 0) & (quotient * right != left)).astype(left.dtype)


def _mod(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The remainder with the sign of the divisor, with ``fmod`` that of what is divided."""
    left, right = args
    if left.dtype.kind in "Oiu" and (right == 0).any():
        return None
    if not attrs.get("fmod"):
        return np.mod(left, right)
    if left.dtype != object:
        return np.fmod(left, right)
    alike = all(never_negative(size) for size in (*left.flat, *right.flat))
    return np.mod(left, right) if alike else None


def _gather(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    return np.take(args[0], np.asarray(args[1]).astype(np.int64), axis=attrs.get("axis", 0))


def _reshape(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    copies = not attrs.get("allowzero")
    target = [args[0].shape[i] if size == 0 and copies else int(size) for i, size in enumerate(args[1])]
    return args[0].reshape(target)


def _range(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    return np.arange(args[0].item(), args[1].item(), args[2].item()).astype(args[0].dtype)


def _numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda args, attrs: function(*args)


_FOLDS: dict[str, Callable[[Sequence[Any], dict[str, Any]], Any]] = {
    "Add": _numpy(np.add),
    "Sub": _numpy(np.subtract),
    "Mul": _numpy(np.multiply),
    "Div": _div,
    "Neg": _numpy(np.negative),
    "Abs": _numpy(np.abs),
    "Sqrt": _numpy(np.sqrt),
    "Reciprocal": _numpy(lambda x: (1 / x).astype(x.dtype)),
    "Exp": _numpy(np.exp),
    "Log": _numpy(np.log),
    "Floor": _numpy(np.floor),
    "Ceil": _numpy(np.ceil),
    "Sign": _numpy(np.sign),
    "Pow": _numpy(lambda x, y: np.power(x, y).astype(x.dtype)),
    "Max": lambda args, attrs: _chain(np.maximum, args),
    "Min": lambda args, attrs: _chain(np.minimum, args),
    "Mod": _mod,
    "Equal": _numpy(np.equal),
    "Less": _numpy(np.less),
    "LessOrEqual": _numpy(np.less_equal),
    "Greater": _numpy(np.greater),
    "GreaterOrEqual": _numpy(np.greater_equal),
    "And": _numpy(np.logical_and),
    "Or": _numpy(np.logical_or),
    "Not": _numpy(np.logical_not),
    "Where": _numpy(np.where),
    "Concat": lambda args, attrs: np.concatenate(args, axis=attrs["axis"]),
    "Gather": _gather,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": lambda args, attrs: np.squeeze(args[0], axis=_axes(args, attrs)),
    "Reshape": _reshape,
    "Transpose": lambda args, attrs: np.transpose(args[0], attrs.get("perm")),
    "Expand": _numpy(
        lambda x, shape: (
            x * np.ones(tuple(int(s) for s in shape), x.dtype)
            if x.dtype not in (bool, object)
            else np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(s) for s in shape)))
        )
    ),
    "StringConcat": _numpy(np.add),
    "Tile": _numpy(lambda x, repeats: np.tile(x, [int(r) for r in repeats])),
    "Range": _range,
    "ReduceSum": _reduce(np.sum),
    "ReduceProd": _reduce(np.prod),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "CumSum": lambda args, attrs: (
        None
        if attrs.get("exclusive") or attrs.get("reverse")
        else np.cumsum(args[0], axis=int(args[1]), dtype=args[0].dtype)
    ),
    "Pad": lambda args, attrs: _pad(args, attrs),
    "MatMul": _numpy(np.matmul),
    "Gemm": lambda args, attrs: _gemm(args, attrs),
}
# Folds that mean the same for Python ints and free sizes in an object array.
_SIZE_OPS = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Mod",
    "Neg",
    "Concat",
    "Gather",
    "Slice",
    "Unsqueeze",
    "Squeeze",
    "Reshape",
    "Transpose",
    "Identity",
}


def _pad(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    if attrs.get("mode", "constant") != "constant" or len(args) > 3:
        return None
    rank, pads = args[0].ndim, [int(size) for size in args[1]]
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        return None
    fill = args[2].item() if len(args) > 2 and args[2] is not None else 0
    return np.pad(args[0], list(zip(pads[:rank], pads[rank:], strict=True)), constant_values=fill)


def _gemm(args: Sequence[Any], attrs: dict[str, Any]) -> Any:
    if len(args) > 2 or attrs.get("alpha", 1.0) != 1.0:
        return None
    left = args[0].T if attrs.get("transA") else args[0]
    return left @ (args[1].T if attrs.get("transB") else args[1])


def _chain(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    result = args[0]
    for item in args[1:]:
        result = function(result, item)
    return result


def fill_of(op_type: str, operands: Operands) -> float | None:
    """The number that the result repeats, if it is only a rearrangement of such a tensor."""
    if op_type in REARRANGING and operands and operands[0] is not None:
        return operands[0].fill
    return None


def fold(op_type: str, arrays: Sequence[Array | None], attributes: dict[str, Any]) -> Array | None:
    """The result as an array, or None when the node is better left as it is."""
    if op_type == "Cast":
        assert arrays[0] is not None
        return arrays[0].astype(attributes["to"]) if arrays[0].size <= LARGEST_CONSTANT else None
    function = _FOLDS.get(op_type)
    if function is None or any(array is not None and array.size > LARGEST_CONSTANT for array in arrays):
        return None
    if op_type in ("Expand", "Tile"):
        size = np.prod([float(s) for s in arrays[1]]) if arrays[1] is not None else 0
        if size > LARGEST_CONSTANT or (arrays[0] is not None and size * arrays[0].size > LARGEST_CONSTANT):
            return None
    if op_type == "Range" and _range_length(arrays) > LARGEST_CONSTANT:
        return None
    with np.errstate(all="ignore"):
        result = function(arrays, attributes)
    if result is None:
        return None
    result = np.asarray(result)
    first = next(array for array in arrays if array is not None)
    if result.dtype.kind != "b" and op_type != "Where":
        result = result.astype(first.dtype)
    return result if result.size <= LARGEST_CONSTANT else None


def _range_length(arrays: Sequence[Array | None]) -> float:
    start, stop, step = (float(array) for array in arrays if array is not None)
    return abs((stop - start) / step) if step else 0.0


def fold_sizes(op_type: str, operands: Sequence[Value | None], attributes: dict[str, Any]) -> Any:
    """``(contents, dtype)`` when the result is an integer tensor made of sizes, else None."""
    if op_type == "Shape":
        value = operands[0]
        if value is None or value.shape is None:
            return None
        sizes = value.shape[attributes.get("start", 0) : attributes.get("end", len(value.shape))]
        return _objects(sizes), np.dtype(np.int64)
    if op_type == "Size" and operands[0] is not None and operands[0].shape is not None:
        return _objects(product(operands[0].shape)), np.dtype(np.int64)
    known = [value.sizes if value is not None else None for value in operands]
    if not known or known[0] is None or operands[0] is None:
        return None
    if op_type == "Cast":
        dtype = np.dtype(attributes["to"])  # a narrower integer could wrap round
        return (known[0], dtype) if dtype in (np.int32, np.int64) else None
    if any(sizes is None and value is not None for sizes, value in zip(known, operands, strict=True)):
        return None
    if op_type in ("Max", "Min"):
        pick = np.frompyfunc(maximum if op_type == "Max" else minimum, 2, 1)
        return _as_array(_chain(pick, known)), operands[0].dtype
    if op_type == "ReduceProd":
        return _reduce_product(known[0], _axes(known, attributes), attributes), operands[0].dtype
    if op_type not in _SIZE_OPS:
        return None
    if op_type in ("Gather", "Slice", "Unsqueeze", "Squeeze", "Reshape") and not _plain(known[1:]):
        return None
    result = known[0] if op_type == "Identity" else _FOLDS[op_type](known, attributes)
    return (_as_array(result), operands[0].dtype) if result is not None else None


def _reduce_product(sizes: Array, axes: tuple[int, ...] | None, attributes: dict[str, Any]) -> Array:
    keep = bool(attributes.get("keepdims", 1))
    if axes == ():
        return sizes
    if sizes.ndim > 1:
        return _as_array(np.prod(sizes, axis=axes, keepdims=keep))
    total = product(sizes.ravel())
    return _objects((total,)) if keep and sizes.ndim else _objects(total)


def _plain(arrays: Sequence[Any]) -> bool:
    return all(array is None or all(isinstance(item, int) for item in array.flat) for array in arrays)


def _objects(sizes: Any) -> Array:
    if isinstance(sizes, int | Dim):
        scalar = np.empty((), object)
        scalar[()] = sizes
        return scalar
    vector = np.empty(len(sizes), object)
    vector[:] = sizes
    return vector


def _as_array(result: Any) -> Array:
    return result if isinstance(result, np.ndarray) else _objects(result)
