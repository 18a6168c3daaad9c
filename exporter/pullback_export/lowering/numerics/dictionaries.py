"""Where keys stand among known ones, and which strings are equal: ``LabelEncoder`` of ``ai.onnx.ml``, and ``Unique``.

``Equal`` compares strings from opset 19 on only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext

Array = np.ndarray[Any, Any]


def place_among(op: OpContext, keys: Value, known: Array) -> Value:
    """The number of each of ``keys`` in the vector ``known``, and its length for any other; int64, shape of ``keys``.

    ``known`` holds whole numbers or strings, as ``keys`` does, each once.
    """
    places: dict[str, Any] = {"values_int64s": list(range(len(known))), "default_int64": len(known)}
    if known.dtype == object:
        return op.graph.emit("LabelEncoder", [keys], {"keys_strings": known.tolist(), **places})
    return op.graph.emit("LabelEncoder", [op.cast(keys, np.int64)], {"keys_int64s": known.tolist(), **places})


def equal_strings(op: OpContext, x: Value, y: Value) -> Value:
    """``x == y``, byte by byte, broadcast: bool."""
    if x.const is not None:
        x, y = y, x
    if y.const is not None and y.const.size:
        known = np.array(sorted(set(y.const.flat)), object)
        numbers = {text: number for number, text in enumerate(known)}
        wanted = np.array([numbers[text] for text in y.const.flat], np.int64).reshape(y.const.shape)
        return place_among(op, x, known).equals(op.const(wanted))
    left, right = op.reshape(x, [-1]), op.reshape(y, [-1])
    # Each string's number among those that occur in either.
    _, _, numbers_of_all, _ = op.Unique(op.Concat(left, right, axis=0), sorted=0, outputs=4)
    count = op.Size(left)
    start, end = op.reshape(count, [1]), op.const([np.iinfo(np.int64).max], np.int64)
    first = op.Slice(numbers_of_all, op.const([0], np.int64), start)
    second = op.Slice(numbers_of_all, start, end)
    return op.Reshape(first, op.shape_of(x)).equals(op.Reshape(second, op.shape_of(y)))
