"""A detector through ``export``: derivatives of what is kept, through the indices of non-maximum suppression."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pullback_export import export
from pullback_export.errors import UnsupportedOpsError

CORNERS = np.random.default_rng(3).uniform(0, 4, (9, 2))
ANCHORS = np.concatenate([CORNERS, CORNERS + 1.5], 1).astype(np.float32)
SPEC = tf.TensorSpec([9, 5], tf.float32, name="x")


def detector(x: Any) -> Any:
    """Weighted area of the boxes that ``x (9, 5)``, four shifts and a score each, leaves."""
    boxes = tf.constant(ANCHORS) + 0.2 * tf.tanh(x[:, :4])
    scores = tf.sigmoid(x[:, 4])
    kept = tf.image.non_max_suppression(boxes, scores, 5, iou_threshold=0.3, score_threshold=0.2)
    corners = tf.gather(boxes, kept)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    return {"y": tf.reduce_sum(areas * tf.gather(scores, kept))}


def test_a_detector(tmp_path: pathlib.Path) -> None:
    bundle = export(detector, tmp_path / "a.pullback", ["gradient(y, x)"], inputs=[SPEC], batched=False)
    x = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        y = detector(given)["y"]
    found = bundle(x=x)
    np.testing.assert_allclose(found.y, y, rtol=1e-5)
    np.testing.assert_allclose(found.dy_dx, tape.gradient(y, given), rtol=1e-4, atol=1e-5)


def test_soft_suppression_is_refused(tmp_path: pathlib.Path) -> None:
    def soft(x: Any) -> Any:
        kept, _ = tf.image.non_max_suppression_with_scores(tf.constant(ANCHORS), x[:, 4], 5, soft_nms_sigma=0.5)
        return {"y": tf.reduce_sum(tf.gather(x, kept))}

    with pytest.raises(UnsupportedOpsError, match="soft suppression"):
        export(soft, tmp_path / "a.pullback", inputs=[SPEC], batched=False)
