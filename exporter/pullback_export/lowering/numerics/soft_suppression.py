"""Soft non-maximum suppression: boxes that overlap with those that are kept lose score, and none is dropped for it.

It does what TensorFlow's kernel does, step by step (non_max_suppression_op.cc, ``DoNonMaxSuppressionOp``): the box with
the largest score loses what the boxes kept since it was last seen take away; if that is nothing, it is kept, else it
waits again with its new score. A negative score grows that way, so that the order of the steps counts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.matrices.batches import repeat_while


@dataclasses.dataclass(frozen=True)
class Kept:
    """Indices and scores of the boxes that are kept, zeros behind them, and how many they are, int64 (a scalar)."""

    boxes: Value
    scores: Value
    count: Value


def suppressed_softly(
    op: OpContext, boxes: Value, scores: Value, most: Value, least: Value, sigma: np.ndarray[Any, Any]
) -> Kept:
    """At most ``most`` of the boxes ``(N, 4)``, with scores above ``least``; ``sigma``: the width of the loss."""
    gone = op.const(-np.inf, scores.dtype)
    waiting = op.Where(scores > least, scores, gone)
    slots = op.Range(op.const(0, np.int64), most, op.const(1, np.int64))
    chosen, chosen_scores = op.full_like(slots, 0), op.full_like(slots, 0, scores.dtype)
    indices = op.Range(op.const(0, np.int64), op.Size(scores), op.const(1, np.int64))
    scale = np.asarray(np.float32(-0.5) / np.float32(sigma), np.float32)

    def step(op: OpContext, number: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        waiting, seen, chosen, chosen_scores, count = state
        best = op.ArgMax(waiting, axis=0, keepdims=0)
        score = op.Gather(waiting, best, axis=0)
        new_ones = ~(slots < op.Gather(seen, best, axis=0)) & (slots < count)
        overlap = _overlaps(op, op.Gather(boxes, best, axis=0), op.Gather(boxes, chosen, axis=0))
        weight = op.Where(new_ones, op.Exp(overlap * scale * overlap), op.const(1, scores.dtype))
        left = score * op.ReduceProd(weight, [0], keepdims=0)
        keeps = left.equals(score) & (score > gone)
        here = indices.equals(best)
        stays = op.Where((left > least) & ~keeps, left, gone)
        waiting = op.Where(here, stays, waiting)
        seen = op.Where(here, count, seen)
        slot = slots.equals(count) & keeps
        chosen, chosen_scores = op.Where(slot, best, chosen), op.Where(slot, score, chosen_scores)
        count = count + op.cast(keeps, np.int64)
        goes_on = (op.ReduceMax(waiting, [0], keepdims=0) > gone) & (count < most)
        return [waiting, seen, chosen, chosen_scores, count], [goes_on]

    state = [waiting, op.full_like(indices, 0), chosen, chosen_scores, op.const(0, np.int64)]
    # Each box waits again at most once for each that is kept; where there is none, nothing is to do.
    limit = op.Size(scores) * (most + 1) * op.cast(most > 0, np.int64)
    _, _, chosen, chosen_scores, count = repeat_while(op, limit, state, step)
    return Kept(chosen, chosen_scores, count)


def _overlaps(op: OpContext, box: Value, others: Value) -> Value:
    """Intersection over union of one box and ``others``, zero where either has no area."""
    (top, left, bottom, right), (tops, lefts, bottoms, rights) = _corners(op, box), _corners(op, others)
    areas = (bottoms - tops) * (rights - lefts)
    area = (bottom - top) * (right - left)
    zero = op.const(0, box.dtype)
    height = op.Max(op.Min(bottom, bottoms) - op.Max(top, tops), zero)
    width = op.Max(op.Min(right, rights) - op.Max(left, lefts), zero)
    shared = height * width
    return op.Where((area > 0) & (areas > 0), shared / (area + areas - shared), zero)


def _corners(op: OpContext, boxes: Value) -> list[Value]:
    """Top, left, bottom and right of each box; corners may be given in any order."""
    y1, x1, y2, x2 = (op.Gather(boxes, op.const(place, np.int64), axis=-1) for place in range(4))
    return [op.Min(y1, y2), op.Min(x1, x2), op.Max(y1, y2), op.Max(x1, x2)]
