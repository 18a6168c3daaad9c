"""Reductions, padding, products and broadcasting with drawn axes, modes and shapes."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.lowering.case import Arg
from tests.lowering.properties import DTYPES, EXAMPLES, SIZES, Example, agrees_with_tensorflow, inputs, shapes

REDUCTIONS = {
    "sum": tf.reduce_sum,
    "mean": tf.reduce_mean,
    "max": tf.reduce_max,
    "min": tf.reduce_min,
    "prod": tf.reduce_prod,
    "logsumexp": tf.reduce_logsumexp,
    "variance": tf.math.reduce_variance,
    "norm": tf.math.reduce_euclidean_norm,
}


def spread(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to ``shape``: axes of size 1, leading axes omitted."""
    kept = tuple(1 if draw(st.integers(0, 2)) == 0 else size for size in shape)
    return kept[draw(st.integers(0, len(kept))) :] if draw(st.booleans()) else kept


@st.composite
def reductions(draw: st.DrawFn) -> Example:
    shape, kind = draw(shapes(0, 4)), draw(st.sampled_from(sorted(REDUCTIONS)))
    rank = len(shape)
    axes: Any = draw(st.none() | st.lists(st.integers(0, rank - 1), unique=True) if rank else st.none())
    if axes is not None:
        axes = [axis - rank if draw(st.booleans()) else axis for axis in axes]
        axes = axes[0] if len(axes) == 1 and draw(st.booleans()) else axes
    keepdims = draw(st.booleans())
    return Example(
        f"reduce_{kind} {axes} keepdims {keepdims}",
        lambda x: REDUCTIONS[kind](x, axes, keepdims),
        (draw(inputs(shape)),),
        draw(DTYPES),
    )


@st.composite
def along_an_axis(draw: st.DrawFn) -> Example:
    """Positions of extrema, running sums and products, sorting and the largest elements."""
    shape, dtype = draw(shapes(1, 4)), draw(DTYPES)
    axis, flags = draw(st.integers(-len(shape), len(shape) - 1)), (draw(st.booleans()), draw(st.booleans()))
    x, k = draw(inputs(shape)), draw(st.integers(0, shape[-1]))
    direction = draw(st.sampled_from(["ASCENDING", "DESCENDING"]))
    return draw(
        st.sampled_from(
            [
                Example(f"argmax {axis}", lambda x: tf.argmax(x, axis), (x,), dtype),
                Example(f"argmin {axis}", lambda x: tf.argmin(x, axis), (x,), dtype),
                Example(f"cumsum {axis} {flags}", lambda x: tf.cumsum(x, axis, *flags), (x,), dtype),
                Example(f"cumprod {axis} {flags}", lambda x: tf.math.cumprod(x, axis, *flags), (x,), dtype),
                Example(f"sort {axis} {direction}", lambda x: tf.sort(x, axis, direction), (x,), dtype),
                Example(f"argsort {axis}", lambda x: tf.argsort(x, axis, stable=True), (x,), dtype),
                Example(f"top_k {k}", lambda x: tf.math.top_k(x, k), (x,), dtype),
            ]
        )
    )


@st.composite
def pads(draw: st.DrawFn) -> Example:
    """Every mode; the widths of the constant mode may be an input."""
    shape, mode = draw(shapes(1, 4)), draw(st.sampled_from(["CONSTANT", "REFLECT", "SYMMETRIC"]))
    widest = {"CONSTANT": 4, "REFLECT": -1, "SYMMETRIC": 0}[mode]
    highs = [widest if mode == "CONSTANT" else max(size + widest, 0) for size in shape]
    pairs = [[draw(st.integers(0, high)), draw(st.integers(0, high))] for high in highs]
    number, x, dtype = draw(st.sampled_from([0, 0, 2.5])), draw(inputs(shape)), draw(DTYPES)
    text = f"pad {pairs} {mode} {number}"
    if mode == "CONSTANT" and draw(st.booleans()):
        widths = Arg((len(shape), 2), lambda rng, dims: np.array(pairs), "int32", free=())
        return Example(f"{text} by an input", lambda x, p: tf.pad(x, p, mode, number), (x, widths), dtype)
    return Example(text, lambda x: tf.pad(x, pairs, mode, constant_values=number), (x,), dtype)


@st.composite
def reshaped(draw: st.DrawFn) -> Example:
    """Tiles, repeats, broadcasts and permutations."""
    shape, dtype = draw(shapes(1, 4)), draw(DTYPES)
    times = [draw(st.integers(0, 3)) for _ in shape]
    axis, perm = draw(st.integers(0, len(shape) - 1)), draw(st.permutations(range(len(shape))))
    target, x = (*draw(shapes(0, 1)), *shape), draw(inputs(shape))
    small = draw(inputs(spread(draw, shape)))
    return draw(
        st.sampled_from(
            [
                Example(f"tile {times}", lambda x: tf.tile(x, times), (x,), dtype),
                Example(f"repeat {axis}", lambda x: tf.repeat(x, 2, axis), (x,), dtype),
                Example(f"broadcast_to {target}", lambda x: tf.broadcast_to(x, target), (small,), dtype),
                Example(f"transpose {perm}", lambda x: tf.transpose(x, perm), (x,), dtype),
                Example("flat", lambda x: tf.reshape(x, [-1]), (x,), dtype),
            ]
        )
    )


@st.composite
def matrix_products(draw: st.DrawFn) -> Example:
    """Stacks of matrices that broadcast, each transposed or not."""
    rows, inner, columns = draw(SIZES), draw(SIZES), draw(SIZES)
    left, right = draw(st.booleans()), draw(st.booleans())
    stack = draw(shapes(0, 2))
    a = (*spread(draw, stack), *((inner, rows) if left else (rows, inner)))
    b = (*spread(draw, stack), *((columns, inner) if right else (inner, columns)))
    return Example(
        f"matmul transposed {left} {right}",
        lambda a, b: tf.matmul(a, b, transpose_a=left, transpose_b=right),
        (draw(inputs(a)), draw(inputs(b))),
        draw(DTYPES),
    )


@st.composite
def einsums(draw: st.DrawFn) -> Example:
    """One to three operands, labels that are summed, shared or only in one operand, and an ellipsis that broadcasts."""
    sizes = {label: draw(SIZES) for label in string.ascii_lowercase[:5]}
    count = draw(st.integers(1, 3))
    terms = [draw(st.lists(st.sampled_from(sorted(sizes)), max_size=3, unique=True)) for _ in range(count)]
    used = sorted({label for term in terms for label in term})
    result = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
    stack = draw(shapes(1, 2)) if draw(st.booleans()) else None
    dots = "" if stack is None else "..."
    places = [draw(st.integers(0, len(term))) for term in terms]
    equation = ",".join("".join([*t[:at], dots, *t[at:]]) for t, at in zip(terms, places, strict=True))
    equation += "->" + dots + "".join(result)
    args = []
    for term, at in zip(terms, places, strict=True):
        middle = () if stack is None else spread(draw, stack)
        shape = (*[sizes[label] for label in term[:at]], *middle, *[sizes[label] for label in term[at:]])
        args.append(draw(inputs(shape)))
    return Example(f"einsum {equation}", lambda *xs: tf.einsum(equation, *xs), tuple(args), draw(DTYPES))


BINARY = {
    "add": tf.add,
    "subtract": tf.subtract,
    "multiply": tf.multiply,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "divide_no_nan": tf.math.divide_no_nan,
    "squared_difference": tf.math.squared_difference,
    "where": lambda x, y: tf.where(x > y, x * 2, y),
    "floormod": lambda x, y: tf.math.floormod(x, tf.abs(y) + 2),
    "atan2": lambda x, y: tf.atan2(x + 0.5, y),
}


@st.composite
def broadcasts(draw: st.DrawFn) -> Example:
    shape, kind = draw(shapes(0, 4)), draw(st.sampled_from(sorted(BINARY)))
    operands = (draw(inputs(spread(draw, shape))), draw(inputs(spread(draw, shape))))
    return Example(kind, BINARY[kind], operands, draw(DTYPES))


@EXAMPLES
def test_reduction(examples: int) -> None:
    agrees_with_tensorflow(reductions() | along_an_axis(), examples)


@EXAMPLES
def test_pad(examples: int) -> None:
    agrees_with_tensorflow(pads() | pads() | reshaped(), examples)


@EXAMPLES
def test_matmul_and_einsum(examples: int) -> None:
    agrees_with_tensorflow(matrix_products() | einsums(), examples)


@EXAMPLES
def test_broadcasting(examples: int) -> None:
    agrees_with_tensorflow(broadcasts(), examples)
