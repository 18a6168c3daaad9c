"""Non-maximum suppression: which boxes a detector keeps (``NonMaxSuppression`` of ONNX, TensorFlow's kernel).

Both visit boxes by falling score, the first of equal ones first, drop a box whose overlap with a kept one is above the
threshold, and skip scores that are not above the score threshold. The indices are whole numbers: derivatives flow
through what is gathered with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.soft_suppression import Kept, suppressed_softly
from pullback_export.lowering.registry import lowers


@lowers("NonMaxSuppression")
def suppression(op: OpContext, boxes: Value, scores: Value, count: Value) -> Value:
    """Indices ``(K,)`` of the boxes ``(N, 4)`` that are kept; the overlap threshold is an attribute."""
    return op.cast(_kept(op, boxes, scores, count, op.const(op.attr("iou_threshold"), np.float32), None), np.int32)


@lowers("NonMaxSuppressionV2")
def suppression_v2(op: OpContext, boxes: Value, scores: Value, count: Value, overlap: Value) -> Value:
    """Indices ``(K,)`` of the boxes ``(N, 4)`` that are kept."""
    return op.cast(_kept(op, boxes, scores, count, overlap, None), np.int32)


@lowers("NonMaxSuppressionV3")
def suppression_v3(op: OpContext, boxes: Value, scores: Value, count: Value, overlap: Value, least: Value) -> Value:
    """Indices ``(K,)`` of the boxes that are kept, with scores above ``least``."""
    return op.cast(_kept(op, boxes, scores, count, overlap, least), np.int32)


@lowers("NonMaxSuppressionV4")
def suppression_v4(
    op: OpContext, boxes: Value, scores: Value, count: Value, overlap: Value, least: Value
) -> list[Value]:
    """Indices, padded with 0 to ``count`` where the attribute says so, and how many are kept (a scalar)."""
    kept = _kept(op, boxes, scores, count, overlap, least)
    return [op.cast(_padded(op, kept, count), np.int32), op.cast(_length(op, kept), np.int32)]


@lowers("NonMaxSuppressionV5")
def suppression_v5(
    op: OpContext, boxes: Value, scores: Value, count: Value, overlap: Value, least: Value, sigma: Value
) -> list[Value]:
    """Indices, scores and how many are kept; with ``soft_nms_sigma`` overlaps lower scores, and drop nothing."""
    width = op.constant_of(sigma, "soft_nms_sigma")
    _require_float32(op, boxes)
    if np.any(width > 0):
        return _softly(op, suppressed_softly(op, boxes, scores, op.cast(count, np.int64), least, width))
    kept = _kept(op, boxes, scores, count, overlap, least)
    chosen = op.Gather(scores, kept, axis=0)
    return [
        op.cast(_padded(op, kept, count), np.int32),
        _padded(op, chosen, count),
        op.cast(_length(op, kept), np.int32),
    ]


def _softly(op: OpContext, found: Kept) -> list[Value]:
    kept, chosen = found.boxes, found.scores
    if not _pads(op):
        end = op.reshape(found.count, [1])
        kept, chosen = op.Slice(kept, [0], end, [0]), op.Slice(chosen, [0], end, [0])
    return [op.cast(kept, np.int32), chosen, op.cast(found.count, np.int32)]


def _kept(op: OpContext, boxes: Value, scores: Value, count: Value, overlap: Value, least: Value | None) -> Value:
    """Indices ``(K,)`` of int64."""
    _require_float32(op, boxes)
    found = op.NonMaxSuppression(
        op.Unsqueeze(boxes, [0]),
        op.Unsqueeze(scores, [0, 1]),
        op.reshape(op.cast(count, np.int64), [1]),
        op.reshape(op.cast(overlap, np.float32), [1]),
        None if least is None else op.reshape(op.cast(least, np.float32), [1]),
    )
    return op.Squeeze(op.Slice(found, [2], [3], [1]), [1])


def _require_float32(op: OpContext, boxes: Value) -> None:
    if boxes.dtype != np.float32:
        raise op.unsupported(f"boxes of {boxes.dtype}: ONNX's operator takes float32 only; cast them to float32")


def _length(op: OpContext, kept: Value) -> Value:
    return op.Squeeze(op.shape_of(kept), [0])


def _padded(op: OpContext, kept: Value, count: Value) -> Value:
    """``kept`` with zeros behind it up to ``count``, where the operator pads."""
    if not _pads(op):
        return kept
    missing = op.reshape(op.cast(count, np.int64), [1]) - op.shape_of(kept)
    return op.Pad(kept, op.Concat(op.const([0], np.int64), missing, axis=0))


def _pads(op: OpContext) -> Any:
    return op.attr("pad_to_max_output_size")
