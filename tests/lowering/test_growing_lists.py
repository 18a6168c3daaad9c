"""Arrays that grow as they are written to: one graph at every length, value, first and second derivative.

``tf.TensorArray(size=0 or 1, dynamic_size=True)`` in loops and outside of them, written to in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.lowering.case import Arg, assert_close, convert, run_onnx
from tests.rotation import in_turn

LENGTHS = (0, 1, 2, 5)
Place = Callable[[Any, Any], Any]


def array(size: int = 0, shape: tuple[int | None, ...] | None = (3,)) -> Any:
    return tf.TensorArray(tf.float64, size, dynamic_size=True, element_shape=shape)


def written(
    place: Place = lambda i, n: i, count: Callable[[Any], Any] = lambda n: n, **options: Any
) -> Callable[[Any], Any]:
    """Row ``i`` of ``x`` at ``place(i, n)``, for ``count(n)`` rows; the array after that."""

    def fill(x: Any) -> Any:
        rows = tf.shape(x)[0]
        items = array(**options)
        for i in tf.range(count(rows)):
            items = items.write(place(i, rows), tf.tanh(x[i]))
        return items

    return fill


def concatenated(x: Any) -> Any:
    items = array(shape=(1, 3))
    for i in tf.range(tf.shape(x)[0]):
        items = items.write(i, tf.tanh(x[i])[None])
    return items.concat()


def two_arrays(x: Any) -> Any:
    first, second = array(), array(1, ())
    for i in tf.range(tf.shape(x)[0]):
        first, second = first.write(i, tf.tanh(x[i])), second.write(i, tf.reduce_sum(x[i] ** 2))
    return first.stack() * second.stack()[: tf.shape(x)[0], None]


def nested(x: Any) -> Any:
    items = array(shape=())
    for i in tf.range(tf.shape(x)[0]):
        for j in tf.range(3):
            items = items.write(i * 3 + j, tf.sin(x[i, j]))
    return items.stack()


def inner(x: Any) -> Any:
    items = array()
    for i in tf.range(tf.shape(x)[0]):
        row = array(shape=())
        for j in tf.range(3):
            row = row.write(j, tf.sin(x[i, j]))
        items = items.write(i, row.stack())
    return items.stack()


def read_back(x: Any) -> Any:
    """Each element is made of the one before it."""
    items = array(1).write(0, tf.reduce_sum(x, 0))
    for i in tf.range(tf.shape(x)[0]):
        items = items.write(i + 1, items.read(i) * 0.5 + tf.tanh(x[i]))
    return items.stack()


def chosen(x: Any) -> Any:
    """As many elements as the data say."""
    items, k = array(), 0
    for i in tf.range(tf.shape(x)[0]):
        if tf.reduce_sum(x[i]) > 0:
            items = items.write(k, tf.tanh(x[i]))
            k += 1
    return tf.reduce_sum(items.stack(), 0)


def by_data(x: Any) -> Any:
    """At places that the data say."""
    items = array()
    for i in tf.range(tf.shape(x)[0]):
        items = items.write(tf.cast(tf.abs(x[i, 0]) * 3, tf.int32) + 4 * i, tf.tanh(x[i]))
    return tf.reduce_sum(items.stack(), 0)


def until(x: Any) -> Any:
    items, i, total = array(), 0, tf.zeros([3], x.dtype)
    while i < tf.shape(x)[0] and tf.reduce_sum(total) < 2.0:
        total = total + x[i] ** 2
        items = items.write(i, total)
        i += 1
    return tf.reduce_sum(items.stack(), 0)


def two_writes(x: Any) -> Any:
    items = array()
    for i in tf.range(tf.shape(x)[0]):
        items = items.write(2 * i, tf.tanh(x[i]))
        items = items.write(2 * i + 1, x[i] ** 2)
    return items.stack()


def appended(x: Any) -> Any:
    items = array()
    for i in tf.range(tf.shape(x)[0]):
        items = items.write(items.size(), tf.tanh(x[i]))
    return items.stack()


def outside(x: Any) -> Any:
    """A gap reads as zeros."""
    return array(shape=(None, 3)).write(0, tf.tanh(x)).write(2, x * x).stack()


def with_size(x: Any) -> Any:
    items = array()
    for i in tf.range(tf.shape(x)[0]):
        items = items.write(i, x[i] ** 2)
    return tf.reduce_sum(items.gather(tf.range(items.size())[::-1]), 0) * tf.cast(items.size(), x.dtype)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "from_nothing": lambda x: written()(x).stack(),
    "from_one": lambda x: written(size=1)(x).stack(),
    "from_two": lambda x: written(size=2)(x).stack(),
    "of_unknown_shape": lambda x: written(shape=None)(x).stack(),
    "with_gaps": lambda x: written(lambda i, n: 2 * i + 1)(x).stack(),
    "further_on": lambda x: written(lambda i, n: i + 2)(x).stack(),
    "backwards": lambda x: written(lambda i, n: n - 1 - i)(x).stack(),
    "backwards_with_gaps": lambda x: written(lambda i, n: 2 * (n - i))(x).stack(),
    "half": lambda x: written(lambda i, n: i * 2, lambda n: n // 2)(x).stack(),
    "none_below_three": lambda x: written(count=lambda n: tf.maximum(n - 3, 0))(x).stack(),
    "over_and_over": lambda x: written(lambda i, n: i // 2)(x).stack(),
    "one_place": lambda x: written(lambda i, n: tf.constant(0))(x).stack(),
    **{f.__name__: f for f in (concatenated, two_arrays, nested, inner, read_back, chosen, by_data, until)},
    **{f.__name__: f for f in (two_writes, appended, outside, with_size)},
}


def derivatives(function: Callable[[Any], Any], order: int) -> Callable[[Any], list[Any]]:
    def evaluate(x: Any) -> list[Any]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
                weights = tf.reshape(tf.cos(tf.cast(tf.range(tf.size(y)), x.dtype)), tf.shape(y))
                total = tf.reduce_sum(tf.sin(y * 1.3) * weights)
            if order == 0:
                return [y]
            first = tf.convert_to_tensor(tape.gradient(total, x, unconnected_gradients="zero"))
            if order == 1:
                return [y, first]
            square = tf.reduce_sum(first**2)
        return [y, first, tf.convert_to_tensor(outer.gradient(square, x, unconnected_gradients="zero"))]

    return evaluate


@pytest.mark.parametrize("order", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", in_turn("growing lists", list(FUNCTIONS), 3))
def test_one_graph_at_every_length(name: str, order: int) -> None:
    spec = tf.TensorSpec([None, 3], tf.float64)
    concrete = tf.function(derivatives(FUNCTIONS[name], order)).get_concrete_function(spec)
    model = convert(concrete, [Arg((2, 3))], free=True)
    for rows in LENGTHS:
        x = np.random.default_rng(rows).normal(size=(rows, 3))
        try:
            expected = [item.numpy() for item in concrete(tf.constant(x))]
        except tf.errors.OpError:
            assert rows == 0  # TensorFlow itself does not stack no elements of an unknown shape
            continue
        for mine, theirs in zip(run_onnx(model, [x]), expected, strict=True):
            assert_close(mine, theirs, 1e-10, f"{name} order {order}, {rows} rows", least=1.0)
