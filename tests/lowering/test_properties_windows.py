"""Convolutions and pooling with drawn sizes, windows, strides, dilations, groups and paddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.lowering.case import Arg
from tests.lowering.properties import DTYPES, EXAMPLES, Example, agrees_with_tensorflow, inputs

BATCHES = st.sampled_from([0, 1, 2, 3])
LENGTHS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8])
PADDINGS = st.sampled_from(["SAME", "VALID"])


def per_axis(draw: st.DrawFn, rank: int, high: int) -> list[int]:
    return [draw(st.integers(1, high)) for _ in range(rank)]


def windows(draw: st.DrawFn, rank: int, explicit: bool) -> Any:
    """A padding: its name, or pairs for a 2-D op (none for the batch and the channels)."""
    if not explicit or draw(st.integers(0, 2)):
        return draw(PADDINGS)
    pairs = [[draw(st.integers(0, 3)), draw(st.integers(0, 3))] for _ in range(rank)]
    return [[0, 0], *pairs, [0, 0]]


def lengths(draw: st.DrawFn, taps: list[int], dilations: list[int], padding: Any) -> list[int]:
    """Sizes; without SAME at least one window fits (else TensorFlow's result is empty, or an error)."""
    reach = [(tap - 1) * dilation + 1 for tap, dilation in zip(taps, dilations, strict=True)]
    return [draw(LENGTHS) if padding == "SAME" else draw(st.integers(least, least + 5)) for least in reach]


def consistent(taps: list[int], strides: list[int]) -> list[int]:
    """Strides for 3-D windows that leave no gaps: TensorFlow's value and gradient disagree about wider ones."""
    return [min(stride, tap + 1) for tap, stride in zip(taps, strides, strict=True)] if len(taps) > 2 else strides


def of_kernel(function: Any, x: Arg, kernel: tuple[int, ...], draw: st.DrawFn, text: str) -> Example:
    """``function(x, kernel)``, the kernel an input with a gradient or a constant."""
    dtype = draw(DTYPES)
    text = f"{text} kernel {kernel}"
    if draw(st.booleans()):
        return Example(text, function, (x, Arg(kernel, x.draw, free=())), dtype)
    weights = np.random.default_rng(len(text)).integers(-3, 3, kernel, endpoint=True).astype(dtype)
    return Example(f"{text} constant", lambda x: function(x, tf.constant(weights)), (x,), dtype)


@st.composite
def convolutions(draw: st.DrawFn) -> Example:
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    taps, groups = per_axis(draw, rank, 4 if rank < 3 else 3), draw(st.sampled_from([1, 1, 2, 3])) if rank < 3 else 1
    strides, dilations = consistent(taps, per_axis(draw, rank, 3)), [1] * rank
    if rank < 3 and draw(st.booleans()):
        strides, dilations = [1] * rank, per_axis(draw, rank, 3)
    padding = windows(draw, rank, explicit=rank == 2)
    wide, out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 3))
    sizes = lengths(draw, taps, dilations, padding)
    x = draw(inputs((draw(BATCHES), *sizes, wide), range(rank + 1)))
    options = {"strides": strides, "padding": padding, "dilations": dilations}
    function = tf.nn.convolution
    if isinstance(padding, list):
        function = tf.nn.conv2d
    text = f"convolution {options} groups {groups}"
    return of_kernel(lambda x, k: function(x, k, **options), x, (*taps, wide // groups, out), draw, text)


@st.composite
def depthwise(draw: st.DrawFn) -> Example:
    taps, stride = per_axis(draw, 2, 4), draw(st.integers(1, 3))
    dilations = per_axis(draw, 2, 3) if stride == 1 else [1, 1]
    channels, multiplier = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding = windows(draw, 2, explicit=True)
    # Of an empty batch TensorFlow's gradient of the kernel is uninitialized memory.
    x = draw(inputs((draw(st.integers(1, 3)), *lengths(draw, taps, dilations, padding), channels), range(3)))
    options = {"strides": [1, stride, stride, 1], "padding": padding, "dilations": dilations}
    text = f"depthwise_conv2d {options}"
    return of_kernel(lambda x, k: tf.nn.depthwise_conv2d(x, k, **options), x, (*taps, channels, multiplier), draw, text)


@st.composite
def transposed(draw: st.DrawFn) -> Example:
    """The result's sizes are drawn; those of the input follow from them."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    taps, padding = per_axis(draw, rank, 4), draw(PADDINGS)
    strides = consistent(taps, per_axis(draw, rank, 3))
    results = lengths(draw, taps, [1] * rank, padding)
    sizes = [
        -(-size // stride) if padding == "SAME" else (size - tap) // stride + 1
        for size, stride, tap in zip(results, strides, taps, strict=True)
    ]
    batch, wide, out = draw(BATCHES), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x = draw(inputs((batch, *sizes, wide), range(rank + 1)))
    options = {"strides": strides, "padding": padding}
    text = f"conv_transpose to {results} {options}"
    return of_kernel(
        lambda x, k: tf.nn.conv_transpose(x, k, tf.stack([tf.shape(x)[0], *results, out]), **options),
        x,
        (*taps, out, wide),
        draw,
        text,
    )


@st.composite
def pooling(draw: st.DrawFn) -> Example:
    kind, rank = draw(st.sampled_from(["max", "avg"])), draw(st.sampled_from([1, 2, 2, 3]))
    taps = per_axis(draw, rank, 4)
    padding = windows(draw, rank, explicit=kind == "max" and rank == 2)
    options = {"ksize": taps, "strides": consistent(taps, per_axis(draw, rank, 4)), "padding": padding}
    sizes = lengths(draw, taps, [1] * rank, padding)
    x = draw(inputs((draw(BATCHES), *sizes, draw(st.integers(1, 3))), range(rank + 1)))
    function = getattr(tf.nn, f"{kind}_pool{rank}d")
    return Example(f"{kind}_pool{rank}d {options}", lambda x: function(x, **options), (x,), draw(DTYPES))


@st.composite
def pooling_with_argmax(draw: st.DrawFn) -> Example:
    taps, padding = per_axis(draw, 2, 4), draw(PADDINGS)
    options = {"ksize": taps, "strides": per_axis(draw, 2, 4), "padding": padding}
    options["include_batch_in_index"] = draw(st.booleans())
    sizes = lengths(draw, taps, [1, 1], padding)
    x = draw(inputs((draw(st.integers(1, 3)), *sizes, draw(st.integers(1, 3))), range(3)))
    text = f"max_pool_with_argmax {options}"
    return Example(text, lambda x: tf.nn.max_pool_with_argmax(x, **options), (x,), draw(DTYPES))


@EXAMPLES
def test_convolution(examples: int) -> None:
    agrees_with_tensorflow(convolutions() | depthwise() | transposed(), examples)


@EXAMPLES
def test_pooling(examples: int) -> None:
    agrees_with_tensorflow(pooling() | pooling() | pooling_with_argmax(), examples)
