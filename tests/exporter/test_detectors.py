"""A detector through ``export``: derivatives of what is kept, through the indices of non-maximum suppression."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from pullback_export import export

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


def softly(x: Any) -> Any:
    """The same with scores that overlaps lower, as the kernel returns them."""
    boxes = tf.constant(ANCHORS) + 0.2 * tf.tanh(x[:, :4])
    scores = tf.sigmoid(x[:, 4])
    kept, lowered = tf.image.non_max_suppression_with_scores(
        boxes, scores, 5, iou_threshold=0.3, score_threshold=0.05, soft_nms_sigma=0.3
    )
    corners = tf.gather(boxes, kept)
    return {"y": tf.reduce_sum(tf.reduce_sum(corners**2, 1) * tf.gather(scores, kept)), "scores": lowered}


def test_soft_suppression(tmp_path: pathlib.Path) -> None:
    bundle = export(softly, tmp_path / "a.pullback", ["gradient(y, x)"], inputs=[SPEC], batched=False)
    x = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(given := tf.constant(x))
        wanted = softly(given)
    found = bundle(x=x)
    np.testing.assert_allclose(found.y, wanted["y"], rtol=1e-5)
    np.testing.assert_allclose(found.scores, wanted["scores"], rtol=1e-5)
    assert (found.scores < tf.sigmoid(x[:, 4]).numpy().max()).any()
    np.testing.assert_allclose(found.dy_dx, tape.gradient(wanted["y"], given), rtol=1e-4, atol=1e-5)
