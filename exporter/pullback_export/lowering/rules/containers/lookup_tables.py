"""Static tables from whole numbers or strings to values: ``tf.lookup.StaticHashTable``, the lookup layers of Keras.

A key finds its place in the table by ``LabelEncoder`` of ``ai.onnx.ml``, which hashes as TensorFlow does and takes any
int64 and any string; the value is then gathered. What no key matches gets the place behind the last, where the default
stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.flows.handles import ResourceHandle
from pullback_export.lowering.numerics.dictionaries import place_among
from pullback_export.lowering.registry import lowers
from pullback_export.lowering.texts import decoded
from pullback_export.precision import check_dtype

Array = np.ndarray[Any, Any]


@lowers("LookupTableFindV2")
def lookup_table_find(op: OpContext, table: ResourceHandle, keys: Value, default: Value) -> Value:
    """The value of each key, ``default`` (a scalar) where there is none; shape of ``keys``."""
    known, values = _contents(op, table)
    if not len(known):
        return op.expand_to(default, keys)
    place = place_among(op, keys, known)
    if values.dtype != object:
        default = op.cast(default, values.dtype)
    if default.const is not None:
        return op.Gather(op.const(np.append(values, default.const).astype(values.dtype)), place, axis=0)
    return op.Gather(op.Concat(op.const(values), op.reshape(default, [1]), axis=0), place, axis=0)


@lowers("LookupTableSizeV2")
def lookup_table_size(op: OpContext, table: ResourceHandle) -> Value:
    """How many keys the table has, an int64 scalar."""
    return op.const(np.array(len(_exported(op, table)[0]), np.int64))


def _contents(op: OpContext, table: ResourceHandle) -> tuple[Array, Array]:
    """Keys and values, sorted by key: a table lists them in the order of its hashes.

    Keys that are not UTF-8 are left out, as no string of ONNX is one of them.
    """
    keys, values = _exported(op, table)
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    if keys.dtype == object:
        kept = np.array([_is_utf8(key) for key in keys], bool)
        keys, values = decoded(keys[kept]), values[kept]
    return keys, decoded(values) if values.dtype == object else values


def _exported(op: OpContext, table: ResourceHandle) -> tuple[Array, Array]:
    """Keys and values at export, strings as ``bytes``."""
    key_type, value_type = _types(op)
    check_dtype(value_type)
    try:
        keys, values = tf.raw_ops.LookupTableExportV2(table_handle=table.tensor, Tkeys=key_type, Tvalues=value_type)
    except tf.errors.OpError as problem:
        raise op.unsupported(
            f"its table cannot be read at export ({problem.message}); initialise it first"
        ) from problem
    return keys.numpy(), values.numpy()


def _is_utf8(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _types(op: OpContext) -> tuple[Any, Any]:
    """Dtypes of keys and values of the table that an op reads, from whichever of its lookups states them."""
    for other in (op.tf_op, *op.tf_op.inputs[0].consumers()):
        if other.type == "LookupTableFindV2":
            return other.get_attr("Tin"), other.get_attr("Tout")
    raise op.unsupported("the size of a table without lookups is read; use a constant")
