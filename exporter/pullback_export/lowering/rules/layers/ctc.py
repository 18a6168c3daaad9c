"""Connectionist temporal classification (Graves et al. 2006): the loss and its derivative from one pass each way."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import elementary
from pullback_export.lowering.numerics.matrices.batches import as_index, indices, repeat, scalar_size
from pullback_export.lowering.registry import lowers


@lowers("CTCLoss")
def ctc_loss(op: OpContext, logits: Value, at: Value, labels: Value, lengths: Value) -> list[Value]:
    """``-log p(labels)`` of each sample and its derivative ``softmax - occupancy`` with respect to ``logits``
    ``(time, batch, classes)``, zero beyond the sample's length. The last class is the blank.

    An infeasible sample, with more labels than steps, has an infinite loss and a zero derivative; TensorFlow stops
    there unless ``ignore_longer_outputs_than_inputs`` is set.
    """
    if op.attr("preprocess_collapse_repeated") or not op.attr("ctc_merge_repeated"):
        raise op.unsupported(
            "preprocess_collapse_repeated=True and ctc_merge_repeated=False are not supported; use the defaults"
        )
    dtype = logits.dtype
    steps, batch, classes = logits.dims
    log_p = elementary.log_softmax(op, logits, 2)
    states, last = _states(op, at, labels, batch, classes)
    every = op.Expand(op.Unsqueeze(states, [0]), op.sizes([steps, *states.dims]))
    emission = op.GatherElements(log_p, every, axis=2)
    place = op.Unsqueeze(indices(op, states.dims[1]), [0])
    allowed = place <= last
    again = op.Concat(_row_of_blanks(op, states, 2), op.Slice(states, [0], [-2], [1]), axis=1)
    skips = (op.Mod(place, op.const(2, np.int64)).equals(1)) & ~states.equals(again) & (place > 1)
    ends = op.Unsqueeze(op.cast(lengths, np.int64), [1])
    trellis = _Trellis(op, place, allowed, skips, ends)
    last_alpha, alphas = trellis.forward(emission, steps)
    betas = trellis.backward(emission, steps, last)
    final = op.Where((place.equals(last) | place.equals(last - 1)) & (ends > 0), last_alpha, op.const(-np.inf, dtype))
    total = _log_sum(op, final)
    feasible = op.Unsqueeze(total > op.const(-np.inf, dtype), [0])
    safe = op.Where(feasible, op.Unsqueeze(total, [0]), op.const(0, dtype))
    occupancy = op.Exp(alphas + betas - safe)
    one_hot = op.cast(op.Unsqueeze(states, [2]).equals(op.Reshape(indices(op, classes), [1, 1, -1])), dtype)
    counts = op.transpose(op.transpose(occupancy, [1, 0, 2]) @ one_hot, [1, 0, 2])
    inside = op.Unsqueeze(op.Unsqueeze(indices(op, steps), [1]) < op.transpose(ends, [1, 0]), [2])
    derivative = op.Where(inside & feasible, op.Exp(log_p) - counts, op.const(0, dtype))
    return [op.Squeeze(-total, [1]), derivative]


class _Trellis:
    """Steps through the states of a sample: to stay, to go on by one, or by two over a blank between unlike labels."""

    def __init__(self, op: OpContext, place: Value, allowed: Value, skips: Value, ends: Value) -> None:
        self.op, self.place, self.allowed, self.skips, self.ends = op, place, allowed, skips, ends

    def forward(self, emission: Value, steps: Any) -> tuple[Value, Value]:
        """Log probabilities of the steps up to t that end in a state: after the last step, and after each one."""
        nothing = self.op.const(-np.inf, emission.dtype)
        skips = self.op.Where(self.skips, self.op.const(0, emission.dtype), nothing)

        def step(op: OpContext, t: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
            (alpha,) = state
            sources = [alpha, _shifted(op, alpha, 1), _shifted(op, alpha, 2) + skips]
            begun = op.Where(as_index(op, t).equals(0), op.Where(self.place < 2, zero, nothing), _join(op, sources))
            entered = op.Where(self.allowed, begun, nothing) + op.Gather(emission, as_index(op, t), axis=0)
            alpha = op.Where(self.ends > as_index(op, t), entered, alpha)
            return [alpha], [alpha]

        zero = self.op.const(0, emission.dtype)
        start = self.op.full(self.op.shape_of(self._like(emission)), -np.inf, emission.dtype)
        (alpha,), (alphas,) = repeat(self.op, steps, [start], step)
        return alpha, alphas

    def backward(self, emission: Value, steps: Any, last: Value) -> Value:
        """Log probabilities of the steps after t that begin in a state."""
        op = self.op
        nothing, zero = op.const(-np.inf, emission.dtype), op.const(0, emission.dtype)
        ready = op.Where(self.place.equals(last) | self.place.equals(last - 1), zero, nothing)
        skips = _shifted(op, op.Where(self.skips, zero, nothing), -2)
        final = scalar_size(op, steps) - 1

        def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
            beta, following = state
            t = final - as_index(op, k)
            onward = beta + following
            moved = _join(op, [onward, _shifted(op, onward, -1), _shifted(op, onward, -2) + skips])
            chosen = op.Where(self.ends.equals(t + 1), ready, op.Where(self.ends > t + 1, moved, nothing))
            beta = op.Where(self.allowed, chosen, nothing)
            return [beta, op.Gather(emission, t, axis=0)], [beta]

        shape = op.shape_of(self._like(emission))
        start = [op.full(shape, -np.inf, emission.dtype), op.full(shape, 0, emission.dtype)]
        _, (betas,) = repeat(op, steps, start, step)
        return op.Gather(betas, final - indices(op, steps), axis=0)

    def _like(self, emission: Value) -> Value:
        return self.op.ReduceMax(emission, [0], keepdims=0)


def _states(op: OpContext, at: Value, labels: Value, batch: Any, classes: Any) -> tuple[Value, Value]:
    """Each sample's labels with blanks around them, ``(batch, 2 n + 1)``, and the number of its last state."""
    blank = scalar_size(op, classes) - 1
    positions = op.Reshape(op.Gather(at, op.const(1, np.int64), axis=1), [-1])
    longest = op.ReduceMax(op.Concat(positions + 1, op.const([0], np.int64), axis=0), [0], keepdims=1)
    shape = op.Concat(op.sizes([batch]), longest, axis=0)
    width = op.graph.fresh_size("labels")
    dense = op.ScatterND(op.Expand(blank, shape), at, op.cast(labels, np.int64))
    dense.refine((batch, width))
    blanks = op.Expand(blank, op.shape_of(dense))
    pairs = op.Concat(op.Unsqueeze(blanks, [2]), op.Unsqueeze(dense, [2]), axis=2)
    states = op.Concat(op.reshape(pairs, [batch, width * 2]), op.Expand(blank, op.sizes([batch, 1])), axis=1)
    rows = op.Slice(at, [0], [1], [1])
    ones = op.Expand(op.const(1, np.int64), op.shape_of(positions))
    counts = op.ScatterND(op.full([batch], 0, np.int64), rows, ones, reduction="add")
    return states, op.Unsqueeze(counts * 2, [1])


def _row_of_blanks(op: OpContext, states: Value, count: int) -> Value:
    return op.Expand(op.const(-1, np.int64), op.sizes([states.dims[0], count]))


def _shifted(op: OpContext, x: Value, by: int) -> Value:
    """``x`` moved along the states by ``by`` places; -infinity comes in."""
    count = abs(by)
    pads = [0] * (2 * x.rank)
    pads[x.rank - 1 if by > 0 else 2 * x.rank - 1] = count
    padded = op.Pad(x, pads, op.const(-np.inf, x.dtype))
    start, stop = (0, -count) if by > 0 else (count, 2**31 - 1)
    result: Value = op.Slice(padded, [start], [stop], [x.rank - 1])
    result.refine(x.shape)
    return result


def _join(op: OpContext, terms: list[Value]) -> Value:
    """``log(sum(exp(terms)))``."""
    largest = op.Max(*terms)
    level = op.Where(largest.equals(-np.inf), op.const(0, largest.dtype), largest)
    return level + op.Log(op.Sum(*[op.Exp(term - level) for term in terms]))


def _log_sum(op: OpContext, x: Value) -> Value:
    """``log(sum(exp(x)))`` over the last axis, kept."""
    largest = op.ReduceMax(x, [-1], keepdims=1)
    level = op.Where(largest.equals(-np.inf), op.const(0, largest.dtype), largest)
    return level + op.Log(op.ReduceSum(op.Exp(x - level), [-1], keepdims=1))
