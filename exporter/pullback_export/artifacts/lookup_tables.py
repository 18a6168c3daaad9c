"""Lookup tables that a traced function reads, as objects that a SavedModel can hold, regardless of their owner.

``tf.saved_model.save`` refuses a captured resource that no object of the module stands for. Where a table came from (a
Keras layer, a closure, another SavedModel) does not matter: its contents are read once, and written as the initial
value of a table of the same name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.lowering.flows.captured_tables import captured_tables

Array = np.ndarray[Any, Any]


class KeptTable(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]  # TensorFlow has no types
    """Stands for the static table behind ``handle``; a loaded SavedModel makes it anew from ``keys`` and ``values``."""

    def __init__(self, handle: Any, keys: Array, values: Array, index: int) -> None:
        super().__init__()
        self._resource_handle = handle
        self._contents = keys, values
        self._shared_name = f"pullback_table_{index}"

    def _create_resource(self) -> Any:
        keys, values = self._contents
        return tf.raw_ops.HashTableV2(
            key_dtype=tf.as_dtype(_type_of(keys)),
            value_dtype=tf.as_dtype(_type_of(values)),
            shared_name=self._shared_name,
        )

    def _initialize(self) -> None:
        keys, values = self._contents
        tf.raw_ops.InitializeTableV2(
            table_handle=self.resource_handle, keys=tf.constant(keys), values=tf.constant(values)
        )


def kept_tables(graphs: Iterable[Any]) -> list[KeptTable]:
    """One for each lookup table that the function graphs capture."""
    found: dict[int, KeptTable] = {}
    for table in (table for graph in graphs for table in captured_tables(graph)):
        contents = table.contents() if id(table.handle) not in found else None
        if contents is not None:
            keys, values = contents
            order = np.argsort(keys, kind="stable")
            found[id(table.handle)] = KeptTable(table.handle, keys[order], values[order], len(found))
    return list(found.values())


def _type_of(array: Array) -> Any:
    return tf.string if array.dtype == object else tf.as_dtype(array.dtype)
