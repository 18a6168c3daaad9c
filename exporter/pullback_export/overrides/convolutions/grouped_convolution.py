"""Convolutions in groups of a live Keras model, compiled once for each size and not at each call.

For them Keras makes a new ``tf.function`` for XLA at each call (``_conv_xla`` of ``keras/src/backend/tensorflow/nn.py``
in Keras 3.15), which is traced, differentiated and compiled again: ten seconds for each pass through a small ConvNeXt.
Here one function for each set of options is called with what Keras' own captures. Traced graphs keep Keras' own.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pullback_export.overrides.temporary_change import TemporaryChange


def compiled_once() -> contextlib.AbstractContextManager[None]:
    """Within it, eager convolutions in groups of one size share what is compiled."""
    return _CHANGE.active()


def _change() -> Callable[[], None]:
    nn: Any = sys.modules.get("keras.src.backend.tensorflow.nn")
    if nn is None:  # no layer on TensorFlow was made; and Keras may be unable to start, where only a path is exported
        return lambda: None
    original = nn.conv
    compiled: dict[tuple[Any, ...], Any] = {}

    def conv(
        inputs: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        options = _hashable(strides), padding, data_format, _hashable(dilation_rate)
        if not tf.executing_eagerly() or not _in_groups(inputs, kernel, data_format):
            return original(inputs, kernel, *options)
        if options not in compiled:
            # Its trace has Keras' own function inside.
            compiled[options] = tf.function(lambda x, k: original(x, k, *options), jit_compile=True, autograph=False)
        return compiled[options](tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))

    nn.conv = conv
    return lambda: setattr(nn, "conv", original)


def _hashable(sizes: Any) -> Any:
    return tuple(sizes) if isinstance(sizes, list) else sizes


def _in_groups(inputs: Any, kernel: Any, data_format: Any) -> bool:
    import keras

    first = (data_format or keras.config.image_data_format()) == "channels_first"
    return bool(inputs.shape[1 if first else -1] != kernel.shape[-2])


_CHANGE = TemporaryChange(_change)
