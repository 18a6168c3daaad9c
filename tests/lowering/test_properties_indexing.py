"""Slices, gathering and scattering with drawn indices, strides, axes and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.lowering.case import Arg
from tests.lowering.properties import DTYPES, EXAMPLES, SIZES, Example, agrees_with_tensorflow, inputs, shapes

POSITIVE = st.sampled_from([1, 1, 2, 3, 4, 5])


def indices(draw: st.DrawFn, shape: tuple[int, ...], size: int) -> Arg:
    """Indices below ``size`` as an input."""
    return draw(
        inputs(
            shape,
            dtype=draw(st.sampled_from(["int32", "int64"])),
            values=lambda rng, dims: rng.integers(0, max(size, 1), dims),
        )
    )


def one_index(draw: st.DrawFn, size: int) -> Any:
    """A number or a slice with any signs, in and out of range."""
    edge = st.none() | st.integers(-size - 2, size + 2)
    if size and not draw(st.integers(0, 3)):
        return draw(st.integers(-size, size - 1))
    return slice(draw(edge), draw(edge), draw(st.sampled_from([None, 1, 2, 3, -1, -2, -3])))


@st.composite
def indexed(draw: st.DrawFn) -> Example:
    """A Python index expression."""
    shape = draw(shapes(1, 4))
    items = [one_index(draw, size) for size in shape]
    if draw(st.booleans()):
        start = draw(st.integers(0, len(items)))
        items[start : draw(st.integers(start, len(items)))] = [...]
    elif draw(st.booleans()):
        items = items[: draw(st.integers(0, len(items)))]
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    index = tuple(items) or (slice(None),)
    return Example(f"x[{index}]", lambda x: x[index], (draw(inputs(shape)),), draw(DTYPES))


@st.composite
def sliced_by_data(draw: st.DrawFn) -> Example:
    """Begin and end come as inputs; the strides are fixed."""
    shape = draw(shapes(1, 3, POSITIVE))
    rank = len(shape)
    steps = [draw(st.sampled_from([1, 1, 2, -1, -2])) for _ in shape]
    masks = {f"{name}_mask": draw(st.integers(0, 2**rank - 1)) for name in ("begin", "end")}
    edges = [Arg((rank,), _within(shape, draw(st.integers(0, 999))), "int32", free=()) for _ in range(2)]
    return Example(
        f"strided_slice by {steps} {masks}",
        lambda x, begin, end: tf.strided_slice(x, begin, end, steps, **masks),
        (draw(inputs(shape)), *edges),
        draw(DTYPES),
    )


def _within(shape: tuple[int, ...], seed: int) -> Any:
    values = np.random.default_rng(seed).integers([-size for size in shape], [size + 1 for size in shape])
    return lambda rng, dims: values


@st.composite
def sliced(draw: st.DrawFn) -> Example:
    """``tf.slice`` with sizes, -1 for the rest; begin may be an input."""
    shape = draw(shapes(1, 4))
    begin = [draw(st.integers(0, size)) for size in shape]
    counts = [draw(st.sampled_from([-1, *range(size - at + 1)])) for size, at in zip(shape, begin, strict=True)]
    x, dtype = draw(inputs(shape)), draw(DTYPES)
    if draw(st.booleans()):
        start = Arg((len(shape),), lambda rng, dims: np.array(begin), "int32", free=())
        return Example(f"slice [begin {begin}] {counts}", lambda x, at: tf.slice(x, at, counts), (x, start), dtype)
    return Example(f"slice {begin} {counts}", lambda x: tf.slice(x, begin, counts), (x,), dtype)


@st.composite
def rearranged(draw: st.DrawFn) -> Example:
    """Reversals, rolls, splits, concatenations and stacks."""
    shape, dtype = draw(shapes(1, 4)), draw(DTYPES)
    rank = len(shape)
    axis = draw(st.integers(-rank, rank - 1))
    axes = draw(st.lists(st.integers(0, rank - 1), unique=True, max_size=rank))
    shift = draw(st.integers(-9, 9))
    parts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    other = tuple(draw(SIZES) if at == axis % rank else size for at, size in enumerate(shape))
    whole = tuple(sum(parts) if at == axis % rank else size for at, size in enumerate(shape))
    x = draw(inputs(shape))
    return draw(
        st.sampled_from(
            [
                Example(f"reverse {axes}", lambda x: tf.reverse(x, axes), (x,), dtype),
                Example(f"roll {shift} {axis}", lambda x: tf.roll(x, shift, axis), (x,), dtype),
                Example(
                    f"split {parts} {axis}",
                    lambda x: tf.split(x, parts, axis),
                    (Arg(whole, x.draw, free=tuple(at for at in x.free if at != axis % rank)),),
                    dtype,
                ),
                Example(
                    f"concat {axis}",
                    lambda x, y: tf.concat([x, y, x], axis),
                    (x, Arg(other, x.draw, free=x.free)),
                    dtype,
                ),
                Example(f"stack {axis}", lambda x: tf.stack([x, x * x], axis), (x,), dtype),
                Example(f"unstack {axis}", lambda x: tf.unstack(x, shape[axis], axis), (x,), dtype),
            ]
        )
    )


@st.composite
def gathered(draw: st.DrawFn) -> Example:
    """``tf.gather`` along any axis, with batches."""
    shape = draw(shapes(1, 4, POSITIVE))
    axis = draw(st.integers(0, len(shape) - 1))
    batch = draw(st.integers(0, axis))
    places = indices(draw, (*shape[:batch], *draw(shapes(0, 2))), shape[axis])
    return Example(
        f"gather axis {axis} batch_dims {batch}",
        lambda x, index: tf.gather(x, index, axis=axis, batch_dims=batch),
        (draw(inputs(shape)), places),
        draw(DTYPES),
    )


@st.composite
def gathered_nd(draw: st.DrawFn) -> Example:
    shape = draw(shapes(1, 4, POSITIVE))
    batch = draw(st.integers(0, len(shape) - 1))
    depth = draw(st.integers(0, len(shape) - batch))
    least = min(shape[batch : batch + depth], default=1)
    places = indices(draw, (*shape[:batch], *draw(shapes(0, 2)), depth), least)
    places = Arg(places.shape, places.draw, places.dtype, tuple(a for a in places.free if a < len(places.shape) - 1))
    return Example(
        f"gather_nd batch_dims {batch}",
        lambda x, index: tf.gather_nd(x, index, batch_dims=batch),
        (draw(inputs(shape)), places),
        draw(DTYPES),
    )


@st.composite
def scattered(draw: st.DrawFn) -> Example:
    """Updates at indices that repeat (not where the last one would win)."""
    shape, dtype = draw(shapes(1, 4, POSITIVE)), draw(DTYPES)
    depth = draw(st.integers(1, len(shape)))
    heads = draw(shapes(1, 2))
    kind = draw(st.sampled_from(["nd", "add", "sub", "max", "min", "update"]))
    count, spots = int(np.prod(heads)), int(np.prod(shape[:depth]))
    distinct = (kind in ("update", "max", "min") and draw(st.booleans())) or kind == "update"
    if distinct and count > spots:
        heads, count = (min(spots, 3),), min(spots, 3)
    seed = draw(st.integers(0, 999))

    def flat_places(rng: Any, dims: Any) -> Any:
        chosen = np.random.default_rng(seed)
        flat = chosen.permutation(spots)[:count] if distinct else chosen.integers(0, spots, count)
        return np.stack(np.unravel_index(flat, shape[:depth]), axis=-1).reshape(dims)

    index = draw(inputs((*heads, depth), range(len(heads)), dtype="int32", values=flat_places))
    updates = draw(inputs((*heads, *shape[depth:])))
    text = f"scatter {kind} {shape} seed {seed}"
    if kind == "nd":
        return Example(text, lambda i, u: tf.scatter_nd(i, u, shape), (index, updates), dtype)
    function = getattr(tf, f"tensor_scatter_nd_{kind}")
    return Example(text, lambda x, i, u: function(x, i, u), (draw(inputs(shape)), index, updates), dtype)


@st.composite
def segments(draw: st.DrawFn) -> Example:
    """Segment reductions, sorted or not, negative ids ignored."""
    kind, ordered = draw(st.sampled_from(["sum", "prod", "max", "min", "mean"])), draw(st.booleans())
    shape, count = draw(shapes(1, 3)), draw(st.integers(1, 4))
    heads = shape[:1] if ordered else shape[: draw(st.integers(1, len(shape)))]
    seed = draw(st.integers(0, 999))

    def ids_of(rng: Any, dims: Any) -> Any:
        drawn = np.random.default_rng(seed).integers(0 if ordered else -1, count, dims)
        return np.sort(drawn) if ordered else drawn

    ids = draw(inputs(heads, dtype="int32", values=ids_of))
    x, dtype = draw(inputs(shape)), draw(DTYPES)
    if ordered:
        return Example(f"segment_{kind} {seed}", getattr(tf.math, f"segment_{kind}"), (x, ids), dtype)
    function = getattr(tf.math, f"unsorted_segment_{kind}")
    return Example(f"unsorted_segment_{kind} {count} {seed}", lambda x, i: function(x, i, count), (x, ids), dtype)


@EXAMPLES
def test_slicing(examples: int) -> None:
    agrees_with_tensorflow(indexed() | indexed() | sliced() | sliced_by_data() | rearranged(), examples)


@EXAMPLES
def test_gather_and_scatter(examples: int) -> None:
    agrees_with_tensorflow(gathered() | gathered_nd() | scattered() | segments(), examples)
