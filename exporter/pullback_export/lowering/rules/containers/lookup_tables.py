"""Static tables from whole numbers to values: ``tf.lookup.StaticHashTable``, ``IntegerLookup``.

A key finds its place in the table by ``LabelEncoder`` of ``ai.onnx.ml``, which hashes as TensorFlow does and takes any
int64; the value is then gathered. What no key matches gets the place behind the last, where the default stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.handles import ResourceHandle
from pullback_export.lowering.registry import lowers
from pullback_export.precision import check_dtype

Array = np.ndarray[Any, Any]


@lowers("LookupTableFindV2")
def lookup_table_find(op: OpContext, table: ResourceHandle, keys: Value, default: Value) -> Value:
    """The value of each key, ``default`` (a scalar) where there is none; shape of ``keys``."""
    known, values = _contents(op, table)
    values = values.astype(op.output_dtype())
    if not len(known):
        return op.expand_to(default, keys)
    place = op.LabelEncoder(
        op.cast(keys, np.int64),
        keys_int64s=known.tolist(),
        values_int64s=list(range(len(known))),
        default_int64=len(known),
    )
    default = op.cast(default, values.dtype)
    if default.const is not None:
        return op.Gather(op.const(np.append(values, default.const).astype(values.dtype)), place, axis=0)
    return op.Gather(op.Concat(op.const(values), op.reshape(default, [1]), axis=0), place, axis=0)


@lowers("LookupTableSizeV2")
def lookup_table_size(op: OpContext, table: ResourceHandle) -> Value:
    """How many keys the table has, an int64 scalar."""
    return op.const(np.array(len(_contents(op, table)[0]), np.int64))


def _contents(op: OpContext, table: ResourceHandle) -> tuple[Array, Array]:
    """Keys and values at export, sorted by key: a table lists them in the order of its hashes."""
    key_type, value_type = _types(op)
    if key_type == tf.string or value_type == tf.string:
        raise op.unsupported("a table of strings: export from the layer behind the lookup, whose inputs are numbers")
    check_dtype(value_type)
    try:
        keys, values = tf.raw_ops.LookupTableExportV2(table_handle=table.tensor, Tkeys=key_type, Tvalues=value_type)
    except tf.errors.OpError as problem:
        raise op.unsupported(
            f"its table cannot be read at export ({problem.message}); initialise it first"
        ) from problem
    order = np.argsort(keys.numpy(), kind="stable")
    return keys.numpy()[order], values.numpy()[order]


def _types(op: OpContext) -> tuple[Any, Any]:
    """Dtypes of keys and values of the table that an op reads, from whichever of its lookups states them."""
    for other in (op.tf_op, *op.tf_op.inputs[0].consumers()):
        if other.type == "LookupTableFindV2":
            return other.get_attr("Tin"), other.get_attr("Tout")
    raise op.unsupported("the size of a table without lookups is read; use a constant")
