"""Keras models as sources: names, training mode, and inner layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.precision import check_layers
from pullback_export.sources.functions import dense
from pullback_export.sources.inside.layer_taps import tapped
from pullback_export.sources.keras.calls import Inputs, input_names, input_template, output_names, results
from pullback_export.sources.names import Outputs, identifiers, kept, numbered, renamed
from pullback_export.sources.source import Source, Tap


def keras_source(model: Any, inputs: Inputs, outputs: Outputs, training: bool, half: bool = False) -> Source:
    """The function ``model(x, training=training)`` of a built Keras model (or of any Keras layer with ``inputs=``)."""
    if keras.config.backend() != "tensorflow":
        raise ExportError(f"Keras runs on {keras.config.backend()}: set KERAS_BACKEND=tensorflow before it is imported")
    check_layers(model, half)
    template = input_template(model, inputs)
    flat = keras.tree.flatten(template)
    names = input_names(flat, inputs)
    specs = tuple(
        tf.TensorSpec(item.shape, tf.as_dtype(keras.backend.standardize_dtype(item.dtype)), name)
        for item, name in zip(flat, names, strict=True)
    )

    def called() -> Any:
        return _traced_structure(lambda *tensors: results(model, template, training, tensors), specs)

    count, found = output_names(model, called)
    found = found if len(found) == count else numbered("y", count)
    spelled = identifiers(found)
    keep = kept(outputs, spelled, found)
    notes = renamed([item.name or "input" for item in flat], names, "input")
    notes += renamed(found, spelled, "output") if outputs is None else ()

    def call(*tensors: Any) -> tuple[Any, ...]:
        found = keras.tree.flatten(results(model, template, training, tensors))
        return tuple(dense(found[index], index) for index in keep.positions)

    layers = tuple(layer.name for layer in model._flatten_layers(include_self=False))

    def through(wanted: Sequence[str], tap: Tap) -> contextlib.AbstractContextManager[None]:
        return tapped(model, wanted, tap)

    return Source("keras", specs, keep.names, call, True, model, layers, through, notes=notes)


def _traced_structure(results: Callable[..., Any], specs: Sequence[Any]) -> Any:
    structure: list[Any] = []

    def call(*tensors: Any) -> list[Any]:
        structure[:] = [results(*tensors)]
        return [item for item in tf.nest.flatten(structure[0], expand_composites=True) if item is not None]

    tf.function(call, autograph=False).get_concrete_function(*specs)
    return structure[0]
