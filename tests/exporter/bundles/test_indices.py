"""Indices that a caller passes: out of range on either side they are refused, as the live model does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from pullback.manifest import Tolerance
from pullback_export.artifacts import onnx_model
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import trace
from pullback_export.sources.opening import open_source

SIZE = 5
TABLE = tf.constant(np.random.default_rng(0).normal(size=(SIZE, 3)).astype(np.float32))


def batched(x: Any, i: Any) -> Any:
    """Of each row of ``x``, which is repeated to a table, its own element."""
    return tf.gather(tf.repeat(x, 2, 1)[:, :SIZE], i, axis=1, batch_dims=1)


PICKS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("rows", lambda x, i: tf.gather(TABLE, i) * x),
    ("one", lambda x, i: tf.gather(TABLE, i[0]) * x + tf.gather(TABLE, i) * x),
    ("columns", lambda x, i: tf.gather(tf.transpose(TABLE), i, axis=1)[0][:, None] * x),
    ("batched", lambda x, i: batched(x, i)[:, None] * x),
    ("vectors", lambda x, i: tf.gather_nd(TABLE, tf.stack([i, tf.zeros_like(i)], 1))[:, None] * x),
    ("arithmetic", lambda x, i: tf.gather(TABLE, 2 * i - i) * x),
    ("numbers", lambda x, i: tf.gather(TABLE, tf.cast(tf.floor(tf.cast(i, tf.float32) + 0.5), tf.int32)) * x),
]


@pytest.mark.parametrize("pick", [row[1] for row in PICKS], ids=[row[0] for row in PICKS])
def test_out_of_range_is_refused(pick: Callable[[Any, Any], Any]) -> None:
    signature = [tf.TensorSpec((None, 3), tf.float32, "x"), tf.TensorSpec((None,), tf.int32, "i")]
    live = tf.function(lambda x, i: {"y": pick(x, i)}, input_signature=signature)
    source = open_source(live, None, None, None, False)
    (function,) = Derivatives(source, [parse_request("vjp(y, x)")], "error").functions()[:1]
    content = onnx_model.build(trace(function), source.batched, 18, Tolerance()).content
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    for indices in ([0, 1, SIZE - 1, 0], [-1, 0, 0, 0], [0, 0, SIZE, 0], [0, -SIZE - 1, 0, 0]):
        i = np.array(indices, np.int32)
        if i.min() >= 0 and i.max() < SIZE:
            np.testing.assert_allclose(session.run(["y"], {"x": x, "i": i})[0], live(x, i)["y"], rtol=1e-6)
            continue
        with pytest.raises(tf.errors.InvalidArgumentError):
            live(x, i)
        with pytest.raises(Exception, match=r"out of data bounds|invalid index"):
            session.run(["y"], {"x": x, "i": i})
