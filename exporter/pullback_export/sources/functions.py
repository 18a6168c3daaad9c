"""Functions of tensors, ``tf.Module`` and ``tf.function`` as sources."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import tensorflow as tf
from tensorflow.python.util import nest

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source, rename, structure_names


def function_source(
    model: Any, inputs: Sequence[Any] | Mapping[str, Any] | None, outputs: Sequence[str] | None, training: bool
) -> Source:
    arguments = [dict(inputs)] if isinstance(inputs, Mapping) else inputs
    arguments = list(arguments) if arguments is not None else signature_of(model)
    specs = nest.flatten_with_tuple_paths(arguments)
    if not specs:
        raise ExportError(
            f"{type(model).__name__}: say what its inputs are: inputs=[tf.TensorSpec([None, 3], tf.float32, name='x')]"
        )
    named = []
    for index, (path, spec) in enumerate(specs):
        if not isinstance(spec, tf.TensorSpec):
            raise ExportError(f"inputs[{index}] must be a tf.TensorSpec, got {type(spec).__name__}")
        default = path[-1] if isinstance(path[-1], str) else "x" if len(specs) == 1 else f"x{index}"
        named.append(tf.TensorSpec(spec.shape, spec.dtype, _identifier(spec.name or default)))

    structure: list[Any] = []
    graph_form = _graph_form(model)

    def call(*tensors: Any) -> tuple[Any, ...]:
        result = (model if tf.executing_eagerly() else graph_form)(*tf.nest.pack_sequence_as(arguments, tensors))
        structure[:] = [result]
        return tuple(_dense(item, index) for index, item in enumerate(tf.nest.flatten(result)))

    try:
        traced = tf.function(call, autograph=False).get_concrete_function(*named)
    except tf.errors.OperatorNotAllowedInGraphError as problem:
        raise ExportError(
            f"the function cannot be traced: {str(problem).split(' You can attempt')[0]} Define it in a file, so that"
            " TensorFlow can convert its loops and branches, or write tf.while_loop and tf.cond"
        ) from problem
    found = structure_names(structure[0], len(traced.outputs))
    chosen = rename(outputs, found)
    trackable = model if isinstance(model, tf.Module) else None
    return Source("function", tuple(named), chosen, call, True, trackable)


def _dense(item: Any, index: int) -> Any:
    if item is None or isinstance(item, tf.RaggedTensor | tf.SparseTensor | tf.IndexedSlices):
        remedy = "leave it out" if item is None else "return a dense tensor, tf.convert_to_tensor or .to_tensor()"
        raise ExportError(f"output {index} of the function is {type(item).__name__}; {remedy}")
    return tf.convert_to_tensor(item)


def _graph_form(model: Any) -> Callable[..., Any]:
    """The function with its ``for``, ``while`` and ``if`` over tensors made graph ops, as ``tf.function`` would."""
    function = model if inspect.isroutine(model) else model.__call__
    if not inspect.isroutine(function) or isinstance(function, tf.types.experimental.PolymorphicFunction):
        return cast(Callable[..., Any], model)
    plain = getattr(function, "__func__", function)
    try:
        converted = tf.autograph.to_graph(plain)
    except Exception:  # no source text (built-in, made by exec, an ambiguous lambda): then there is nothing to convert
        return cast(Callable[..., Any], model)
    owner = getattr(function, "__self__", None)
    return functools.partial(converted, owner) if owner is not None else cast(Callable[..., Any], converted)


def signature_of(model: Any) -> list[Any]:
    """The ``input_signature`` that a function or module was made with; empty where it has none."""
    function = model if hasattr(model, "input_signature") else getattr(model, "__call__", None)  # noqa: B004
    signature = getattr(function, "input_signature", None)
    return list(signature) if signature else []


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)
