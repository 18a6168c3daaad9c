"""Strided 1x1 convolutions: the gradients are right, and a process that has oneDNN on survives them."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import numpy as np
import tensorflow as tf
from pullback_export.overrides.strided_1x1_convolution import safe_convolution

x, kernel = tf.random.normal([1, 16, 16, 4]), tf.random.normal([1, 1, 4, 8])


def convolution(x, kernel):
    return tf.reduce_sum(tf.nn.conv2d(x, kernel, 2, PADDING) ** 3)


def product(x, kernel):
    return tf.reduce_sum(tf.einsum("nhwc,cd->nhwd", x[:, ::2, ::2], kernel[0, 0]) ** 3)


def gradients(function):
    with tf.GradientTape() as outer:
        outer.watch([x, kernel])
        with tf.GradientTape() as inner:
            inner.watch([x, kernel])
            value = function(x, kernel)
        first = inner.gradient(value, [x, kernel])
        total = tf.add_n([tf.reduce_sum(gradient ** 2) for gradient in first])
    return first + outer.gradient(total, [x, kernel])


expected = gradients(product)
for PADDING in ("SAME", "VALID"):
    with safe_convolution():
        answers = [gradients(convolution) for _ in range(30)]
        answers.append(gradients(tf.function(convolution)))
        answers.append(tf.function(lambda: gradients(convolution))())
    for answer in answers:
        for mine, theirs in zip(answer, expected):
            np.testing.assert_allclose(mine, theirs, atol=1e-4 * np.abs(theirs).max())
print("survived")
"""


def test_gradients_with_onednn_on() -> None:
    environment = {key: item for key, item in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    environment["TF_ENABLE_ONEDNN_OPTS"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "survived" in done.stdout
