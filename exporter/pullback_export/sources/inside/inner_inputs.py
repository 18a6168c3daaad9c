"""``inputs=["embedding"]``: a bundle that starts inside a model, and takes no input that it does not need.

The whole model is called, and what the named layer returns is replaced by the bundle's input. What is computed before
it has no influence then, and does not enter the written graphs. An input of the model on which outputs still depend,
such as tokens by way of a mask, stays an input beside it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.inside.placeholders import Placeholders
from pullback_export.sources.source import Source, Tap, no_taps, spelled
from pullback_export.sources.statefulness import ancestors

Inputs = Sequence[Any] | Mapping[str, Any] | None
# Operators of this name stand for inputs that were dropped.
DROPPED = "pullback_dropped"


def names_among(inputs: Inputs) -> tuple[Inputs, tuple[str, ...] | None]:
    """What ``inputs=`` says of the model's own inputs, and the names that it picks; None where it picks none.

    Names are strings; a ``tf.TensorSpec`` beside them says what the model takes, and picks nothing.
    """
    given = (inputs,) if isinstance(inputs, str) else inputs
    if given is None or isinstance(given, Mapping) or not any(isinstance(item, str) for item in given):
        return inputs, None
    specs = [item for item in given if not isinstance(item, str)]
    return specs or None, tuple(spelled(item) for item in given if isinstance(item, str))


def with_inputs(source: Source, wanted: Sequence[str]) -> Source:
    """``source`` that takes ``wanted``, inputs and inner layers, and beside them what outputs still depend on.

    Raises :class:`ExportError` for a name that is neither, one that is given twice, and a layer without influence.
    """
    real = {spec.name: spec for spec in source.inputs}
    for name in wanted:
        if name not in real and not source.has_layer(name):
            layers = [layer for layer in source.layers if layer not in real]
            known = f"; inner layers: {', '.join(layers[:12])}{', ...' * (len(layers) > 12)}" if layers else ""
            raise ExportError(f"inputs: there is no {name!r}; inputs: {', '.join(real)}{known}")
        if name in source.outputs and name not in real:
            raise ExportError(f"inputs: {name!r} is an output; a bundle that starts there has nothing to compute")
        if wanted.count(name) > 1:
            raise ExportError(f"inputs: {name!r} is given twice")
    inner = [name for name in wanted if name not in real]
    found = _traced_layers(source, inner)
    specs = dict(real)
    specs |= {
        name: tf.TensorSpec(item.shape, item.dtype, name) for name, item in zip(inner, found.outputs, strict=True)
    }
    needed = _needed(source, specs)
    for name in inner:
        if name not in needed:
            raise ExportError(f"inputs: no output depends on {name!r} beside the others; remove it")
    kept = [*wanted, *(name for name in real if name in needed and name not in wanted)]

    def shapes(*tensors: Any) -> dict[str, list[int]]:
        return {name: result.shape.as_list() for name, result in zip(inner, found(*tensors), strict=True)}

    fed = _Fed(source, tuple(kept), Placeholders.of(source.inputs, kept, shapes))
    inputs = tuple(tf.TensorSpec(specs[name].shape, specs[name].dtype, re.sub(r"\W", "_", name)) for name in kept)
    return dataclasses.replace(source, inputs=inputs, call=fed.call, tapped=fed.tapped if source.tapped else None)


def started_at(source: Source, names: Sequence[str]) -> Source:
    """``source`` that takes ``names``, where all of them are known and they are not its inputs anyway."""
    real = {spec.name for spec in source.inputs}
    known = all(name in real or source.has_layer(name) for name in names)
    return with_inputs(source, names) if known and set(names) != real else source


@dataclasses.dataclass(frozen=True)
class _Fed:
    """``source`` with ``names`` as its inputs, layers among them."""

    source: Source
    names: tuple[str, ...]
    placeholders: Placeholders

    def call(self, *tensors: Any) -> tuple[Any, ...]:
        """The outputs, one tensor for each."""
        given = dict(zip(self.names, tensors, strict=True))
        dropped = {spec.name: self.placeholders.tensor(spec, given, DROPPED) for spec in self.placeholders.specs}
        return _replaced(self.source, {**dropped, **given})

    @contextlib.contextmanager
    def tapped(self, names: Sequence[str], tap: Tap) -> Iterator[None]:
        """As that of the source, for layers that are computed from the inputs alone."""

        def checked(name: str, result: Any) -> Any:
            if tf.is_symbolic_tensor(result):
                found = [op.name for op in ancestors([result]) if DROPPED in op.name]
                if found:
                    raise ExportError(
                        f"layer {name!r} lies before {', '.join(self.names)}, where the bundle starts: it depends on"
                        " an input that was dropped; name that in inputs=[...] too, or another layer"
                    )
            return tap(name, result)

        with (self.source.tapped or no_taps)(names, checked):
            yield


def _replaced(source: Source, given: Mapping[str, Any]) -> tuple[Any, ...]:
    """The outputs of ``source``, where ``given`` has its inputs and what some of its layers return."""
    real = [spec.name for spec in source.inputs]
    inner = [name for name in given if name not in real]

    def replace(name: str, result: Any) -> Any:
        return tf.identity(given[name])

    with (source.tapped or no_taps)(inner, replace):
        return source.call(*(given[name] for name in real))


def _traced_layers(source: Source, names: Sequence[str]) -> Any:
    """A function of the inputs of ``source`` that gives what the layers return."""

    def layers(*tensors: Any) -> list[Any]:
        found: dict[str, Any] = {}

        def see(name: str, result: Any) -> Any:
            found[name] = result
            return result

        with (source.tapped or no_taps)(names, see):
            source.call(*tensors)
        return [found[name] for name in names]

    return tf.function(layers, autograph=False).get_concrete_function(*source.inputs)


def _needed(source: Source, specs: Mapping[str, tf.TensorSpec]) -> set[str]:
    """The names among ``specs`` on which an output depends, its sizes included."""

    def call(*tensors: Any) -> tuple[Any, ...]:
        return _replaced(source, dict(zip(specs, tensors, strict=True)))

    numbered = [tf.TensorSpec(spec.shape, spec.dtype, f"given_{index}") for index, spec in enumerate(specs.values())]
    traced = tf.function(call, autograph=False).get_concrete_function(*numbered)
    before = {op.name for op in ancestors(traced.outputs)}
    placed = traced.inputs[: len(specs)]
    return {name for name, tensor in zip(specs, placed, strict=True) if tensor.op.name in before}
