"""Rows for what ``keras.ops`` does with arrays: shapes, indices, reductions, sorting, running sums, segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from tests.lowering.case import Arg, Case, fixed, integers, uniform

ROWS: dict[str, list[Case]] = {}
X = (3, 4)
TIES = fixed([[1.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0], [0.0, -0.0, -1.0, 5.0]])
HOLES = fixed([[1.0, np.nan, 3.0, 0.5], [2.0, -2.0, 1.5, 2.5], [np.nan, 0.25, -1.0, 5.0]])


def free(*shape: int) -> Arg:
    """Every axis free."""
    return Arg(shape, free=tuple(range(len(shape))))


def whole(*shape: int) -> Arg:
    """No axis free."""
    return Arg(shape, free=())


def index(values: Any, dtype: str = "int32") -> Arg:
    return fixed(values, dtype, ())


def row(name: str, function: Callable[..., Any], *inputs: Arg | tuple[int, ...], **case: Any) -> None:
    """A row for ``keras.ops.<name>``, which ``function`` calls."""
    rows = ROWS.setdefault(name, [])
    rows.append(Case(f"ops_{name}_{len(rows)}", (), function, inputs, **{"order": 2, **case}))


def constants(name: str, function: Callable[[], Any], **case: Any) -> None:
    """A function without float inputs: its result, and what it does to a product."""
    row(name, lambda x: ops.cast(ops.sum(function()), x.dtype) * x, X, **case)
    row(name, lambda x: [function(), x], X, order=0)


IN_FLOATX: dict[str, Any] = {
    "tolerance": {"float64": 1e-5},
    "reason": "Keras computes it in floatx, float32, whatever the dtype of the model",
}

# Shapes.
row("reshape", lambda x: ops.reshape(x, (-1, 2)) ** 2, (3, 4))
row("reshape", lambda x: ops.reshape(x, (-1, 2, 3)) ** 2, free(4, 3, 2))
row("ravel", lambda x: ops.ravel(x) ** 2, (3, 4))
row("expand_dims", lambda x: ops.expand_dims(x, (0, -1)) ** 2, X)
row("squeeze", lambda x: ops.squeeze(x, 1) ** 2, (3, 1, 4))
row("transpose", lambda x: ops.transpose(x, (0, 2, 1)) ** 2, (3, 2, 4))
row("transpose", lambda x: ops.transpose(x) ** 2, (3, 2, 4))
row("swapaxes", lambda x: ops.swapaxes(x, 1, -1) ** 2, (3, 2, 4))
row("moveaxis", lambda x: ops.moveaxis(x, (0, 1), (-1, -2)) ** 2, (3, 2, 4))
row("rearrange", lambda x: ops.rearrange(x, "b (h w) c -> b c h w", h=2) ** 2, (3, 4, 5))
row("broadcast_to", lambda x: ops.broadcast_to(x, (2, 3, 4)) ** 2, whole(3, 1))
row("tile", lambda x: ops.tile(x, (2, 1, 3)) ** 2, (3, 4))
row("repeat", lambda x: ops.repeat(x, 2, 1) ** 2, X)
row("repeat", lambda x: ops.repeat(x, [1, 0, 2, 3], axis=1) ** 2, X)
row("repeat", lambda x: ops.repeat(x, 3) ** 2, X)
row("shape", lambda x: x * ops.cast(ops.shape(x)[0], x.dtype), free(3, 4))
row("size", lambda x: x * ops.cast(ops.size(x), x.dtype), X)
row("ndim", lambda x: x * ops.ndim(x), X)
row("dtype", lambda x: ops.cast(x, ops.dtype(x)) ** 2, X)
row("meshgrid", lambda x, y: [a * b for a, b in [ops.meshgrid(x, y)]], whole(3), whole(4))
row("meshgrid", lambda x, y: ops.meshgrid(x, y, indexing="ij"), whole(3), whole(4))
row("view", lambda x: ops.view(x, x.dtype) ** 2, X, order=0)

# Joining and splitting.
row("concatenate", lambda x, y: ops.concatenate([x, y], 1) ** 2, (3, 4), (3, 2))
row("append", lambda x, y: ops.append(x, y, 1) ** 2, (3, 4), (3, 2))
row("append", lambda x, y: ops.append(x, y) ** 2, (3, 4), (3, 2))
row("stack", lambda x, y: ops.stack([x, y], -1) ** 2, X, X)
row("hstack", lambda x, y: ops.hstack([x, y]) ** 2, (3, 4), (3, 2))
row("vstack", lambda x, y: ops.vstack([x, y]) ** 2, X, X)
row("dstack", lambda x, y: ops.dstack([x, y]) ** 2, X, X)
row("unstack", lambda x: [item**2 for item in ops.unstack(x, axis=1)], X)
row("split", lambda x: [item**2 for item in ops.split(x, 2, 1)], X)
row("split", lambda x: [item**2 for item in ops.split(x, (1, 3), -1)], X)
row("array_split", lambda x: [item**2 for item in ops.array_split(x, 3, 1)], X)
row("hsplit", lambda x: [item**2 for item in ops.hsplit(x, 2)], X)
row("vsplit", lambda x: [item**2 for item in ops.vsplit(x, 2)], whole(4, 3))
row("dsplit", lambda x: [item**2 for item in ops.dsplit(x, 2)], (2, 3, 4))

# Order and reversal.
row("flip", lambda x: ops.flip(x, 1) * x, X)
row("flip", lambda x: ops.flip(x) * x, X)
row("fliplr", lambda x: ops.fliplr(x) * x, X)
row("flipud", lambda x: ops.flipud(x) * x, X)
row("rot90", lambda x: ops.rot90(x) ** 2, X)
row("rot90", lambda x: ops.rot90(x, k=-1, axes=(1, 2)) ** 2, (2, 3, 4))
row("roll", lambda x: ops.roll(x, 1, 1) * x, X)
row("roll", lambda x: ops.roll(x, -2) * x, free(3, 4))
row("sort", lambda x: ops.sort(x, 1) ** 2, X)
row("sort", lambda x: ops.sort(x, 0) * x, TIES, smooth=False)
row("argsort", lambda x: ops.argsort(x, 1), TIES, order=0)
row("argpartition", lambda x: ops.take_along_axis(x, ops.argpartition(x, 2, -1), -1)[:, 2] ** 2, X)
row("top_k", lambda x: list(ops.top_k(x, 2)), TIES, smooth=False)
row("top_k", lambda x: ops.top_k(x, 3)[0] ** 2, (2, 3, 5))
row("in_top_k", lambda x, t: ops.in_top_k(t, x, 2), TIES, index([0, 3, 1]), order=0, dtypes=("float32",))
row(
    "searchsorted",
    lambda x, v: [ops.searchsorted(x, v), ops.searchsorted(x, v, "right")],
    fixed([0.0, 1.0, 1.0, 2.0], None, ()),
    (5,),
    order=0,
)
row("digitize", lambda x: ops.digitize(x, np.array([-0.5, 0.0, 0.7])), TIES, order=0)
row("unique", lambda x: ops.unique(x), fixed([3.0, 1.0, 3.0, 2.0]), order=0)
row(
    "unique",
    lambda x: list(ops.unique(x, return_inverse=True, return_counts=True)),
    fixed([3.0, 1.0, 3.0, 2.0]),
    order=0,
)
row("nonzero", lambda x: ops.nonzero(x > 0), X, order=0)
row("count_nonzero", lambda x: ops.count_nonzero(x > 0, axis=1), X, order=0)
row("bincount", lambda x: ops.bincount(x, minlength=5), index([1, 2, 2, 7]), order=0)
row("bincount", lambda x, w: ops.bincount(x, weights=w, minlength=9), index([1, 2, 2, 7]), (4,), order=0)
row("histogram", lambda x: ops.histogram(x, bins=5, range=(-2.0, 2.0)), (20,), order=0)
row("unravel_index", lambda i: ops.unravel_index(i, (3, 4)), index([0, 7, 11]), order=0)

# Reductions.
for name in ("sum", "mean", "max", "min", "amax", "amin", "var", "std", "logsumexp", "median", "ptp"):
    function = getattr(ops, name)
    row(name, lambda x, f=function: f(x, axis=1) ** 2, X)
    row(name, lambda x, f=function: f(x, axis=(0, 2), keepdims=True) * x, free(3, 2, 4))
    row(name, lambda x, f=function: f(x) ** 2, X)
for name in ("max", "min", "amax", "amin", "median", "ptp"):
    row(name, lambda x, f=getattr(ops, name): f(x, axis=1) ** 2, TIES, smooth=False)
row("max", lambda x: ops.max(x, 1, initial=0.5) ** 2, X)
row("min", lambda x: ops.min(x, 1, initial=-0.5) ** 2, X)
row("std", lambda x: ops.std(x, axis=1), fixed([[2.0, 2.0], [1.0, 3.0]]), smooth=False)
row("prod", lambda x: ops.prod(x, 1), X)
row("prod", lambda x: ops.prod(x, axis=(0, 1)), whole(2, 3))
row("prod", lambda x: ops.prod(x, 1), fixed([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]]))
row("average", lambda x: ops.average(x, 1) ** 2, X)
row("average", lambda x, w: ops.average(x, 1, weights=w) ** 2, X, uniform(0.5, 2, 3, 4))
row("moments", lambda x: ops.moments(x, [1]), X)
row("all", lambda x: ops.all(x > -0.7, 1), X, order=0)
row("any", lambda x: ops.any(x > 0.7, 1), X, order=0)
row("argmax", lambda x: ops.argmax(x, 1), TIES, order=0)
row("argmin", lambda x: ops.argmin(x), TIES, order=0)
for name in ("nansum", "nanmean", "nanmax", "nanmin", "nanprod", "nanvar", "nanstd", "nancumsum", "nancumprod"):
    row(name, lambda x, f=getattr(ops, name): f(x, axis=1) ** 2, HOLES, order=1, smooth=False)
for name in ("nanargmax", "nanargmin"):
    row(name, lambda x, f=getattr(ops, name): f(x, axis=1), HOLES, order=0)
for method in ("linear", "lower", "higher", "nearest", "midpoint"):
    row("quantile", lambda x, m=method: ops.quantile(x, 0.3, axis=1, method=m) ** 2, X)
row("quantile", lambda x: ops.quantile(x, np.array([0.1, 0.5], "float32"), axis=1, keepdims=True), X, order=1)
row("percentile", lambda x: ops.percentile(x, 30.0, axis=1) ** 2, X)
# TensorFlow has no gradient of it.
row("slice_update", lambda x, part: ops.slice_update(x * 2, [1, 1], part), X, whole(2, 2), order=0)
# With an axis no function can trace them: Keras puts a tensor in a static shape.
row("nanmedian", lambda x: ops.nanmedian(x) ** 2, HOLES, order=1, smooth=False)
row("nanquantile", lambda x: ops.nanquantile(x, 0.3, keepdims=True) ** 2, HOLES, order=1, smooth=False)
row("nanpercentile", lambda x: ops.nanpercentile(x, 30.0) ** 2, HOLES, order=1, smooth=False)
row("cumsum", lambda x: ops.cumsum(x, 1) ** 2, X)
row("cumsum", lambda x: ops.cumsum(x) ** 2, free(3, 4))
row("cumprod", lambda x: ops.cumprod(x, 1), uniform(0.5, 2, 3, 4), order=1)
row("diff", lambda x: ops.diff(x, 2, 1) ** 2, (3, 5))
row("diff", lambda x: ops.diff(x) ** 2, free(3, 5))
row("trapezoid", lambda x: ops.trapezoid(x, dx=0.5, axis=1) ** 2, X)
row("trapezoid", lambda y, x: ops.trapezoid(y, x=x) ** 2, X, X)
row("normalize", lambda x: ops.normalize(x, 1), X)
row("normalize", lambda x: ops.normalize(x, -1, order=3), X, order=1)
row("normalize", lambda x: ops.normalize(x, -1), fixed([[0.0, 0.0], [3.0, 4.0]]), smooth=False)
row("cdist", lambda x, y: ops.cdist(x, y), X, whole(5, 4))
row("correlate", lambda x, y: ops.correlate(x, y, mode="same"), whole(6), whole(3))
row("correlate", lambda x, y: ops.correlate(x, y, mode="full"), whole(6), whole(3))
row("correlate", lambda x, y: ops.correlate(x, y, mode="valid"), whole(6), whole(3))
row("psnr", lambda x, y: ops.psnr(x, y, 5.0), X, X)

# Indices.
row("take", lambda x: ops.take(x, [[0, 2], [-1, 1]], axis=1) ** 2, X)
row("take", lambda x, i: ops.take(x, i, axis=0) ** 2, free(4, 3), index([[0, 3], [1, -1]]))
row("take", lambda x: ops.take(x, [0, 5, 2]) ** 2, whole(3, 4))
row("take_along_axis", lambda x, i: ops.take_along_axis(x, i, axis=1) ** 2, X, integers(0, 4, 3, 2))
row("take_along_axis", lambda x, i: ops.take_along_axis(x, i) ** 2, whole(3, 4), index([1, 1, 7]))
row("get_item", lambda x: ops.get_item(x, (slice(None), slice(1, None, 2))) ** 2, X)
row("slice", lambda x: ops.slice(x, (0, 1), (2, 2)) ** 2, whole(3, 4))
row("scatter", lambda x: ops.scatter([[1], [0], [1]], x, (4, 2)) ** 2, whole(3, 2))
row("scatter", lambda x, i: ops.scatter(i, x, (4, 2)) ** 2, whole(3, 2), index([[1], [0], [1]]))
for reduction in (None, "add", "max", "min"):  # Keras cannot trace "mul"
    row(
        "scatter_update",
        lambda x, u, r=reduction: ops.scatter_update(x, [[1], [0]], u, reduction=r) * 2.0,
        Arg((4, 3), free=(1,)),
        Arg((2, 3), free=(1,)),
        order=1,
    )
row("segment_sum", lambda x, i: ops.segment_sum(x, i, 4) ** 2, whole(5, 2), index([0, 0, 2, 3, 3]))
row("segment_max", lambda x, i: ops.segment_max(x, i, 3) * 2.0, whole(5, 2), index([0, 0, 2, 1, 2]), order=1)
row("segment_min", lambda x, i: ops.segment_min(x, i, 3) * 2.0, whole(5, 2), index([0, 0, 2, 1, 2]), order=1)
row("segment_prod", lambda x, i: ops.segment_prod(x, i, 3) * 2.0, whole(5, 2), index([0, 0, 2, 1, 2]), order=1)
row("one_hot", lambda x, i: ops.one_hot(i, 4, dtype=x.dtype) * x, X, index([1, 3, 0]))
row("multi_hot", lambda x, i: ops.multi_hot(i, 4, dtype=x.dtype) * x, X, index([[1, 3], [0, 0], [2, 1]]))

# Diagonals and matrices of a form.
row("diag", lambda x: ops.diag(x, 1) ** 2, whole(3))
row("diag", lambda x: ops.diag(x, -1) ** 2, whole(3, 4))
row("diagflat", lambda x: ops.diagflat(x, 1) ** 2, whole(3))
row("diagonal", lambda x: ops.diagonal(x, 1, 1, 2) ** 2, (2, 3, 4))
row("diagonal", lambda x: ops.diagonal(x) ** 2, whole(3, 4))
row("tril", lambda x: ops.tril(x, 1) ** 2, (2, 3, 4))
row("triu", lambda x: ops.triu(x, -1) ** 2, (2, 3, 4))
row("triu", lambda x: ops.triu(x) ** 2, (2, 3, 4))
row("vander", lambda x: ops.vander(x, 3), whole(4))
constants("tri", lambda: ops.tri(3, 4, 1))
constants("eye", lambda: ops.eye(3, 4, k=1))
constants("identity", lambda: ops.identity(3))

# Padding.
row("pad", lambda x: ops.pad(x, ((0, 0), (1, 2))) ** 2, X)
row("pad", lambda x: ops.pad(x, ((1, 0), (1, 2)), constant_values=0.5) ** 2, X)
for mode in ("reflect", "symmetric"):
    row("pad", lambda x, m=mode: ops.pad(x, ((0, 0), (2, 3)), mode=m) ** 2, X)
row("space_to_depth", lambda x: ops.space_to_depth(x, 2) ** 2, (2, 4, 6, 3))
row("depth_to_space", lambda x: ops.depth_to_space(x, 2) ** 2, (2, 2, 3, 8))

# Constants.
constants("arange", lambda: ops.arange(1, 9, 2))
constants("linspace", lambda: ops.linspace(0.0, 2.0, 5))
row("linspace", lambda x, y: ops.linspace(x, y, 4, axis=1) ** 2, X, X)
row("linspace", lambda x, y: ops.linspace(x, y, 4, endpoint=False) ** 2, X, X)
constants("logspace", lambda: ops.logspace(0.0, 2.0, 5))
constants("geomspace", lambda: ops.geomspace(1.0, 8.0, 4))
row("logspace", lambda x, y: ops.logspace(x, y, 4), whole(2), whole(2))
row("geomspace", lambda x, y: ops.geomspace(x, y, 4), uniform(1, 2, 2), uniform(3, 4, 2), smooth=False, **IN_FLOATX)
constants("full", lambda: ops.full((2, 3), 1.5))
constants("ones", lambda: ops.ones((2, 3)))
constants("zeros", lambda: ops.zeros((2, 3)))
constants("empty", lambda: ops.empty((2, 3)) * 0)
for name in ("hamming", "hanning"):
    constants(name, lambda f=getattr(ops, name): f(5))
constants("blackman", lambda: ops.blackman(5), **IN_FLOATX)
constants("kaiser", lambda: ops.kaiser(5, 2.0), **IN_FLOATX)
constants("array", lambda: ops.array([1.0, 2.0]))
constants("convert_to_tensor", lambda: ops.convert_to_tensor([1.0, 2.0]))
row("full_like", lambda x: ops.full_like(x, 2) * x, X)
row("ones_like", lambda x: ops.ones_like(x) * x, X)
row("zeros_like", lambda x: ops.zeros_like(x) + x, X)
row("empty_like", lambda x: ops.empty_like(x) * 0 + x, X)
row("is_tensor", lambda x: x * 2 if ops.is_tensor(x) else tf.zeros_like(x), X)
