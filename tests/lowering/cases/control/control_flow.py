"""Rows for ``lowering/control_flow.py``: loops and branches of every form, with first and second derivatives."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, uniform

WHILE = "StatelessWhile"
IF = "StatelessIf"


def _newton(x: Any) -> Any:
    """Square roots by Newton's method, until they are good enough."""
    tolerance = tf.cast(1e-6 if x.dtype == tf.float32 else 1e-12, x.dtype)

    def more(root: Any) -> Any:
        return tf.reduce_any(tf.abs(root * root - x) > tolerance * 10 * x)

    return tf.while_loop(more, lambda root: (0.5 * (root + x / root),), (x,))[0]


def _fixed_steps(x: Any) -> Any:
    return tf.while_loop(lambda i, a: i < 5, lambda i, a: (i + 1, tf.sin(a) * x + 1), (0, x))[1]


def _captured(x: Any, w: Any) -> Any:
    """The body reads tensors from outside, and one variable never changes."""
    scale = tf.reduce_sum(w)
    return tf.while_loop(
        lambda i, a, b: i < 4, lambda i, a, b: (i + 1, tf.tanh(tf.matmul(a, w)) * scale + b, b), (0, x, x * 2)
    )


def _growing(x: Any) -> Any:
    """A variable whose shape changes."""
    shapes = (tf.TensorShape([]), tf.TensorShape([None, 3]))
    return tf.while_loop(
        lambda i, a: i < 3, lambda i, a: (i + 1, tf.concat([a, tf.sin(a[:1]) * a[-1:]], 0)), (0, x), shapes
    )[1]


def _growing_from_nothing(x: Any) -> Any:
    shapes = (tf.TensorShape([]), tf.TensorShape([None, 3]))
    return tf.while_loop(
        lambda i, a: i < 3,
        lambda i, a: (i + 1, tf.concat([a, x * tf.reduce_sum(tf.sin(a + 1))], 0)),
        (0, x[:0]),
        shapes,
    )[1]


def _swapped(x: Any) -> Any:
    """Variables that trade places."""
    return tf.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, b * 2, a * tf.sin(b)), (0, x, x + 1))[1:]


def _counted_by_data(x: Any, n: Any) -> Any:
    return tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, tf.sin(a) * x), (0, x))


def _downwards(x: Any) -> Any:
    return tf.while_loop(lambda i, a: i > 0, lambda i, a: (i - 2, a * tf.cos(a + tf.cast(i, x.dtype))), (7, x))


def _two_conditions(x: Any) -> Any:
    """A limit on the iterations besides the condition."""
    return tf.while_loop(
        lambda a: tf.reduce_sum(tf.abs(a)) < 50.0, lambda a: (a * tf.abs(x) + tf.abs(a),), (x,), maximum_iterations=4
    )[0]


def _nested(x: Any) -> Any:
    def inner(a: Any) -> Any:
        return tf.while_loop(lambda j, b: j < 3, lambda j, b: (j + 1, tf.sin(b) * x), (0, a))[1]

    return tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, inner(a) + a), (0, x))[1]


def _triangular(x: Any) -> Any:
    """The inner loop runs as often as the outer one has."""

    def inner(i: Any, a: Any) -> Any:
        return tf.while_loop(lambda j, b: j < i, lambda j, b: (j + 1, tf.sin(b) * x), (0, a))[1]

    return tf.while_loop(lambda i, a: i < 4, lambda i, a: (i + 1, inner(i, a) + a), (0, x))[1]


def _implicit_steps(x: Any) -> Any:
    """Implicit Euler steps, each solved by Newton's method."""

    def step(i: Any, y: Any) -> Any:
        def more(k: Any, z: Any) -> Any:
            return tf.reduce_any(tf.abs(z - y + 0.1 * tf.sin(z)) > 1e-5)

        z = tf.while_loop(
            more, lambda k, z: (k + 1, z - (z - y + 0.1 * tf.sin(z)) / (1 + 0.1 * tf.cos(z))), (0, y + 1)
        )[1]
        return i + 1, z

    return tf.while_loop(lambda i, y: i < 4, step, (0, x))[1]


def _branch_in_loop(x: Any) -> Any:
    def body(i: Any, a: Any) -> Any:
        return i + 1, tf.cond(tf.reduce_sum(a) > 0.0, lambda: a * tf.sin(x), lambda: a + x * x)

    return tf.while_loop(lambda i, a: i < 4, body, (0, x))[1]


def _loop_in_branch(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0.0, lambda: _fixed_steps(x), lambda: _fixed_steps(-x) * x)


def _cond(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.sin(x) * x, lambda: tf.exp(x))


def _cond_of_many(x: Any, y: Any) -> Any:
    """Several results, one of them the same on both sides, one of another shape inside."""
    return tf.cond(
        tf.reduce_sum(x) > tf.reduce_sum(y),
        lambda: (x * y, tf.reduce_sum(tf.concat([x, tf.sin(x)], 0)), y),
        lambda: (x + y, tf.reduce_sum(tf.exp(y)), y),
    )


def _cond_in_cond(x: Any) -> Any:
    total = tf.reduce_sum(x)
    inner = lambda: tf.cond(total > 5.0, lambda: x**3, lambda: tf.sin(x))  # noqa: E731
    return tf.cond(total > 0.0, inner, lambda: tf.tanh(x))


def _known_predicate(x: Any) -> Any:
    return tf.raw_ops.StatelessIf(
        cond=tf.constant(True),
        input=[x],
        Tout=[x.dtype],
        then_branch=tf.function(tf.sin).get_concrete_function(tf.TensorSpec(x.shape, x.dtype)),
        else_branch=tf.function(tf.cos).get_concrete_function(tf.TensorSpec(x.shape, x.dtype)),
    )


def _switch(x: Any, index: Any) -> Any:
    return tf.switch_case(index, [lambda: tf.sin(x), lambda: x * x, lambda: tf.exp(x)])


@tf.function
def _autograph(x: Any) -> Any:
    total = tf.zeros_like(x)
    for i in tf.range(4):
        if tf.reduce_sum(total) > 2.0:
            total -= x * tf.cast(i, x.dtype)
        else:
            total += tf.sin(x) + 1
    while tf.reduce_sum(total) < 30.0:
        total = total * 1.5 + 1.0
    return total


@tf.function
def _rows(x: Any) -> Any:
    """``for`` over the rows of a tensor, with an early end."""
    total = tf.zeros_like(x[0])
    for row in x:
        if tf.reduce_sum(total) > 3.0:
            break
        total = tf.sin(total) + tf.abs(row)
    return total


def _map(x: Any) -> Any:
    return tf.map_fn(lambda row: tf.sin(row) * tf.reduce_sum(row), x)


def _map_pair(x: Any, y: Any) -> Any:
    signature = (tf.TensorSpec([3], x.dtype), tf.TensorSpec([], x.dtype))
    return tf.map_fn(lambda rows: (rows[0] * rows[1], tf.reduce_sum(rows[1])), (x, y), fn_output_signature=signature)


def _scan(x: Any) -> Any:
    return tf.scan(lambda carry, row: tf.tanh(carry * row) + row, x)


def _scan_reversed(x: Any) -> Any:
    return tf.scan(lambda carry, row: (tf.sin(carry[0]) + row, carry[1] * row), x, (x[0], x[0] + 1), reverse=True)


def _fold(x: Any) -> Any:
    return tf.foldl(lambda carry, row: carry * tf.sin(row) + row, x), tf.foldr(
        lambda carry, row: tf.tanh(carry) + row, x
    )


def _jacobian(x: Any) -> Any:
    """A Jacobian through a loop: all rows at once, by ``pfor``."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = _fixed_steps(x)
    return tape.jacobian(y, x)


def _vectorized(x: Any) -> Any:
    return tf.vectorized_map(
        lambda row: tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * tf.sin(row)), (0, row))[1], x
    )


def _keras_scan(x: Any) -> Any:
    return keras.ops.scan(lambda carry, row: (carry * tf.sin(row), carry + row), x[0], x)


def _keras_scan_reversed(x: Any) -> Any:
    return keras.ops.scan(lambda carry, row: (carry * row, tf.tanh(carry + row)), x[0], x, reverse=True)


def _keras_associative_scan(x: Any) -> Any:
    return keras.ops.associative_scan(lambda a, b: a * b, x)


def _keras_fori(x: Any) -> Any:
    return keras.ops.fori_loop(0, 4, lambda i, a: tf.sin(a) * x + keras.ops.cast(i, x.dtype), x)


def _keras_while(x: Any) -> Any:
    return keras.ops.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * tf.cos(x)), (0, x))


def _keras_cond(x: Any) -> Any:
    return keras.ops.cond(keras.ops.sum(x) > 0, lambda: x * x, lambda: tf.exp(x))


def _keras_switch(x: Any, index: Any) -> Any:
    return keras.ops.switch(index, [lambda a: tf.sin(a), lambda a: a * a], x)


def _keras_map(x: Any) -> Any:
    return keras.ops.map(lambda row: tf.sin(row) * row[0], x)


def _optional(x: Any) -> Any:
    """What the gradient of a branch does with values that only one branch made."""
    value = tf.raw_ops.OptionalFromValue(components=[tf.sin(x)])
    (there,) = tf.raw_ops.OptionalGetValue(optional=value, output_types=[x.dtype], output_shapes=[x.shape])
    nothing = tf.raw_ops.OptionalHasValue(optional=tf.raw_ops.OptionalNone())
    return there, tf.raw_ops.OptionalHasValue(optional=value), nothing


def _number_as_predicate(x: Any) -> Any:
    return tf.raw_ops.If(
        cond=tf.cast(tf.size(x), tf.int32) - 6,
        input=[x],
        Tout=[x.dtype],
        then_branch=tf.function(tf.sin).get_concrete_function(tf.TensorSpec(x.shape, x.dtype)),
        else_branch=tf.function(tf.cos).get_concrete_function(tf.TensorSpec(x.shape, x.dtype)),
    )


positive = uniform(0.5, 2.0, 2, 3)
T3 = Arg((5, 3))

CASES = [
    Case(
        "while_newton",
        WHILE,
        _newton,
        (positive,),
        order=2,
        tolerance={"float32": 1e-4},
        reason="the second derivative divides by numbers that the iteration made small",
    ),
    Case("while_fixed_steps", WHILE, _fixed_steps, ((2, 3),), order=2),
    Case("while_fixed_steps_empty_batch", WHILE, _fixed_steps, (Arg((0, 3)),), order=2, smooth=False),
    Case(
        "while_captured",
        WHILE,
        _captured,
        ((2, 3), (3, 3)),
        order=2,
        free=(False,),
        tolerance={"float32": 2e-5},
        reason="float32 TensorFlow is off from float64 by 1.1e-5 of the scale, ONNX Runtime by 2e-6",
    ),
    # With static sizes TensorFlow's own gradient fails: it takes the result to be as large as the input.
    Case("while_growing", WHILE, _growing, ((2, 3),), order=2, free=(True,)),
    Case("while_growing_from_nothing", WHILE, _growing_from_nothing, ((2, 3),)),
    Case("while_swapped", WHILE, _swapped, ((2, 3),), order=2),
    Case("while_counted_by_data", WHILE, _counted_by_data, ((2, 3), fixed(4, "int32", free=())), order=2),
    Case("while_no_iterations", WHILE, _counted_by_data, ((2, 3), fixed(0, "int32", free=())), order=2),
    Case("while_negative_count", WHILE, _counted_by_data, ((2, 3), fixed(-3, "int32", free=()))),
    Case("while_downwards", WHILE, _downwards, ((2, 3),), order=2),
    Case("while_two_conditions", WHILE, _two_conditions, ((2, 3),)),
    Case("while_two_conditions_not_entered", WHILE, _two_conditions, (uniform(40.0, 60.0, 2, 3),)),
    Case("while_two_conditions_limit", WHILE, _two_conditions, (uniform(0.01, 0.02, 2, 3),)),
    Case("while_nested", WHILE, _nested, ((2, 3),), order=2),
    Case("while_triangular", WHILE, _triangular, ((2, 3),), order=2),
    Case("while_implicit_steps", WHILE, _implicit_steps, ((2, 3),), order=2),
    Case("while_branch", (WHILE, IF), _branch_in_loop, ((2, 3),), order=2),
    Case("while_in_branch", (WHILE, IF), _loop_in_branch, ((2, 3),), order=2),
    Case("if_then", IF, _cond, (uniform(0.5, 1.0, 2, 3),), order=2),
    Case("if_else", IF, _cond, (uniform(-1.0, -0.5, 2, 3),), order=2),
    Case("if_many", IF, _cond_of_many, (uniform(1, 2, 2, 3), uniform(0, 1, 2, 3)), order=2),
    Case("if_many_else", IF, _cond_of_many, (uniform(0, 1, 2, 3), uniform(1, 2, 2, 3)), order=2),
    Case("if_nested", IF, _cond_in_cond, (uniform(0.5, 1.0, 2, 3),), order=2),
    Case("if_nested_deep", IF, _cond_in_cond, (uniform(1.5, 2.0, 2, 3),), order=2),
    Case("if_known", "StatelessIf", _known_predicate, ((2, 3),), order=0),
    Case("if_number", "If", _number_as_predicate, ((2, 3),), order=0),
    *[
        Case(f"case_{index}", "StatelessCase", _switch, ((2, 3), fixed(index, "int32", free=())), order=2)
        for index in (0, 1, 2, 5, -1)
    ],
    Case("autograph", (WHILE, IF), _autograph, (uniform(0.1, 1.0, 2, 3),), order=2),
    Case("autograph_rows", (WHILE, IF), _rows, (T3,), order=2),
    Case("map_fn", WHILE, _map, (T3,), order=2),
    Case("map_fn_one", WHILE, _map, ((1, 3),), order=2),
    Case("map_fn_pair", WHILE, _map_pair, (T3, (5,)), order=2),
    Case("scan", WHILE, _scan, (T3,), order=2),
    Case("scan_reversed", WHILE, _scan_reversed, (T3,), order=2),
    Case("foldl_foldr", WHILE, _fold, (T3,), order=2),
    Case("jacobian_of_loop", WHILE, _jacobian, ((2, 3),), free=(False,)),
    Case("vectorized_map_loop", WHILE, _vectorized, ((4, 3),), order=2),
    Case("keras_scan", WHILE, _keras_scan, (T3,), order=2),
    Case("keras_scan_reversed", WHILE, _keras_scan_reversed, (T3,), order=2),
    Case("keras_associative_scan", "ConcatV2", _keras_associative_scan, (Arg((5, 3), free=()),), order=2),
    Case("keras_fori_loop", WHILE, _keras_fori, ((2, 3),), order=2),
    Case("keras_while_loop", WHILE, _keras_while, ((2, 3),), order=2),
    Case("keras_cond", IF, _keras_cond, ((2, 3),), order=2),
    *[
        Case(f"keras_switch_{index}", "StatelessCase", _keras_switch, ((2, 3), fixed(index, "int32", free=())), order=2)
        for index in (0, 1)
    ],
    Case("keras_map", WHILE, _keras_map, (T3,), order=2),
    Case(
        "optional",
        ("OptionalFromValue", "OptionalGetValue", "OptionalHasValue", "OptionalNone"),
        _optional,
        ((2, 3),),
        order=0,
    ),
]
