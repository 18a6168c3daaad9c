"""An LSTM over all steps in one operator, and its gradient (tensorflow/core/kernels/rnn/lstm_ops.cc and lstm_ops.h)."""

from __future__ import annotations

from typing import Any

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics import elementary
from pullback_export.lowering.numerics.matrices.batches import as_index, indices, repeat, scalar_size
from pullback_export.lowering.registry import lowers

# The order of the gates in the columns of the weights: input, cell, forget, output.
_ORDER = {"BlockLSTM": "icfo", "BlockLSTMV2": "ifco", "BlockLSTMGrad": "icfo", "BlockLSTMGradV2": "ifco"}
_RESULTS = ("i", "cs", "f", "o", "ci", "co", "h")


@lowers("BlockLSTM", "BlockLSTMV2")
def block_lstm(
    op: OpContext, length: Value, x: Value, cs: Value, h: Value, w: Value, wci: Value, wcf: Value, wco: Value, b: Value
) -> list[Value | None]:
    """For ``t < length``, from ``x[t]`` and the step before: ``i, f = sigmoid``, ``ci = tanh``,
    ``cs = clip(i ci + f cs)``, ``o = sigmoid``, ``h = o tanh(cs)`` of the gates ``[x, h] w + b``, all (time, batch,
    cells). Peepholes add ``cs wci`` to i, ``cs wcf`` to f, and the new ``cs wco`` to o. Later steps are 0; TensorFlow
    leaves all but ``cs`` and ``h`` undefined there.
    """
    peephole, clip = bool(op.attr("use_peephole")), float(op.attr("cell_clip"))
    bias = float(op.attr("forget_bias")) if op.type == "BlockLSTM" else 0.0
    inputs, cells = x.dims[2], cs.dims[1]
    if not isinstance(inputs, int) or not isinstance(cells, int):
        raise op.unsupported("the number of features or of cells is free; fix the last axis of the input's shape")
    entered = x @ op.Slice(w, [0], [inputs], [0]) + b
    recurrent = op.Slice(w, [inputs], [inputs + cells], [0])

    def step(op: OpContext, t: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        cs, h = state
        gates = op.Gather(entered, as_index(op, t), axis=0) + h @ recurrent
        columns = op.Split(gates, [cells] * 4, axis=1, outputs=4)
        at = dict(zip(_ORDER[op.type], columns, strict=True))
        i = elementary.sigmoid(op, at["i"] + cs * wci if peephole else at["i"])
        f = elementary.sigmoid(op, at["f"] + bias + cs * wcf if peephole else at["f"] + bias)
        ci = op.Tanh(at["c"])
        cs = i * ci + f * cs
        if clip > 0:
            cs = op.Clip(cs, op.const(-clip, cs.dtype), op.const(clip, cs.dtype))
        o = elementary.sigmoid(op, at["o"] + cs * wco if peephole else at["o"])
        co = op.Tanh(cs)
        h = o * co
        made = {"i": i, "cs": cs, "f": f, "o": o, "ci": ci, "co": co, "h": h}
        return [cs, h], [made[_RESULTS[index]] for index in sorted(op.wanted)]

    _, scans = repeat(op, x.dims[0], [cs, h], step)
    results: list[Value | None] = [None] * len(_RESULTS)
    for index, scan in zip(sorted(op.wanted), scans, strict=True):
        results[index] = _within(op, scan, length)
    return results


@lowers("BlockLSTMGrad", "BlockLSTMGradV2")
def block_lstm_grad(
    op: OpContext,
    length: Value,
    x: Value,
    cs_before: Value,
    h_before: Value,
    w: Value,
    wci: Value,
    wcf: Value,
    wco: Value,
    b: Value,
    *outputs: Value,
) -> list[Value]:
    """The gradients of ``x``, the state before the first step, the weights, peepholes and bias, from those of ``cs``
    and ``h``. Where the cell is clipped the gradient passes as if it were not: so does TensorFlow's kernel.
    """
    peephole, order = bool(op.attr("use_peephole")), _ORDER[op.type]
    x, i, cs, f, o, ci, co, h, dcs, dh = (_within(op, item, length) for item in (x, *outputs))
    inputs, cells, steps = x.dims[2], cs.dims[2], x.dims[0]
    if not isinstance(inputs, int) or not isinstance(cells, int):
        raise op.unsupported("the number of features or of cells is free; fix the last axis of the input's shape")
    previous = _shifted(op, cs_before, cs)
    slope = {"i": i * (1 - i) * ci, "c": (1 - ci * ci) * i, "f": f * (1 - f) * previous, "o": o * (1 - o) * co}
    to_cell, kept = (1 - co * co) * o, f
    if peephole:
        to_cell = to_cell + slope["o"] * wco
        kept = kept + slope["i"] * wci + slope["f"] * wcf
    slopes = op.Concat(*[slope[gate] for gate in order], axis=2)
    recurrent = op.transpose(op.Slice(w, [inputs], [inputs + cells], [0]), [1, 0])
    final = scalar_size(op, steps) - 1

    def step(op: OpContext, k: Any, state: list[Any]) -> tuple[list[Any], list[Any]]:
        t = final - as_index(op, k)
        dc_next, dh_next = state

        def at(item: Value) -> Value:
            return op.Gather(item, t, axis=0)

        dh_t = at(dh) + dh_next
        dc_t = at(to_cell) * dh_t + (at(dcs) + dc_next)
        dgates = at(slopes) * op.Concat(dc_t, dc_t, dc_t, dh_t, axis=1)
        return [dc_t * at(kept), dgates @ recurrent], [dgates]

    zeros = op.full_like(cs_before, 0)
    (dcs_before, dh_before), (turned,) = repeat(op, steps, [zeros, zeros], step)
    dgates = op.Gather(turned, final - indices(op, steps), axis=0)
    dx = dgates @ op.transpose(op.Slice(w, [0], [inputs], [0]), [1, 0])
    rows = op.reshape(op.Concat(x, _shifted(op, h_before, h), axis=2), [-1, inputs + cells])
    dw = op.transpose(rows, [1, 0]) @ op.reshape(dgates, [-1, 4 * cells])
    peepholes = [op.full_like(wci, 0)] * 3
    if peephole:
        parts = dict(zip(order, op.Split(dgates, [cells] * 4, axis=2, outputs=4), strict=True))
        products = (parts["i"] * previous, parts["f"] * previous, parts["o"] * cs)
        peepholes = [op.ReduceSum(product, [0, 1], keepdims=0) for product in products]
    return [dx, dcs_before, dh_before, dw, *peepholes, op.ReduceSum(dgates, [0, 1], keepdims=0)]


def _within(op: OpContext, x: Value, length: Value) -> Value:
    """``x`` (time, ...) with 0 from step ``length`` on, whatever is there."""
    steps = x.dims[0]
    if length.sizes is not None and length.sizes.item() == steps:
        return x
    inside = op.Unsqueeze(indices(op, steps) < length, list(range(1, x.rank)))
    result: Value = op.Where(inside, x, op.const(0, x.dtype))
    return result


def _shifted(op: OpContext, before: Value, x: Value) -> Value:
    """What each step finds: ``before``, then ``x`` without its last step."""
    every = op.Concat(op.Unsqueeze(before, [0]), x, axis=0)
    result: Value = op.Slice(every, [0], [-1], [0])
    result.refine(x.shape)
    return result
