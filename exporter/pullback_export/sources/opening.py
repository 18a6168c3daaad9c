"""Whatever the user gave becomes one thing: named inputs, named outputs and a function of tensors."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.precision import REWRITABLE, check_dtype
from pullback_export.sources.batches import batch_of
from pullback_export.sources.files import load
from pullback_export.sources.foreign_arrays import explained
from pullback_export.sources.functions import function_source, signature_of
from pullback_export.sources.inside.inner_inputs import names_among, started_at, with_inputs
from pullback_export.sources.inside.known_strings import known_strings
from pullback_export.sources.names import Outputs
from pullback_export.sources.saved_models import saved_model_source
from pullback_export.sources.source import Source

# What ``batched=`` takes.
Batched = bool | str | Sequence[str] | Mapping[str, str] | None


def open_source(
    model: Any,
    inputs: Sequence[Any] | Mapping[str, Any] | None,
    outputs: Outputs,
    batched: Batched,
    training: bool,
    signature: str | None = None,
    half: bool = False,
    takes: Sequence[str] = (),
    batch_axes: int = 1,
) -> Source:
    """Reads a model of Keras or ``tf_keras``, a path of one, a SavedModel folder, a ``tf.Module`` or a function.

    ``batched``, ``batch_axes``: see :func:`pullback_export.sources.batches.batch_of`.
    ``half``: it may compute in half precision. ``takes``: the inputs of a bundle that was made of it, which may be
    inner layers, or fewer than the model has.
    """
    if isinstance(model, str | pathlib.Path):
        model = load(pathlib.Path(model))
    inputs, wanted = names_among(inputs)
    if _is_keras(model):
        from pullback_export.sources.keras.models import keras_source

        source = keras_source(model, inputs, outputs, training, half)
    elif is_keras_2(model):
        from pullback_export.sources.keras.keras_2 import keras_2_source

        source = keras_2_source(model, inputs, outputs, training, half)
    elif hasattr(model, "signatures") and isinstance(model, tf.__internal__.tracking.AutoTrackable):
        source = saved_model_source(model, inputs, outputs, signature)
    elif callable(model):
        with explained():
            source = function_source(model, inputs, outputs, training)
    else:
        raise ExportError(
            f"cannot export a {type(model).__name__}: give a keras.Model, the path of a .keras file or of a SavedModel"
            " folder, a tf.Module with __call__, a tf.function, or a function with inputs=[tf.TensorSpec(...)]"
        )
    if signature is not None and source.kind != "saved_model":
        raise ExportError(
            f"signature={signature!r}: only a SavedModel has signatures, not a {source.kind} source; remove it"
        )
    if wanted is not None:
        source = with_inputs(source, wanted)
    elif takes:
        source = started_at(source, takes)
    batch = batch_of(source.inputs, batched, batch_axes)
    if batch.points and training:
        raise ExportError(
            "training=True with batch_axes=2: in training mode rows may depend on each other; leave one of them out"
        )
    shared = frozenset(spec.name for spec in source.inputs) - batch.rows if batch.rows else frozenset()
    source = dataclasses.replace(
        source, batched=bool(batch.rows), shared=shared, points=batch.points, known_strings=known_strings(source)
    )
    _check(source, half)
    return source


def _is_keras(model: Any) -> bool:
    layer = getattr(sys.modules.get("keras"), "Layer", None)  # who has a model has imported Keras
    return layer is not None and isinstance(model, layer)


def is_keras_2(model: Any) -> bool:
    """Whether ``model`` is a layer or model of ``tf_keras``; whoever has one has imported it."""
    layer = getattr(getattr(sys.modules.get("tf_keras"), "layers", None), "Layer", None)
    return layer is not None and isinstance(model, layer)


def needs_inputs(model: Any) -> bool:
    """Whether nothing but ``inputs=`` can say what ``model`` takes: a function without a signature."""
    if isinstance(model, str | pathlib.Path) or _is_keras(model) or is_keras_2(model) or hasattr(model, "signatures"):
        return False
    return callable(model) and not signature_of(model)


def _check(source: Source, half: bool) -> None:
    names = [spec.name for spec in source.inputs] + list(source.outputs)
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ExportError(f"{name!r} cannot name an input or output: use letters, digits and underscores")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ExportError(
            f"the names {repeated} refer to more than one input or output: rename with outputs=[...] or inputs=[...]"
        )
    for spec in source.inputs:
        if not (half and spec.dtype.name in REWRITABLE):
            check_dtype(spec.dtype)
        if spec.shape.rank is None:
            raise ExportError(
                f"input {spec.name!r} has an unknown rank: give inputs=[tf.TensorSpec([None, ...], name={spec.name!r})]"
            )
        if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype in (tf.bool, tf.string)):
            raise ExportError(
                f"input {spec.name!r} has dtype {spec.dtype.name}: inputs are float32, float64, integer, bool or string"
            )
