"""Keras' ``TimeDistributed`` in a traced graph: all steps at once, as more rows of the batch.

Keras traces a copy of the inner layer for each step where the number of steps is fixed. Where it is free, it vectorises
over as many steps as there are samples (``ops.arange(input_shape[0])`` in ``TimeDistributed.call``), which only gives
the right answer where these numbers are equal. At inference a layer treats every row alike, so that the steps can be
rows. The live model keeps Keras' own way, and the gate compares the two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from pullback_export.overrides.temporary_change import TemporaryChange


def steps_as_rows() -> contextlib.AbstractContextManager[None]:
    """Within it, ``TimeDistributed`` layers call their inner layer once. For tracing at inference only."""
    return _STEPS_AS_ROWS.active()


def _change() -> Callable[[], None]:
    original = keras.layers.TimeDistributed.call
    keras.layers.TimeDistributed.call = _call
    return lambda: setattr(keras.layers.TimeDistributed, "call", original)


def _call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
    shape = keras.ops.shape(inputs)
    arguments = {"training": training} if self.layer._call_has_training_arg else {}
    if self.layer._call_has_mask_arg and mask is not None:
        arguments["mask"] = keras.ops.reshape(mask, (-1, *keras.ops.shape(mask)[2:]))
    rows = self.layer.call(_merged(inputs, shape), **arguments)
    result = keras.ops.reshape(rows, (shape[0], shape[1], *keras.ops.shape(rows)[1:]))
    result.set_shape((inputs.shape[0], inputs.shape[1], *rows.shape[1:]))
    return result


def _merged(inputs: Any, shape: Any) -> Any:
    rows = keras.ops.reshape(inputs, (shape[0] * shape[1], *shape[2:]))
    rows.set_shape((rows.shape[0], *inputs.shape[2:]))
    return rows


_STEPS_AS_ROWS = TemporaryChange(_change)
