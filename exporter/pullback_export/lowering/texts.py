"""Strings in a graph: arrays of NumPy's dtype ``object`` that hold ``str``, and the operators that may see them.

ONNX moves strings around, compares them, joins and splits them, changes their case and finds them in tables
(``LabelEncoder`` of ``ai.onnx.ml``). Other operators on them have rules that mean numbers; the table here is closed, so
that none of them gets any.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.lowering.context import NotCovered

Array = np.ndarray[Any, Any]

REFUSAL = (
    "no standard ONNX operator computes it of strings exactly as TensorFlow does: export from the layer behind it,"
    " whose inputs are numbers"
)

_PASSED_ON = ("Assert", "Const", "EnsureShape", "Identity", "IdentityN", "PlaceholderWithDefault", "Snapshot")
_CALLS = ("Case", "If", "PartitionedCall", "StatefulPartitionedCall", "StatelessCase", "StatelessIf")
_MOVED = (
    *("BroadcastTo", "ConcatV2", "ExpandDims", "Fill", "GatherNd", "GatherV2", "Pack", "Rank", "Reshape", "ReverseV2"),
    *("Shape", "ShapeN", "Size", "Slice", "Split", "SplitV", "Squeeze", "StridedSlice", "Tile", "Transpose", "Unpack"),
)
_RAGGED = ("RaggedGather", "RaggedTensorToSparse", "RaggedTensorToTensor")
_READ = ("Equal", "LookupTableFindV2", "NotEqual", "Select", "SelectV2")
_WRITTEN = (
    *("Add", "AddV2", "RegexReplace", "StaticRegexReplace", "StringJoin", "StringLower", "StringNGrams"),
    *("StringSplitV2", "StringUpper"),
)
TAKES_STRINGS = frozenset((*_PASSED_ON, *_CALLS, *_MOVED, *_RAGGED, *_READ, *_WRITTEN))


def refused(tf_op: Any) -> bool:
    """Whether an op has strings among its inputs or results although it is not in :data:`TAKES_STRINGS`."""
    if tf_op.type in TAKES_STRINGS:
        return False
    return any(tensor.dtype == tf.string for tensor in (*tf_op.inputs, *tf_op.outputs))


def decoded(array: Any) -> Array:
    """``bytes`` of TensorFlow as ``str``; raises :class:`NotCovered` where they are not UTF-8, which ONNX demands."""
    contents = np.asarray(array, object)
    found = np.empty(contents.shape, object)
    for place, item in enumerate(contents.flat):
        try:
            found.flat[place] = item.decode() if isinstance(item, bytes) else str(item)
        except UnicodeDecodeError as problem:
            raise NotCovered(f"the string {item!r} is not UTF-8, and ONNX has no other: encode it anew") from problem
    return found


def are_texts(flow: Any) -> bool:
    """Whether what flows along an edge is a value of strings."""
    return getattr(flow, "dtype", None) == np.dtype(object)
