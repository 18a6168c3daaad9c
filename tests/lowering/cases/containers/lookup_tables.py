"""Rows for ``lowering/rules/containers/lookup_tables.py``: values of every dtype, defaults, keys that are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, normal

FIND = "LookupTableFindV2"
# Keys out of order, below zero and far apart.
KEYS = [900, -3, 11, 2**40]


def table(values: Any, default: Any, keys: Any = KEYS, dtype: Any = tf.int64) -> Any:
    """A static table that lives as long as the row."""
    initial = tf.lookup.KeyValueTensorInitializer(tf.constant(keys, dtype), tf.constant(values))
    return tf.lookup.StaticHashTable(initial, default)


WEIGHTS = table([0.5, -1.0, 2.0, 3.0], 7.0)
WEIGHTS_64 = table(np.array([0.5, -1.0, 2.0, 3.0]), 7.0)
PLACES = table([1, 0, 2, 3], -1)
PLACES_64 = table(np.array([1, 0, 2, 3], np.int64), -1)
SMALL_KEYS = table([4.0, 5.0], 0.0, [1, 2], tf.int32)
LOOKED_UP = [[11, 5], [2**40, -3], [900, 0]]


def scaled(found: Any, x: Any) -> Any:
    """What was found beside something with a derivative."""
    return tf.cast(found, x.dtype) * tf.sin(x)


CASES = [
    Case(
        "table_float",
        FIND,
        lambda keys, x: scaled(WEIGHTS.lookup(keys), x),
        (fixed(LOOKED_UP, "int64"), normal(3, 2)),
    ),
    Case(
        "table_double",
        FIND,
        lambda keys, x: scaled(WEIGHTS_64.lookup(keys), x),
        (fixed(LOOKED_UP, "int64"), normal(3, 2)),
    ),
    Case(
        "table_int32",
        FIND,
        lambda keys, x: scaled(PLACES.lookup(keys), x),
        (fixed(LOOKED_UP, "int64"), normal(3, 2)),
    ),
    Case(
        "table_embedding",
        FIND,
        lambda keys, rows: tf.gather(rows, tf.maximum(PLACES_64.lookup(keys), 0)),
        (fixed([11, 900, 4], "int64"), Arg((4, 3), free=())),
    ),
    Case(
        "table_int32_keys",
        FIND,
        lambda keys, x: scaled(SMALL_KEYS.lookup(keys), x),
        (fixed([1, 2, 3, 1], "int32"), normal(4)),
    ),
    Case(
        "table_computed_default",
        FIND,
        lambda keys, x: tf.raw_ops.LookupTableFindV2(
            table_handle=SMALL_KEYS.resource_handle, keys=keys, default_value=tf.cast(tf.reduce_max(x), tf.float32)
        ),
        (fixed([1, 5, 3, 1], "int32"), normal(4)),
        order=0,
        dtypes=("float32",),
    ),
    Case(
        "table_size",
        "LookupTableSizeV2",
        lambda keys, x: scaled(PLACES.lookup(keys), x) / tf.cast(PLACES.size(), x.dtype),
        (fixed(LOOKED_UP, "int64"), normal(3, 2)),
    ),
]
