"""Products are right within ``overrides()`` where TensorFlow's own are not, and untouched in all other processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from pullback import onednn
from pullback_export.overrides import batched_product, overrides
from tensorflow.python.ops import gen_math_ops

# TensorFlow has computed, with oneDNN on, before the exporter is imported.
PROGRAM = """
import numpy as np, tensorflow as tf
tf.nn.conv2d(tf.ones([1, 4, 4, 1]), tf.ones([3, 3, 1, 1]), 1, "SAME")
from pullback import onednn
from pullback_export.overrides import overrides
from tensorflow.python.ops import gen_math_ops
original, rng = gen_math_ops.batch_mat_mul_v2, np.random.default_rng(0)
SHAPES = [
    ((4, 1, 16, 16), (1, 16, 12)),
    ((1, 16, 16), (4, 3, 16, 12)),
    ((3, 1, 8, 16), (5, 16, 16)),
    ((0, 1, 4, 4), (2, 4, 4)),
]
with overrides():
    changed = gen_math_ops.batch_mat_mul_v2 is not original
    for shapes in SHAPES:
        a, b = (rng.normal(size=shape).astype(np.float32) for shape in shapes)

        def both(x, y):
            with tf.GradientTape() as tape:
                tape.watch([x, y])
                z = tf.matmul(x, y)
                energy = tf.reduce_sum(z ** 2)
            return (z, *tape.gradient(energy, [x, y]))

        free = [tf.TensorSpec([None] * a.ndim), tf.TensorSpec([None] * b.ndim)]
        z = a.astype(float) @ b
        wide = lambda m: np.broadcast_to(m, (*z.shape[:-2], *m.shape[-2:])).swapaxes(-1, -2)

        def sum_to(g, shape):
            g = g.sum(tuple(range(g.ndim - len(shape))))
            return g.sum(tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1), keepdims=True)
        expected = z, sum_to(2 * z @ wide(b), a.shape), sum_to(wide(a) @ (2 * z), b.shape)
        for function in (both, tf.function(both), tf.function(both, input_signature=free)):
            for _ in range(5):
                for found, right in zip(function(tf.constant(a), tf.constant(b)), expected):
                    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-3)
assert gen_math_ops.batch_mat_mul_v2 is original
print("unsafe" if changed else "safe")
"""


def test_products_are_right_where_tensorflow_has_computed_with_onednn() -> None:
    environment = {key: item for key, item in os.environ.items() if key not in (onednn.SWITCH, *onednn.LIMITS)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == ("unsafe" if onednn.has_avx512() else "safe")


@pytest.mark.parametrize("safe", [True, False])
def test_only_where_products_are_unsafe(safe: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batched_product.onednn, "make_safe", lambda: safe)
    before = gen_math_ops.batch_mat_mul_v2, gen_math_ops.batch_mat_mul_v3
    with overrides():
        inside = gen_math_ops.batch_mat_mul_v2, gen_math_ops.batch_mat_mul_v3
    assert [one is other for one, other in zip(before, inside, strict=True)] == [safe, safe]
    assert before == (gen_math_ops.batch_mat_mul_v2, gen_math_ops.batch_mat_mul_v3)
