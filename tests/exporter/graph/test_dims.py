"""Sizes as shared nodes: arithmetic agrees with numbers, and nothing grows with how deep they nest."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pullback_export.graph.dims import LONGEST_NAME, Dim, divide, operands_first
from pullback_export.graph.size_arithmetic import broadcast, maximum, minimum, product, truncated

NAMES = ("B", "T", "x_1")


def nested(depth):
    """A size as strided layers with residual connections make it, which refers to the one before twice."""
    size = Dim.atom("B")
    for _ in range(depth):
        size = maximum(size // 2 + 1, 7 - size)
    return size


OPERATIONS = {
    "+": (lambda a, b: a + b, lambda a, b: a + b),
    "-": (lambda a, b: a - b, lambda a, b: a - b),
    "*": (lambda a, b: a * b, lambda a, b: a * b),
    "//": (lambda a, b: a // 3 + b, lambda a, b: a // 3 + b),
    "truncated": (lambda a, b: truncated(a, 3) + b, lambda a, b: int(a / 3) + b),
    "%": (lambda a, b: a % 4 + b, lambda a, b: a % 4 + b),
    "max": (maximum, max),
    "min": (minimum, min),
}
EXPRESSIONS = st.recursive(
    st.sampled_from(NAMES) | st.integers(-5, 9),
    lambda inner: st.tuples(st.sampled_from(sorted(OPERATIONS)), inner, inner),
)


def symbolic(expression):
    if isinstance(expression, tuple):
        return OPERATIONS[expression[0]][0](symbolic(expression[1]), symbolic(expression[2]))
    return Dim.atom(expression) if isinstance(expression, str) else expression


def numeric(expression, sizes):
    if isinstance(expression, tuple):
        return OPERATIONS[expression[0]][1](numeric(expression[1], sizes), numeric(expression[2], sizes))
    return sizes[expression] if isinstance(expression, str) else expression


@given(EXPRESSIONS, st.tuples(*[st.integers(0, 12)] * len(NAMES)))
def test_a_size_is_the_number_that_its_expression_is(expression, numbers):
    sizes = dict(zip(NAMES, numbers, strict=True))
    size = symbolic(expression)
    assert (size.at(sizes) if isinstance(size, Dim) else size) == numeric(expression, sizes)


@given(EXPRESSIONS)
def test_equal_expressions_are_equal_sizes(expression):
    assert symbolic(expression) == symbolic(expression)
    assert hash(symbolic(expression)) == hash(symbolic(expression))


@pytest.mark.parametrize("depth", [1, 10, 100, 1000])
def test_a_size_has_as_many_nodes_as_steps_made_it(depth):
    size = nested(depth)
    assert len(list(operands_first(size))) <= 2 * depth + 1
    assert len(str(size)) <= LONGEST_NAME + 20
    assert size == nested(depth)
    assert size != nested(depth - 1)


def test_a_deep_size_is_evaluated_without_recursion():
    want = 1000
    for _ in range(2000):
        want = max(want // 2 + 1, 7 - want)
    assert nested(2000).at({"B": 1000}) == want
    assert nested(3).at({"T": 1}) is None


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (Dim.atom("B") * 2, "2*B"),
        (Dim.atom("T") * Dim.atom("B") + 1, "B*T+1"),
        (Dim.atom("B") - 3, "B-3"),
        ((Dim.atom("B") - 1) // 2, "floor(B-1,2)"),
        (broadcast((Dim.atom("B"),), (Dim.atom("A"),))[0], "broadcast(A,B)"),
    ],
)
def test_simple_sizes_are_printed_in_full(size, text):
    assert str(size) == text


def test_names_of_long_sizes_do_not_depend_on_the_process():
    script = (
        f"import sys; sys.path.insert(0, {__file__.rpartition('/')[0]!r}); import test_dims as t; print(t.nested(40))"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another one than that of this process
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout == f"{nested(40)}\n"


def test_broadcasting_again_changes_nothing():
    a, b, c = map(Dim.atom, "abc")
    (both,) = broadcast((a,), (b,))
    assert broadcast((both,), (b,)) == broadcast((b,), (a,)) == (both,)
    (three,) = broadcast((both,), (c,))
    assert broadcast((a,), broadcast((c,), (b,))) == broadcast((three,), (both,)) == (three,)
    assert three.at({"a": 1, "b": 5, "c": 1}) == 5
    assert broadcast((both,), (4,)) == (4,)


def test_quotients_that_come_out_even_are_polynomials():
    b, t = Dim.atom("B"), Dim.atom("T")
    assert divide(b * t * 6, b * 2) == t * 3
    assert divide(b * t + b, b) == t + 1
    assert divide(b + 1, 2) is None
    assert product((b, 2, t)) == b * t * 2
