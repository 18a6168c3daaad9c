"""The defects that ``overrides/`` works around, as programs: each says whether the installed version still has it.

``python -m tests.exporter.overrides.defects NAME`` answers for one, in a process of its own, which may crash.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf


def batched_product() -> bool:
    """A batched product that broadcasts writes outside of its buffers: wrong numbers or a crash, with AVX-512."""
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=size).astype(np.float32) for size in ((4, 1, 16, 16), (1, 16, 12)))
    found = [tf.matmul(left, right).numpy() for _ in range(30)]
    return not all(np.allclose(item, left @ right, atol=1e-4) for item in found)


def block_lstm_gradient() -> bool:
    """The gradient that TensorFlow registers for ``BlockLSTMV2`` is not that of the function."""
    rng = np.random.default_rng(1)
    cells, inputs, steps = 2, 3, 4
    x, weights, bias = (rng.normal(size=size).astype(np.float32) for size in ((steps, 1, inputs), (5, 8), (8,)))
    state, peephole = tf.zeros([1, cells]), tf.zeros([cells])

    def energy(x: Any) -> Any:
        result = tf.raw_ops.BlockLSTMV2(
            seq_len_max=steps,
            x=x,
            cs_prev=state,
            h_prev=state,
            w=weights,
            wci=peephole,
            wcf=peephole,
            wco=peephole,
            b=bias,
        )
        return tf.reduce_sum(result.h**2)

    with tf.GradientTape() as tape:
        tape.watch(moved := tf.constant(x))
        value = energy(moved)
    predicted = float(tf.reduce_sum(tape.gradient(value, moved)))
    measured = float(energy(x + 1e-2) - energy(x - 1e-2)) / 2e-2
    return abs(predicted - measured) > 0.01 * abs(measured)


def _jvp_of(function: Callable[[Any], Any], x: Any) -> Any:
    """The derivative of ``function`` in the direction of ones, by two reverse passes."""
    with tf.GradientTape() as outer:
        seed = tf.zeros_like(function(x))
        outer.watch(seed)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
        pulled = inner.gradient(y, x, seed)
    return outer.gradient(pulled, seed, tf.ones_like(x))


def known_sizes() -> bool:
    """A gradient asks at run time whether ``x`` was broadcast to ``tanh(x)``."""

    @tf.function  # type: ignore[untyped-decorator]
    def gradient(x: Any) -> Any:
        return tf.gradients(x * tf.tanh(x), x)

    graph = gradient.get_concrete_function(tf.TensorSpec([None, 4])).graph
    return any(op.type == "BroadcastGradientArgs" for op in graph.get_operations())


def rounded_constants() -> bool:
    """The gradient of ``erf`` writes ``2 / sqrt(pi)`` in half precision."""

    @tf.function  # type: ignore[untyped-decorator]
    def gradient(x: Any) -> Any:
        return tf.gradients(tf.math.erf(x), x)

    operators = gradient.get_concrete_function(tf.TensorSpec([2], tf.float16)).graph.get_operations()
    constants = [tf.make_ndarray(op.get_attr("value")) for op in operators if op.type == "Const"]
    return any(item.dtype == np.float16 and np.any(np.abs(item - 1.128) < 1e-2) for item in constants)


def silent_gradients() -> bool:
    """A bilinear resize has no forward derivative, and nothing is said."""
    return _jvp_of(lambda x: tf.image.resize(x, [4, 4]), tf.ones([1, 2, 2, 1])) is None


def dropped_gradients() -> bool:
    """A bicubic resize has no forward derivative."""
    try:
        return _jvp_of(lambda x: tf.image.resize(x, [4, 4], "bicubic"), tf.ones([1, 2, 2, 1])) is None
    except LookupError:
        return True


def missing_partials() -> bool:
    """``zeta`` is told not to depend on its first operand."""
    x = tf.constant([2.5])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.math.zeta(x, 1.5)
    return tape.gradient(y, x) is None


def cumulative_logsumexp() -> bool:
    """The forward derivative of a running logsumexp is NaN."""
    return not np.isfinite(_jvp_of(tf.math.cumulative_logsumexp, tf.constant([0.1, 0.2]))).all()


def indexed_slices() -> bool:
    """The gradient of ``TanhGrad`` does not take what the gradient of a gather gives."""
    x = tf.constant([0.1, 0.2, 0.3])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = tf.tanh(x)
        part = tf.gather(inner.gradient(value, x), [2, 0])
    try:
        return outer.gradient(part, x) is None
    except (TypeError, ValueError, AttributeError):
        return True


def letter_case() -> bool:
    """A SavedModel cannot have the inputs ``t`` and ``T``."""
    module = tf.Module()
    module.f = tf.function(lambda t, T: {"y": t * T}, input_signature=[tf.TensorSpec([], name=name) for name in "tT"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(module, folder, signatures={"f": module.f})
        except ValueError:
            return True
    return False


def no_kernel_gradient() -> bool:
    """The gradient of a convolution by its input computes that by its kernel too."""
    kernel = tf.ones([3, 3, 2, 4])

    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(tf.nn.conv2d(x, kernel, 1, "SAME") ** 3)
        return tape.gradient(value, x)

    graph = tf.function(gradient).get_concrete_function(tf.TensorSpec([1, 5, 5, 2])).graph
    return any(op.type == "Conv2DBackpropFilter" for op in graph.get_operations())


def dilated_convolution() -> bool:
    """Without oneDNN, as tests run, there is no CPU kernel of the gradient of a dilated convolution."""
    image, kernel = tf.ones([1, 9, 9, 2]), tf.ones([3, 3, 2, 2])
    try:
        tf.nn.conv2d_transpose(image, kernel, [1, 9, 9, 2], 1, "SAME", dilations=2)
    except tf.errors.OpError:
        return True
    return False


def empty_convolution() -> bool:
    """The gradient of a convolution without output crashes: a process that ends here has the defect."""
    x, kernel = tf.ones([2, 2, 5, 2]), tf.ones([3, 3, 2, 4])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.nn.conv2d(x, kernel, 2, "VALID")
    tape.gradient(value, x)
    return False


def grouped_convolution() -> bool:
    """A convolution in groups is traced and compiled anew at each call of its layer."""
    layer = keras.layers.Conv2D(4, 3, groups=2)
    layer(image := tf.ones([1, 5, 5, 4]))
    with mock.patch.object(tf.nn, "convolution", wraps=tf.nn.convolution) as traced:
        layer(image)
        layer(image)
    return traced.call_count > 1


def strided_1x1_convolution() -> bool:
    """The input gradient of a 1x1 convolution with a stride writes outside of its buffer: a crash, sooner or later.

    Where it wrote over what oneDNN keeps of its own, that says that it "could not create a primitive descriptor".
    """
    x, kernel = tf.random.normal([1, 16, 16, 4], seed=1), tf.random.normal([1, 1, 4, 8], seed=2)

    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(tf.nn.conv2d(x, kernel, 2, "SAME") ** 3)
        return tape.gradient(value, x)

    traced = tf.function(gradient)
    try:
        for _ in range(60):
            gradient(x)
            traced(x)
    except tf.errors.AbortedError:
        return True
    return False


def time_distributed() -> bool:
    """With a free number of steps, ``TimeDistributed`` only looks at as many steps as there are samples."""
    layer = keras.layers.TimeDistributed(keras.layers.Dense(3))
    x = np.random.default_rng(1).normal(size=(2, 5, 4)).astype(np.float32)
    expected = layer(x).numpy()
    try:
        found = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 4])])(x).numpy()
    except (ValueError, TypeError, tf.errors.OpError):
        return True
    return found.shape != expected.shape or not np.allclose(found, expected, atol=1e-5)


DEFECTS: dict[str, Callable[[], bool]] = {
    defect.__name__: defect
    for defect in (
        batched_product,
        block_lstm_gradient,
        cumulative_logsumexp,
        dilated_convolution,
        dropped_gradients,
        empty_convolution,
        grouped_convolution,
        indexed_slices,
        known_sizes,
        letter_case,
        missing_partials,
        no_kernel_gradient,
        rounded_constants,
        silent_gradients,
        strided_1x1_convolution,
        time_distributed,
    )
}

if __name__ == "__main__":
    print("present" if DEFECTS[sys.argv[1]]() else "gone")
