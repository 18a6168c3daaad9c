"""The same functions as signatures of a SavedModel that holds no Keras objects."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from pullback.manifest import SAVED_MODEL_SPEC, FunctionSpec, Tolerance, functions_to_json

from pullback_export.artifacts.lookup_tables import kept_tables
from pullback_export.artifacts.short_names import shorten_names
from pullback_export.derivatives.tracing import Traced
from pullback_export.errors import ExportError
from pullback_export.graph.wire import LARGEST_FILE
from pullback_export.overrides.letter_case import exact_names


def check_size(traced: Sequence[Traced], limit: int = LARGEST_FILE) -> None:
    """Raises ``ExportError`` where constants take more than ``limit`` bytes, which the graph's one file cannot hold.

    Variables are files of their own of any size, stored once; constants are in ``saved_model.pb``.
    """
    captured = {
        id(tensor): tensor.shape.num_elements() * tensor.dtype.size
        for one in traced
        for tensor in one.concrete.captured_inputs
        if tensor.dtype not in (tf.resource, tf.variant)
    }
    inside = sum(
        operation.outputs[0].shape.num_elements() * operation.outputs[0].dtype.size
        for one in traced
        for operation in one.concrete.graph.get_operations()
        if operation.type == "Const" and operation.outputs[0].shape.is_fully_defined()
    )
    if (total := sum(captured.values()) + inside) > limit:
        raise ExportError(
            f"the SavedModel would hold constants of {total:,} bytes in one file, and {limit:,} is the most that it can"
            " hold; keep them in a tf.Variable, which is a file of its own, or export with formats=('onnx',)"
        )


def write(
    path: pathlib.Path,
    traced: Sequence[Traced],
    specs: Sequence[FunctionSpec],
    tolerance: Tolerance,
    trackable: Any,
) -> None:
    """Writes ``path/``; ``evaluate`` is also ``serving_default``. Variables are stored once, for all signatures."""
    module = tf.Module()
    variables = {id(item): item for one in traced for item in one.concrete.graph.variables}
    module.variables_of_the_model = list(variables.values())
    module.lookup_tables = kept_tables(one.concrete.graph for one in traced)
    if trackable is not None and not _is_keras(trackable):
        module.source = trackable
    signatures = {
        one.function.name: _for_any_batch(one) if spec.batched and _vectorised(one) else one.concrete
        for one, spec in zip(traced, specs, strict=True)
    }
    signatures["serving_default"] = signatures["evaluate"]
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    try:
        with exact_names({tensor.name for spec in specs for tensor in (*spec.inputs, *spec.outputs)}):
            tf.saved_model.save(module, str(path), signatures=signatures, options=options)
    except tf.errors.OpError as problem:
        raise ExportError(
            f"{path.parent.name}: cannot write the SavedModel: {problem.message}; nothing was left behind"
        ) from problem
    shorten_names(path)
    extra = path / SAVED_MODEL_SPEC
    extra.parent.mkdir(parents=True, exist_ok=True)
    extra.write_text(functions_to_json(specs, tolerance), encoding="utf-8")


def _vectorised(traced: Traced) -> bool:
    return any(request.vectorised for request in traced.function.requests)


def _for_any_batch(traced: Traced) -> Any:
    """The function with what no rows give beside it, whose shapes ``tf.vectorized_map`` gets wrong."""
    specs = dict(traced.concrete.structured_outputs)
    batched = [spec.name not in traced.function.whole for spec in traced.function.inputs]

    def none(tensors: Sequence[Any]) -> dict[str, Any]:
        shared = traced.function.shared
        if not shared and all(spec.shape[1:].is_fully_defined() for spec in specs.values()):
            return {name: tf.zeros([0, *spec.shape[1:]], spec.dtype) for name, spec in specs.items()}
        # Free sizes follow from those of the inputs, and what has no batch axis is the same: the function itself knows.
        padded = [
            tf.pad(tensor, [[0, 1]] + [[0, 0]] * (tensor.shape.rank - 1)) if has_rows else tensor
            for tensor, has_rows in zip(tensors, batched, strict=True)
        ]
        results = traced.concrete(*padded)
        return {name: result if name in shared else result[:0] for name, result in results.items()}

    def serve(*tensors: Any) -> dict[str, Any]:
        rows = tf.shape(tensors[batched.index(True)])[0]
        found = tf.cond(rows > 0, lambda: traced.concrete(*tensors), lambda: none(tensors))
        return {name: tf.ensure_shape(result, specs[name].shape) for name, result in found.items()}

    return tf.function(serve, autograph=False).get_concrete_function(*traced.function.inputs)


def _is_keras(trackable: Any) -> bool:
    """Whether it is of Keras, or of ``tf_keras``, which would write its own objects beside the functions."""
    return any(base.__module__.split(".")[0] in ("keras", "tf_keras") for base in type(trackable).__mro__)
