"""SavedModels as sources: one of their signatures, or a ``tf.function`` that was saved with the object."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.functions import function_source
from pullback_export.sources.names import Outputs, identifiers, kept, readable, renamed
from pullback_export.sources.source import Source
from pullback_export.sources.wanted_part import wanted_part

Inputs = Sequence[Any] | Mapping[str, Any] | None


def saved_model_source(loaded: Any, inputs: Inputs, outputs: Outputs, chosen: str | None) -> Source:
    """The signature ``chosen``, or the function of that name (``"decoder.step"`` for one of a part of the object).

    None takes ``serving_default``, the only signature, or the only function of a SavedModel without signatures.
    Raises :class:`ExportError` where that leaves a choice, or where there is nothing of that name.
    """
    signatures, functions = loaded.signatures, _functions(loaded)
    names = ", ".join(sorted(signatures))
    more = f"; its functions: {', '.join(functions)}" if functions else ""
    if not signatures and not (functions and (chosen or len(functions) == 1)):
        raise ExportError(
            "the SavedModel has no signature; save it with signatures=... (Keras: model.export(path))"
            + (f", or choose one of its functions, signature={functions[0]!r}{more}" if functions else "")
        )
    if chosen is None and signatures and "serving_default" not in signatures and len(signatures) > 1:
        raise ExportError(
            f"the SavedModel has the signatures {names} and no serving_default: choose one,"
            f" signature={min(signatures)!r}"
        )
    default = "serving_default" if "serving_default" in signatures else min([*signatures] or functions)
    name = chosen or default
    if name in signatures:
        return _signature_source(loaded, signatures[name], inputs, outputs)
    if _restored(loaded, name) is not None:
        return _restored_source(loaded, name, inputs, outputs)
    raise ExportError(f"the SavedModel has no signature {name!r}; it has {names or 'none'}{more}")


def _signature_source(loaded: Any, signature: Any, inputs: Inputs, outputs: Outputs) -> Source:
    """A signature takes its inputs by name and returns a dictionary, whose order TensorFlow leaves to chance."""
    specs = signature.structured_input_signature[1]
    keys = [key for key in signature._arg_keywords if key in specs]
    results = sorted(signature.structured_outputs, key=_in_counting_order)
    shown = readable(results, "y")
    keep = kept(outputs, shown, results)
    labels = readable(keys, "x")

    chosen = [results[index] for index in keep.positions]
    whole = set(chosen) == set(results)
    part = None if whole else wanted_part(signature, [sorted(results).index(key) for key in chosen])

    def call(*tensors: Any) -> tuple[Any, ...]:
        if part is not None and not tf.executing_eagerly():
            return tuple(part(*tensors))
        values = signature(**dict(zip(keys, tensors, strict=True)))
        return tuple(values[key] for key in chosen)

    notes = renamed(keys, labels, "input") + (renamed(results, shown, "output") if outputs is None else ())
    named = [tf.TensorSpec(specs[key].shape, specs[key].dtype, label) for key, label in zip(keys, labels, strict=True)]
    given = _given(inputs, keys, named)
    return Source("saved_model", given, keep.names, call, True, loaded, notes=notes)


def _given(inputs: Inputs, keys: Sequence[str], own: Sequence[Any]) -> tuple[Any, ...]:
    """The specs of a signature's inputs, with the names and shapes that ``inputs=`` gives them, by key or in order."""
    if inputs is None:
        return tuple(own)
    specs: list[Any] = [inputs.get(key) for key in keys] if isinstance(inputs, Mapping) else list(inputs)
    if len(specs) != len(keys) or not all(isinstance(spec, tf.TensorSpec) for spec in specs):
        raise ExportError(
            f"inputs={inputs!r}: the signature takes {', '.join(keys)}; give a tf.TensorSpec for each, in this order or"
            " as a dictionary"
        )
    result = []
    for spec, mine in zip(specs, own, strict=True):
        if spec.dtype != mine.dtype or not mine.shape.is_compatible_with(spec.shape):
            raise ExportError(f"inputs=: {spec} does not suit the signature's {mine}")
        result.append(tf.TensorSpec(mine.shape.merge_with(spec.shape), mine.dtype, spec.name or mine.name))
    return tuple(
        tf.TensorSpec(spec.shape, spec.dtype, name)
        for spec, name in zip(result, identifiers([spec.name for spec in result]), strict=True)
    )


def _restored_source(loaded: Any, name: str, inputs: Inputs, outputs: Outputs) -> Source:
    """A ``tf.function`` of the saved object, as it was traced before it was saved."""
    function = _restored(loaded, name)
    traces = [item.structured_input_signature for item in function.concrete_functions]
    if len(traces) != 1 and inputs is None:
        shown = "; ".join(str([leaf for leaf in tf.nest.flatten(item) if _is_spec(leaf)]) for item in traces)
        raise ExportError(
            f"signature={name!r}: the function was saved with {len(traces)} traces; say which by inputs=: {shown}"
        )
    if len(traces) != 1:
        source = function_source(lambda *tensors: function(*tensors), inputs, outputs, False)
        return dataclasses.replace(source, kind="saved_model", trackable=loaded)
    leaves = tf.nest.flatten(traces[0])
    places = [index for index, leaf in enumerate(leaves) if _is_spec(leaf)]
    specs = [leaves[index] for index in places] if inputs is None else inputs

    def call(*tensors: Any) -> Any:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        args, kwargs = tf.nest.pack_sequence_as(traces[0], filled)
        return function(*args, **kwargs)

    source = function_source(call, specs, outputs, False)
    return dataclasses.replace(source, kind="saved_model", trackable=loaded)


def _functions(loaded: Any) -> list[str]:
    """The names of the functions that were saved with the object itself."""
    return sorted(
        name
        for name in dir(loaded)
        if (name == "__call__" or not name.startswith("_")) and _restored(loaded, name) is not None
    )


def _restored(loaded: Any, name: str) -> Any:
    try:
        found = operator.attrgetter(name)(loaded)
    except AttributeError:
        return None
    return found if getattr(found, "concrete_functions", None) else None


def _is_spec(leaf: Any) -> bool:
    return isinstance(leaf, tf.TensorSpec)


def _in_counting_order(name: str) -> tuple[str, int, str]:
    """``output_2`` before ``output_10``."""
    stem, number = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return stem, int(number or -1), name
