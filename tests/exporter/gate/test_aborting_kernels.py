"""Models whose TensorFlow kernels end the process at sizes that the caller did not give: those are not tried."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.gate.sampling.aborting_kernels import aborting_kernel


def power(x: Any) -> Any:
    return tf.reduce_sum(tf.signal.irfft(tf.complex(x, 2.0 * x)) ** 2, -1)


def framed_power(x: Any) -> Any:
    return tf.reduce_sum(tf.abs(tf.signal.rfft(x, [8])) ** 2, -1)


def graph(function: Any, *shape: int | None) -> Any:
    return tf.function(function).get_concrete_function(tf.TensorSpec(shape)).graph


def test_a_length_from_the_input_may_be_zero_and_a_constant_is_not() -> None:
    assert aborting_kernel(graph(power, None, None)) == "IRFFT"
    assert not aborting_kernel(graph(framed_power, None, None))
    assert aborting_kernel(graph(tf.function(power), None, None)) == "IRFFT"  # called, not inlined


@pytest.mark.parametrize("form", [power, tf.function(power)], ids=["eager", "graph"])
def test_sizes_of_the_samples_are_compared_and_the_report_says_so(tmp_path: pathlib.Path, form: Any) -> None:
    """At one frequency the length is zero, and TensorFlow's kernel aborts."""
    rng = np.random.default_rng(4)
    samples = [{"x": rng.normal(size=(3, size)).astype(np.float32)} for size in (5, 8)]
    inputs = [tf.TensorSpec([None, None], name="x")]
    said: list[str] = []
    bundle = export(
        form, tmp_path / "bundle", "vjp(y, x)", inputs=inputs, outputs=["y"], samples=samples, progress=said.append
    )
    assert any("kernel of IRFFT" in line for line in said)
    x = samples[1]["x"]
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        value = power(given)
    found = bundle.vjp(x=x, adj_y=np.ones(3, np.float32)).adj_x
    np.testing.assert_allclose(found, tape.gradient(value, given), rtol=1e-5, atol=1e-5)
