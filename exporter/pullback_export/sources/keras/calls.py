"""Calls of a Keras model, on any backend: the structure of its inputs, their names, those of its outputs."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.overrides.time_distributed import steps_as_rows
from pullback_export.sources.names import identifiers, numbered, readable, structure_names

Inputs = Sequence[Any] | Mapping[str, Any] | None


def results(model: Any, template: Any, training: bool, tensors: Sequence[Any]) -> Any:
    """What the model returns, in its own structure."""
    arguments = keras.tree.pack_sequence_as(template, list(tensors))
    kwargs = {"training": training} if model._call_has_training_arg else {}
    # In training mode layers update their statistics; that must neither change the live model nor enter the graph.
    with keras.StatelessScope() if training else _inference():
        return model(*arguments, **kwargs) if _are_arguments(model, template) else model(arguments, **kwargs)


def _inference() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if tf.executing_eagerly() else steps_as_rows()


def _are_arguments(model: Any, template: Any) -> bool:
    """Whether ``call`` takes the inputs as so many arguments, ``call(self, u, t)``, and not as one list of them."""
    if not isinstance(template, list) or len(template) == 1:
        return False
    given = [
        item for name, item in inspect.signature(model.call).parameters.items() if name not in ("training", "mask")
    ]
    positional = [item for item in given if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    required = [item for item in positional if item.default is item.empty]
    named = [item.name for item in positional[: len(template)]] == [getattr(item, "name", None) for item in template]
    return named or 1 < len(required) <= len(template) <= len(positional)


def _given_template(model: Any, inputs: Sequence[Any] | Mapping[str, Any]) -> Any:
    """What ``inputs=`` says, as a dictionary where it is one or where a subclassed model was built with one."""
    if isinstance(inputs, Mapping):
        return {
            key: keras.KerasTensor(spec.shape, spec.dtype.name, name=spec.name or key) for key, spec in inputs.items()
        }
    items = [keras.KerasTensor(spec.shape, spec.dtype.name, name=spec.name) for spec in inputs]
    built = _built_with(model)
    if isinstance(built, dict) and set(built) == {spec.name for spec in inputs}:
        return {item.name: item for item in items}
    return items[0] if len(items) == 1 else items


def _built_with(model: Any) -> Any:
    """The shapes that a model without declared inputs was built with: one, or a dictionary of them."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    return next(iter(shapes.values())) if len(shapes) == 1 else None


def _example(model: Any) -> str:
    """The ``inputs=`` that a user most likely has to write."""
    built = _built_with(model)
    named = built if isinstance(built, dict) else {"x": built}
    sizes = {
        name: ", ".join(map(str, shape[1:])) if isinstance(shape, list | tuple) else "3"
        for name, shape in named.items()
    }
    specs = [f"tf.TensorSpec([None, {size}], tf.float32, name={name!r})" for name, size in sizes.items()]
    return f"inputs=[{', '.join(specs)}]"


def input_template(model: Any, inputs: Inputs) -> Any:
    """What the model takes, in its own structure, of Keras' symbolic tensors; raises :class:`ExportError`."""
    if inputs is not None:
        return _given_template(model, inputs)
    template = getattr(model, "_inputs_struct", None)
    if template is None and isinstance(model, keras.Sequential) and model._functional is not None:
        template = model._functional._inputs_struct
    if template is not None:
        return template
    known = getattr(model, "inputs", None)
    if not known:
        raise ExportError(
            f"{model.name!r} does not define its inputs (it was not built, or is a subclass): pass {_example(model)}"
        )
    return known[0] if len(known) == 1 else list(known)


def input_names(flat: Sequence[Any], inputs: Inputs) -> tuple[str, ...]:
    """A name for each of the symbolic tensors ``flat``."""
    names = [item.name or "input" for item in flat]
    if isinstance(inputs, Mapping) or (inputs is not None and all(spec.name for spec in inputs)):
        return identifiers(names)
    return readable(names, "x")


def output_names(model: Any, called: Callable[[], Any]) -> tuple[int, tuple[str, ...]]:
    """How many outputs there are, and their names; ``called()`` is the structure that a call returns."""
    functional = model._functional if isinstance(model, keras.Sequential) else model
    # What a functional model returns is known; any other has to be called.
    structure = functional._outputs_struct if _is_functional(model) else called()
    count = len(keras.tree.flatten(structure))
    if isinstance(structure, dict) or hasattr(structure, "_fields"):
        return count, structure_names(structure, count)
    names = list(getattr(functional, "output_names", None) or [])
    made_up = [is_made_up(model, name) for name in names]
    if not names or any(made_up) or len(set(names)) != len(names):
        return count, numbered("y", count)
    return count, tuple(names)


def _is_functional(model: Any) -> bool:
    """Whether a model is a graph of layers and nothing else: no subclass, which may return something else."""
    if type(model) is keras.Sequential:
        return model._functional is not None
    return hasattr(model, "_outputs_struct") and type(model).__module__.split(".")[0] == "keras"


def is_made_up(model: Any, name: str) -> bool:
    """Whether Keras counted the layer's name up: ``dense``, ``dense_4``; such names change from process to process."""
    try:
        layer = model.get_layer(name)
    except (ValueError, AttributeError):
        return True
    stem = re.sub(r"(?<!^)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
    return re.fullmatch(rf"{re.escape(stem)}(_\d+)?", name) is not None
