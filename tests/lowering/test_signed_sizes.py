"""Arithmetic of sizes that may turn out negative: one graph gives TensorFlow's numbers at every length.

What a graph holds of a size is computed twice: by nodes that ONNX Runtime runs, and by symbols from which shapes, and
other sizes, are made. Both must round and take remainders as TensorFlow does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck
from hypothesis import strategies as st
from pullback_export.graph.dims import Atom, Dim, Size, never_negative
from pullback_export.graph.size_arithmetic import maximum, minimum, truncated

from tests.lowering.case import Arg, convert, run_onnx

Expression = Callable[[Any, Any], Any]
LENGTHS = [(n, m) for n in (0, 1, 2, 5, 8, 17) for m in (0, 1, 3)]

EXPRESSIONS: dict[str, Expression] = {
    "windows of a wave": lambda n, m: tf.maximum((n - 8) // 3 + 1, 0),
    "rounded up": lambda n, m: -(-n // 4),
    "floor": lambda n, m: (n - 9) // 4,
    "floor by a negative number": lambda n, m: (n - 9) // -4,
    "floor by a size": lambda n, m: (n - 9) // (m + 1),
    "floor by minus a size": lambda n, m: (n - 9) // -(m + 1),
    "floor of a number": lambda n, m: -7 // (m + 2),
    "floor of a difference": lambda n, m: (m - n) // 2,
    "floor of a floor": lambda n, m: ((n - 9) // 2) // 3,
    "remainder": lambda n, m: (n - 9) % 4,
    "remainder by a negative number": lambda n, m: (n - 9) % -4,
    "remainder of minus a size": lambda n, m: -n % 4,
    "remainder by a size": lambda n, m: (m - n) % (m + 1),
    "truncated": lambda n, m: tf.truncatediv(n - 9, 4),
    "truncated by a negative number": lambda n, m: tf.truncatediv(n - 9, -4),
    "truncated by a size": lambda n, m: tf.truncatediv(n - 9, m + 1),
    "truncated remainder": lambda n, m: tf.truncatemod(n - 9, 4),
    "truncated remainder, never negative": lambda n, m: tf.truncatemod(n + m, 4),
    "raw division": lambda n, m: tf.raw_ops.Div(x=n - 9, y=4),
    "raw remainder": lambda n, m: tf.raw_ops.Mod(x=n - 9, y=4),
    "quotient and remainder": lambda n, m: (n - 9) // 4 * 4 + (n - 9) % 4,
    "cast of a float quotient": lambda n, m: tf.cast((n - 9) / 4, tf.int32),
    "ceiling of a float quotient": lambda n, m: tf.cast(tf.math.ceil((n - 9) / 4), tf.int32),
    "sign": lambda n, m: tf.sign(n - 5) * 3,
    "absolute": lambda n, m: tf.abs(n - 5),
    "minimum": lambda n, m: tf.minimum(n - 5, m - 1),
    "maximum": lambda n, m: tf.maximum(n - 5, m - 2),
    "clipped": lambda n, m: tf.clip_by_value(n - 5, -1, m),
    "selected": lambda n, m: tf.where(n - 5 < m, n - 5, m - 7),
    "compared": lambda n, m: tf.cast((n - 9) // 4 >= -m, tf.int32),
    "product": lambda n, m: (n - 3) * (m - 1),
    "product of a vector": lambda n, m: tf.reduce_prod(tf.stack([n - 3, m - 1, 2])),
    "sum of a vector": lambda n, m: tf.reduce_sum(tf.stack([n - 3, m - 1, 2])),
    "narrow": lambda n, m: tf.cast(tf.cast(n - 3, tf.int8), tf.int32) * 100,
    "unsigned": lambda n, m: tf.cast(tf.cast(n - 3, tf.uint8), tf.int32),
    "wide": lambda n, m: tf.cast(tf.cast(n - 9, tf.int64) // 4, tf.int32),
}


def uses(size: Any, x: Any) -> list[Any]:
    """A number as such, as the length of what is made, and as the bound of what is cut."""
    capped = tf.clip_by_value(size, -20, 20)
    row = tf.range(12)
    return [
        size,
        tf.shape(tf.range(tf.maximum(capped, 0))),
        tf.range(0, tf.minimum(capped, 0), -1),
        tf.range(tf.minimum(capped, 3), 3),
        tf.shape(row[:capped]),
        row[capped:],
        row[capped::-1],
        row[2 : tf.maximum(capped, 0)],
        tf.shape(tf.fill([tf.maximum(capped, 0), 2], 1)),
        tf.reduce_sum(x) + tf.cast(size, x.dtype),
    ]


def check(expressions: list[Expression], lengths: list[tuple[int, int]], free: bool) -> None:
    def function(x: Any) -> list[Any]:
        n, m = tf.shape(x)[0], tf.shape(x)[1]
        return [item for expression in expressions for item in uses(expression(n, m), x)]

    arg = Arg((3, 2), free=(0, 1))
    model = None
    for n, m in lengths:
        spec = tf.TensorSpec([None, None] if free else [n, m], tf.float32)
        if model is None or not free:
            concrete = tf.function(function, autograph=False).get_concrete_function(spec)
            model = convert(concrete, [arg if free else Arg((n, m), free=())], free)
        x = np.arange(n * m, dtype=np.float32).reshape(n, m)
        for index, (mine, theirs) in enumerate(zip(run_onnx(model, [x]), concrete(x), strict=True)):
            np.testing.assert_array_equal(mine, theirs.numpy(), err_msg=f"size ({n}, {m}), output {index}")
            assert mine.dtype == theirs.dtype.as_numpy_dtype


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_one_graph_at_every_length(name: str) -> None:
    check([EXPRESSIONS[name]], LENGTHS, free=True)


@pytest.mark.parametrize("length", [(1, 3), (8, 0), (17, 1)], ids=str)
def test_at_a_fixed_length(length: tuple[int, int]) -> None:
    check(list(EXPRESSIONS.values()), [length], free=False)


DIVISORS = [2, 3, -2, -3]


@st.composite
def drawn(draw: st.DrawFn, depth: int = 3) -> tuple[str, Expression]:
    """An expression of two sizes, with what it is called."""
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        leaf = draw(st.sampled_from(["n", "m", -2, 1, 5]))
        if leaf == "n":
            return "n", lambda n, m: n
        return (leaf, lambda n, m: m) if leaf == "m" else (str(leaf), lambda n, m: n * 0 + leaf)
    (left, f), (right, g) = draw(drawn(depth - 1)), draw(drawn(depth - 1))
    by, kind = draw(st.sampled_from(DIVISORS)), draw(st.integers(0, 9))
    table: list[tuple[str, Expression]] = [
        (f"({left} + {right})", lambda n, m: f(n, m) + g(n, m)),
        (f"({left} - {right})", lambda n, m: f(n, m) - g(n, m)),
        (f"({left} * {by})", lambda n, m: f(n, m) * by),
        (f"({left} // {by})", lambda n, m: f(n, m) // by),
        (f"({left} % {by})", lambda n, m: f(n, m) % by),
        (f"trunc({left} / {by})", lambda n, m: tf.truncatediv(f(n, m), by)),
        (f"max({left}, {right})", lambda n, m: tf.maximum(f(n, m), g(n, m))),
        (f"min({left}, {right})", lambda n, m: tf.minimum(f(n, m), g(n, m))),
        (f"({left} // (m + 1))", lambda n, m: f(n, m) // (m + 1)),
        (f"({left} % -(m + 1))", lambda n, m: f(n, m) % -(m + 1)),
    ]
    return table[kind]


@pytest.mark.parametrize("examples", [6, pytest.param(200, marks=pytest.mark.slow)])
def test_drawn_expressions(examples: int) -> None:
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @hypothesis.given(st.lists(drawn(), min_size=5, max_size=5))
    def run(expressions: list[tuple[str, Expression]]) -> None:
        check([function for _, function in expressions], LENGTHS[::3], free=True)

    run()


def value_of(size: Size, sizes: dict[str, int]) -> int:
    """What a symbolic size comes to, by the meaning that the operations have in this package."""
    if isinstance(size, int):
        return size
    return sum(factor * int(np.prod([_atom(atom, sizes) for atom in atoms])) for atoms, factor in size.terms)


def _atom(atom: Atom, sizes: dict[str, int]) -> int:
    if atom.operation is None:
        return sizes[atom.name]
    a, b = (value_of(operand, sizes) for operand in atom.operands)
    return {"floor": lambda: a // b, "mod": lambda: a % b, "max": lambda: max(a, b), "trunc": lambda: int(a / b)}[
        atom.operation
    ]()


@pytest.mark.parametrize(("shift", "by"), list(itertools.product((-9, 0, 4), DIVISORS)))
def test_symbols_mean_python_integers(shift: int, by: int) -> None:
    n, m = Dim.atom("n"), Dim.atom("m")
    for a, b in itertools.product(range(0, 13, 2), (0, 1, 5)):
        sizes = {"n": a, "m": b}
        left, number = n + m * 2 + shift, a + 2 * b + shift
        for mine, wanted in (
            (left // by, number // by),
            (left % by, number % by),
            (truncated(left, by), int(number / by)),
            (truncated(left - left % by, by), number // by),
            (left // (m + 1), number // (b + 1)),
            (truncated(left, m + 1), int(number / (b + 1))),
            (maximum(left, m), max(number, b)),
            (minimum(left // by, 1), min(number // by, 1)),
        ):
            assert value_of(mine, sizes) == wanted
            assert wanted >= 0 or not never_negative(mine)
