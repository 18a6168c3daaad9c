"""What ``tf.vectorized_map`` makes of the derivatives of every operator is right, or the operator is known for it."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.derivatives.vectorization import NotVectorizable, is_vectorizable, one_by_one, vectorized

from tests.lowering.case import Case
from tests.lowering.test_rules import ROWS
from tests.rotation import in_turn

SEEDS = 3


def arrays_of(case: Case) -> list[Any]:
    rng = np.random.default_rng(3)
    drawn = (arg.draw(rng, arg.shape) if arg.draw else rng.normal(size=arg.shape) for arg in case.args)
    return [
        tf.constant(np.asarray(array), tf.string if arg.dtype == "object" else arg.dtype or case.dtypes[-1])
        for array, arg in zip(drawn, case.args, strict=True)
    ]


def pulled_back(case: Case, vectorize: Any, arrays: list[Any]) -> list[np.ndarray[Any, Any]]:
    """Random seeds pulled back from every output to the first real input."""
    first = next(index for index, array in enumerate(arrays) if array.dtype.is_floating)
    whole = tf.function(case.function, autograph=False)  # some ops have no eager kernel
    sizes = [np.shape(item) for item in tf.nest.flatten(whole(*arrays))]

    def compute(*tensors: Any) -> list[Any]:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(tensors[first])
            outputs = tf.nest.flatten(case.function(*tensors))
        results = []
        for output, size in zip(outputs, sizes, strict=True):
            if not tf.is_tensor(output) or not output.dtype.is_floating:
                continue
            rng = np.random.default_rng(5)
            seeds = tf.constant(rng.normal(size=(SEEDS, int(np.prod(size)))), output.dtype)

            def row(seed: Any, output: Any = output, size: Any = size) -> Any:
                shaped = tf.reshape(seed, size)
                pulled = tape.gradient(output, tensors[first], shaped, unconnected_gradients="zero")
                return tf.convert_to_tensor(pulled)

            results.append(vectorize(row, seeds, None))
        return results

    return [np.asarray(item) for item in tf.function(compute, autograph=False)(*arrays)]


def known(case: Case) -> bool:
    """Differentiable once, and with something in it: no samples, no seeds."""
    return case.order > 0 and all(0 not in arg.shape for arg in case.args)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in ROWS if known(case)], ids=lambda case: case.name)
def test_a_vectorised_derivative_is_right(case: Case) -> None:
    arrays = arrays_of(case)
    specs = [tf.TensorSpec(array.shape, array.dtype) for array in arrays]
    traced = tf.function(case.function, autograph=False).get_concrete_function(*specs)
    if not is_vectorizable(traced.graph):
        return
    expected = pulled_back(case, one_by_one, arrays)
    try:
        actual = pulled_back(case, vectorized, arrays)
    except NotVectorizable:
        return  # known before anything is written
    for mine, theirs in zip(actual, expected, strict=True):
        assert mine.shape == theirs.shape
        scale = np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-3)
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * scale)


def roll(x: Any) -> Any:
    return tf.roll(x, 1, -1) * tf.sin(x)


def segments(x: Any) -> Any:
    sums = tf.sparse.segment_sum(tf.transpose(x), [0, 2, 1], [0, 0, 1], num_segments=2)
    return tf.transpose(tf.ensure_shape(sums, [2, None])) ** 2


def dilated(x: Any) -> Any:
    kernel = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 1, 2)), x.dtype)
    image = tf.reshape(x, [-1, 3, 4, 1])
    return tf.reshape(tf.nn.convolution(image, kernel, padding="SAME", dilations=2), [-1, 24])


def depthwise(x: Any) -> Any:
    kernel = tf.constant(np.random.default_rng(1).normal(size=(2, 2, 2, 1)), x.dtype)
    image = tf.reshape(x, [-1, 3, 2, 2])
    return tf.reshape(tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "SAME", dilations=[2, 1]), [-1, 12])


GROUPED = keras.layers.Conv2D(4, 2, padding="same", groups=2, dtype="float64")


def grouped(x: Any) -> Any:
    return tf.reshape(GROUPED(tf.reshape(x, [-1, 3, 2, 2])), [-1, 24])


def routed(x: Any) -> Any:
    """Experts, one of which is given no rows."""
    expert = tf.cast(x[:, 0] > 9, tf.int32)
    rows = tf.dynamic_partition(tf.range(tf.shape(x)[0]), expert, 2)
    return tf.dynamic_stitch(rows, [tf.sin(part) for part in tf.dynamic_partition(x, expert, 2)])


def batched_and_whole(function: Any) -> list[Any]:
    """Both, in turn."""
    name = function.__name__
    return in_turn(name, [pytest.param(function, True, id=f"{name}-batched"), pytest.param(function, False, id=name)])


NOT_VECTORISED = (roll, segments, dilated, depthwise, grouped, routed)


@pytest.mark.parametrize(
    ("function", "batched"), [row for function in NOT_VECTORISED for row in batched_and_whole(function)]
)
def test_jacobians_of_what_is_not_vectorised(function: Any, batched: bool, tmp_path: pathlib.Path) -> None:
    """The gate compares them with one plain backward pass for each component."""
    spec = tf.TensorSpec([None if batched else 2, 12], tf.float64, name="x")
    requests = ["jacobian(y, x)", "vjp(y, x)"]
    bundle = export(function, tmp_path / "b", requests, inputs=[spec], outputs=["y"], batched=batched)
    x = np.random.default_rng(2).normal(size=(2, 12))
    y, jacobian = bundle(x)
    adjoint = np.random.default_rng(3).normal(size=y.shape)
    product = np.einsum("bi,bij->bj" if batched else "ai,aibj->bj", adjoint, jacobian)
    np.testing.assert_allclose(bundle.vjp(x, adjoint)[0], product, atol=1e-12)


@pytest.mark.parametrize("steps", [4, None])
def test_time_distributed_with_fewer_samples_than_steps(steps: int | None, tmp_path: pathlib.Path) -> None:
    """Keras vectorises a free time axis over as many steps as there are samples."""
    layers = keras.layers
    inputs = keras.Input((steps, 6, 2), name="x")
    hidden = layers.TimeDistributed(layers.Conv1D(3, 2, activation="tanh"))(inputs)
    model = keras.Model(
        inputs, layers.Dense(1, name="y")(layers.LSTM(3)(layers.TimeDistributed(layers.Flatten())(hidden)))
    )
    bundle = export(model, tmp_path / "b", "gradient(y, x)")
    x = np.random.default_rng(4).normal(size=(2, 4, 6, 2)).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(tensor := tf.constant(x))
        value = model(tensor)
    np.testing.assert_allclose(bundle(x).dy_dx, tape.gradient(value, tensor), atol=1e-5)
