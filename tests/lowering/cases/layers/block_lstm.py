"""Rows for ``lowering/block_lstm.py``. TensorFlow has no float64 kernel of these ops."""

from typing import Any

import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed

CELLS, INPUTS = 3, 2


def scaled(*shape: int, free: tuple[int, ...] = ()) -> Arg:
    return Arg(shape, lambda rng, size: rng.normal(size=size) * 0.7, free=free)


def inputs(steps: int, batch: int = 2) -> tuple[Arg, ...]:
    """x, cs, h, w, wci, wcf, wco, b; the numbers of steps and samples are free."""
    state = scaled(batch, CELLS, free=(0,))
    weights = (scaled(INPUTS + CELLS, 4 * CELLS), *[scaled(CELLS)] * 3, scaled(4 * CELLS))
    return (scaled(steps, batch, INPUTS, free=(0, 1)), state, state, *weights)


NAMES = ("x", "cs_prev", "h_prev", "w", "wci", "wcf", "wco", "b")


def lstm(kind: str, length: int | None = None, **attributes: Any) -> Any:
    """``cs`` and ``h`` of the first ``length`` steps, all of them where None."""

    def function(*tensors: Any) -> Any:
        count = tf.constant(length, tf.int64) if length is not None else tf.shape(tensors[0], tf.int64)[0]
        return data_lstm(kind, **attributes)(*tensors, count)

    return function


def data_lstm(kind: str, **attributes: Any) -> Any:
    op = getattr(tf.raw_ops, kind)

    def function(*tensors: Any) -> Any:
        result = op(seq_len_max=tensors[-1], **dict(zip(NAMES, tensors[:-1], strict=True)), **attributes)
        return result.cs * 0.5, result.h

    return function


def lstm_v2(length: int | None = None, **attributes: Any) -> Any:
    """``BlockLSTMV2`` with the gradient of its own order of gates: TensorFlow registers that of ``BlockLSTM``."""
    peephole = attributes.get("use_peephole", False)

    @tf.custom_gradient
    def function(*tensors: Any) -> Any:
        count = tf.constant(length, tf.int64) if length is not None else tf.shape(tensors[0], tf.int64)[0]
        arguments = dict(zip(NAMES, tensors, strict=True))
        result = tf.raw_ops.BlockLSTMV2(seq_len_max=count, **arguments, **attributes)

        def gradient(dcs: Any, dh: Any) -> Any:
            return tf.raw_ops.BlockLSTMGradV2(
                seq_len_max=count, **arguments, **result._asdict(), cs_grad=dcs, h_grad=dh, use_peephole=peephole
            )

        return (result.cs, result.h), gradient

    return function


V1 = ("BlockLSTM", "BlockLSTMGrad")
V2 = ("BlockLSTMV2", "BlockLSTMGradV2")
ROWS: dict[str, Any] = {"dtypes": ("float32",)}

CASES = [
    Case("block_lstm", V1, lstm("BlockLSTM"), inputs(4), **ROWS),
    Case("block_lstm_long", V1, lstm("BlockLSTM"), inputs(9, 3), **ROWS),
    Case("block_lstm_peephole", V1, lstm("BlockLSTM", use_peephole=True), inputs(7), **ROWS),
    Case("block_lstm_no_bias", V1, lstm("BlockLSTM", forget_bias=0.0, cell_clip=0.0), inputs(4), **ROWS),
    Case("block_lstm_clipped", V1, lstm("BlockLSTM", cell_clip=0.3, use_peephole=True), inputs(8), **ROWS),
    Case("block_lstm_short", V1, lstm("BlockLSTM", 5, use_peephole=True), inputs(8), **ROWS),
    Case("block_lstm_none", V1, lstm("BlockLSTM", 0), inputs(4), **ROWS),
    Case(
        "block_lstm_length",
        V1,
        data_lstm("BlockLSTM", use_peephole=True),
        (*inputs(8), fixed(3, "int64", free=())),
        **ROWS,
    ),
    Case("block_lstm_v2", V2, lstm_v2(), inputs(4), **ROWS),
    Case("block_lstm_v2_long", V2, lstm_v2(use_peephole=True), inputs(9), **ROWS),
    Case("block_lstm_v2_clipped", V2, lstm_v2(6, cell_clip=0.3), inputs(8), **ROWS),
    Case("block_lstm_v2_as_registered", ("BlockLSTMV2", "BlockLSTMGrad"), lstm("BlockLSTMV2"), inputs(4), **ROWS),
]
