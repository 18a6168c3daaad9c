"""Functions of tensors, ``tf.Module`` and ``tf.function`` as sources."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import tensorflow as tf
from tensorflow.python.util import nest

from pullback_export.errors import ExportError
from pullback_export.sources.names import Outputs, identifiers, kept, renamed, structure_names
from pullback_export.sources.source import Source
from pullback_export.sources.wanted_part import can_be_pruned, wanted_part


def function_source(
    model: Any, inputs: Sequence[Any] | Mapping[str, Any] | None, outputs: Outputs, training: bool
) -> Source:
    arguments = [dict(inputs)] if isinstance(inputs, Mapping) else inputs
    arguments = list(arguments) if arguments is not None else signature_of(model)
    specs = nest.flatten_with_tuple_paths(arguments)
    if not specs:
        raise ExportError(
            f"{type(model).__name__}: specify its inputs: inputs=[tf.TensorSpec([None, 3], tf.float32, name='x')]"
        )
    labels, named = [], []
    for index, (path, spec) in enumerate(specs):
        if not isinstance(spec, tf.TensorSpec):
            raise ExportError(f"inputs[{index}] must be a tf.TensorSpec, got {type(spec).__name__}")
        default = path[-1] if isinstance(path[-1], str) else "x" if len(specs) == 1 else f"x{index}"
        labels.append(spec.name or default)
        named.append(spec)
    names = identifiers(labels)
    named = [tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(named, names, strict=True)]

    structure: list[Any] = []
    chosen: list[int] = []
    parts: list[Callable[..., Any]] = []
    graph_form = _graph_form(model)

    def call(*tensors: Any) -> tuple[Any, ...]:
        if parts and not tf.executing_eagerly():
            return tuple(parts[0](*tensors))
        result = (model if tf.executing_eagerly() else graph_form)(*tf.nest.pack_sequence_as(arguments, tensors))
        flat = tf.nest.flatten(result)
        return tuple(dense(flat[index], index) for index in chosen or range(len(flat)))

    def results(*tensors: Any) -> list[Any]:
        structure[:] = [graph_form(*tf.nest.pack_sequence_as(arguments, tensors))]
        return [item for item in tf.nest.flatten(structure[0], expand_composites=True) if item is not None]

    try:
        traced = tf.function(results, autograph=False).get_concrete_function(*named)
    except tf.errors.OperatorNotAllowedInGraphError as problem:
        raise ExportError(
            f"the function cannot be traced: {str(problem).split(' You can attempt')[0]} Define it in a file, so that"
            " TensorFlow can convert its loops and branches, or write tf.while_loop and tf.cond"
        ) from problem
    except Exception as problem:
        advice = "Specify one tf.TensorSpec for each argument in inputs="
        if isinstance(inputs, Mapping):
            advice = (
                "The function was given inputs={...} as one dictionary; for arguments of their own write a list:"
                f" inputs=[tf.TensorSpec(..., name={names[0]!r}), ...]"
            )
            problem.add_note(advice)
        if isinstance(problem, TypeError):
            _check_arguments(model, arguments, advice)
        raise
    count = len(tf.nest.flatten(structure[0]))
    found = structure_names(structure[0], count)
    spelled = identifiers(found)
    keep = kept(outputs, spelled, found)
    chosen[:] = keep.positions
    if set(chosen) != set(range(count)) and can_be_pruned(traced.graph):
        places = _places(tf.nest.flatten(structure[0]), chosen)
        parts += [wanted_part(traced, places)] if places is not None else []
    notes = renamed(labels, names, "input") + (renamed(found, spelled, "output") if outputs is None else ())
    trackable = model if isinstance(model, tf.Module) else None
    return Source("function", tuple(named), keep.names, call, True, trackable, notes=notes)


def _places(results: Sequence[Any], chosen: Sequence[int]) -> list[int] | None:
    """Where the results ``chosen`` are among the tensors of all; None where one of them is not one tensor."""
    sizes = [0 if item is None else len(tf.nest.flatten(item, expand_composites=True)) for item in results]
    if any(not tf.is_tensor(results[index]) or sizes[index] != 1 for index in chosen):
        return None
    return [sum(sizes[:index]) for index in chosen]


def dense(item: Any, index: int) -> Any:
    """Output ``index`` as a tensor; raises :class:`ExportError` for what is none, such as a sparse one."""
    if item is None or isinstance(item, tf.RaggedTensor | tf.SparseTensor | tf.IndexedSlices):
        dense = "return a dense tensor, tf.convert_to_tensor or .to_tensor(), or keep the others, outputs=[...]"
        remedy = "remove it, or name the outputs to keep in outputs=[...]" if item is None else dense
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


def _check_arguments(model: Any, arguments: Sequence[Any], advice: str) -> None:
    """Raises :class:`ExportError` where the signature of the function, if it has one, does not take so many."""
    try:
        signature = inspect.signature(model)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError as problem:
        called = f"{getattr(model, '__name__', type(model).__name__)}({', '.join(signature.parameters)})"
        raise ExportError(
            f"{called}: inputs= gives it {len(arguments)} argument{'s' * (len(arguments) != 1)}, {problem}. {advice}"
        ) from problem


def signature_of(model: Any) -> list[Any]:
    """The ``input_signature`` that a function or module was made with; empty where it has none."""
    function = model if hasattr(model, "input_signature") else getattr(model, "__call__", None)  # noqa: B004
    signature = getattr(function, "input_signature", None)
    return list(signature) if signature else []
