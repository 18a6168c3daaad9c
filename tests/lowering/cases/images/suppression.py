"""Detectors: which boxes are kept; derivatives flow through the boxes and scores that are gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Case, fixed

F32 = ("float32",)  # TensorFlow has no float64 kernel
RNG = np.random.default_rng(5)
CORNERS = RNG.uniform(0, 4, (12, 2))
BOXES = np.concatenate([CORNERS, CORNERS + RNG.uniform(0.5, 3, (12, 2))], 1)
SCORES = RNG.uniform(0, 1, 12)
TIED = np.repeat([0.9, 0.4, 0.7], 4)
FLIPPED = BOXES[:, [2, 1, 0, 3]]
# The second has an overlap of exactly 0.5 with the first, the third of 1, the fourth touches only.
EDGES = np.array([[0, 0, 2, 2], [0, 0, 2, 1], [0, 0, 2, 2], [2, 0, 4, 2], [1, 1, 1, 1]])


def _read(boxes: Any, scores: Any, kept: Any) -> Any:
    return tf.sin(tf.gather(boxes, kept)) * tf.gather(scores, kept)[:, None]


def _v3(count: int, overlap: float, least: float) -> Any:
    def detect(boxes: Any, scores: Any) -> Any:
        kept = tf.raw_ops.NonMaxSuppressionV3(
            boxes=boxes, scores=scores, max_output_size=count, iou_threshold=overlap, score_threshold=least
        )
        return _read(boxes, scores, kept)

    return detect


def _v2(boxes: Any, scores: Any) -> Any:
    kept = tf.raw_ops.NonMaxSuppressionV2(boxes=boxes, scores=scores, max_output_size=5, iou_threshold=0.3)
    return _read(boxes, scores, kept)


def _v1(boxes: Any, scores: Any) -> Any:
    kept = tf.raw_ops.NonMaxSuppression(boxes=boxes, scores=scores, max_output_size=5, iou_threshold=0.3)
    return _read(boxes, scores, kept)


def _v4(pad: bool) -> Any:
    def detect(boxes: Any, scores: Any) -> Any:
        kept, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=boxes,
            scores=scores,
            max_output_size=20,
            iou_threshold=0.3,
            score_threshold=0.2,
            pad_to_max_output_size=pad,
        )
        return _read(boxes, scores, kept) * tf.cast(count, boxes.dtype), kept

    return detect


def _v5(pad: bool) -> Any:
    def detect(boxes: Any, scores: Any) -> Any:
        kept, chosen, count = tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes,
            scores=scores,
            max_output_size=20,
            iou_threshold=0.3,
            score_threshold=0.2,
            soft_nms_sigma=0.0,
            pad_to_max_output_size=pad,
        )
        return _read(boxes, scores, kept) * tf.cast(count, boxes.dtype), tf.stop_gradient(chosen), kept

    return detect


def _soft(sigma: float, count: int = 20, least: float = float("-inf"), pad: bool = False) -> Any:
    def detect(boxes: Any, scores: Any) -> Any:
        kept, chosen, valid = tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes,
            scores=scores,
            max_output_size=count,
            iou_threshold=0.3,
            score_threshold=least,
            soft_nms_sigma=sigma,
            pad_to_max_output_size=pad,
        )
        return _read(boxes, scores, kept) * tf.cast(valid, boxes.dtype), tf.stop_gradient(chosen), kept

    return detect


def _row(name: str, op: str, function: Any, boxes: Any = BOXES, scores: Any = SCORES) -> Case:
    return Case(f"nms_{name}", op, function, (fixed(boxes), fixed(scores)), order=2, dtypes=F32, smooth=False)


CASES = [
    _row("v1", "NonMaxSuppression", _v1),
    _row("v2", "NonMaxSuppressionV2", _v2),
    _row("v3", "NonMaxSuppressionV3", _v3(6, 0.4, 0.3)),
    _row("v3_ties", "NonMaxSuppressionV3", _v3(12, 0.4, 0.4), BOXES, TIED),
    _row("v3_flipped", "NonMaxSuppressionV3", _v3(12, 0.4, 0.0), FLIPPED),
    _row("v3_edges", "NonMaxSuppressionV3", _v3(9, 0.5, float("-inf")), EDGES, [0.9, 0.8, 0.7, 0.9, 0.1]),
    _row("v3_all_overlaps", "NonMaxSuppressionV3", _v3(9, 1.0, float("-inf")), EDGES, [0.9, 0.8, 0.7, 0.9, 0.1]),
    _row("v3_no_overlap", "NonMaxSuppressionV3", _v3(9, 0.0, float("-inf")), EDGES, [0.9, -0.8, 0.7, 0.9, 0.1]),
    _row("v3_threshold", "NonMaxSuppressionV3", _v3(9, 0.9, 0.5), EDGES, [0.9, 0.5, 0.7, 0.25, 0.5]),
    _row("v4", "NonMaxSuppressionV4", _v4(False)),
    _row("v4_padded", "NonMaxSuppressionV4", _v4(True)),
    _row("v5", "NonMaxSuppressionV5", _v5(False)),
    _row("v5_padded", "NonMaxSuppressionV5", _v5(True)),
    _row("v5_soft", "NonMaxSuppressionV5", _soft(0.5)),
    _row("v5_soft_padded", "NonMaxSuppressionV5", _soft(0.2, pad=True)),
    _row("v5_soft_few", "NonMaxSuppressionV5", _soft(0.4, 5, 0.1)),
    _row("v5_soft_none", "NonMaxSuppressionV5", _soft(0.4, 5, 2.0, pad=True)),
    _row("v5_soft_ties", "NonMaxSuppressionV5", _soft(0.3, 9, 0.05), BOXES, TIED),
    _row("v5_soft_negative", "NonMaxSuppressionV5", _soft(0.3), BOXES, SCORES - 0.8),
    _row("v5_soft_edges", "NonMaxSuppressionV5", _soft(0.5), EDGES, [0.9, 0.8, 0.7, 0.9, 0.1]),
    _row("v5_soft_flipped", "NonMaxSuppressionV5", _soft(0.5, 6), FLIPPED),
]
