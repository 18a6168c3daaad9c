"""Live models of ``tf_keras``, the Keras 2 that goes on beside Keras 3: their calls are functions of TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import tensorflow as tf
from tensorflow.python.autograph.core import ag_ctx, converter

from pullback_export.errors import ExportError
from pullback_export.precision import check_layers
from pullback_export.sources.functions import dense
from pullback_export.sources.inside.layer_taps import tapped
from pullback_export.sources.keras.calls import is_made_up
from pullback_export.sources.names import Outputs, identifiers, kept, numbered, readable, renamed, structure_names
from pullback_export.sources.source import Source, Tap
from pullback_export.sources.statefulness import written_variables

Inputs = Sequence[Any] | Mapping[str, Any] | None
PACKAGE = "tf_keras"


def keras_2_source(model: Any, inputs: Inputs, outputs: Outputs, training: bool, half: bool = False) -> Source:
    """The function ``model(x, training=training)`` of a called ``tf_keras`` model, or of any layer with ``inputs=``.

    Raises :class:`ExportError` where nothing says what the model takes, for inputs that are no dense tensors, and for
    ``training=True`` where the call changes variables of the live model.
    """
    check_layers(model, half)
    taken = _Arguments.of(model, inputs)
    flat = tf.nest.flatten((taken.args, taken.kwargs))
    names = taken.names(model)
    specs = tuple(tf.TensorSpec(item.shape, item.dtype, name) for item, name in zip(flat, names, strict=True))

    def returned(*tensors: Any) -> Any:
        args, kwargs = tf.nest.pack_sequence_as((taken.args, taken.kwargs), tensors)
        if model._call_spec.expects_training_arg:
            kwargs = {**kwargs, "training": training}
        with contextlib.nullcontext() if tf.executing_eagerly() else _autograph():
            return model(*args, **kwargs)

    structure = _traced_structure(model, returned, specs, training)
    count = len(tf.nest.flatten(structure))
    found = _output_names(model, structure, count)
    spelled = identifiers(found)
    keep = kept(outputs, spelled, found)
    notes = renamed(taken.labels, names, "input") + (renamed(found, spelled, "output") if outputs is None else ())

    def call(*tensors: Any) -> tuple[Any, ...]:
        flat = tf.nest.flatten(returned(*tensors))
        return tuple(dense(flat[index], index) for index in keep.positions)

    def through(wanted: Sequence[str], tap: Tap) -> contextlib.AbstractContextManager[None]:
        return tapped(model, wanted, tap, _converted)

    layers = tuple(layer.name for layer in model._flatten_layers(include_self=False))
    return Source("keras", specs, keep.names, call, True, model, layers, through, notes=notes)


@dataclasses.dataclass(frozen=True)
class _Arguments:
    """What a call takes, of ``tf.TensorSpec``: positional arguments and named ones, in the model's own structure.

    ``given``: the user said so, and chose the names. ``labels``: one for each spec, as the user or the model calls it.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: bool
    labels: tuple[str, ...]

    @classmethod
    def of(cls, model: Any, inputs: Inputs) -> _Arguments:
        args: tuple[Any, ...]
        known = model.save_spec() if hasattr(model, "save_spec") else None
        if inputs is not None:
            args, kwargs = _as_given(model, inputs, known)
        elif known is not None:
            args, kwargs = tuple(known[0]), dict(known[1])
        else:
            raise ExportError(
                f"{model.name!r} does not define its inputs (it was never called): call it once, or pass"
                " inputs=[tf.TensorSpec([None, 3], tf.float32, name='x')]"
            )
        flat = tf.nest.flatten((args, kwargs))
        for index, spec in enumerate(flat):
            if not isinstance(spec, tf.TensorSpec):
                raise ExportError(
                    f"input {index} of {model.name!r} is a {type(spec).__name__}; give a function of dense tensors that"
                    " calls the model, with inputs=[tf.TensorSpec(...)]"
                )
        if inputs is None:
            return cls(args, kwargs, False, _labels(model, args, kwargs))
        return cls(args, kwargs, True, tuple(spec.name or "input" for spec in flat))

    def names(self, model: Any) -> tuple[str, ...]:
        """An identifier for each input; made-up names become ``x``, or ``x0``, ``x1``."""
        if self.given and "input" not in self.labels:
            return identifiers(self.labels)
        return readable(self.labels, "x")


def _as_given(model: Any, inputs: Any, known: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """``inputs=`` in the structure that the model was called with, else as its signature suggests."""
    if isinstance(inputs, Mapping):
        return ({key: tf.TensorSpec(spec.shape, spec.dtype, spec.name or key) for key, spec in inputs.items()},), {}
    specs = list(inputs)
    structure = known if known is not None and len(tf.nest.flatten(known)) == len(specs) else None
    if structure is not None:
        called = [spec.name for spec in tf.nest.flatten(structure)]
        by_name = {getattr(spec, "name", None): spec for spec in specs}
        if set(called) == set(by_name):  # a dictionary is flattened by its keys, whatever the order of ``inputs``
            specs = [by_name[name] for name in called]
        args, kwargs = tf.nest.pack_sequence_as((tuple(structure[0]), dict(structure[1])), specs)
        return args, kwargs
    if len(specs) == 1 or len(_parameters(model)) > 1:
        return tuple(specs), {}
    return (specs,), {}


def _parameters(model: Any) -> list[str]:
    """The names of the tensors that ``call`` takes by position."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(model.call).parameters.items()
    return [name for name, item in found if item.kind in positional and name not in ("training", "mask")]


def _labels(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """What the model calls its inputs: by its input layers, else by the parameters of ``call`` and keys."""
    flat = tf.nest.flatten((args, kwargs))
    if getattr(model, "_is_graph_network", False):
        # A Sequential model without an input layer counts: ``dense_3_input``.
        counted = {f"{layer.name}_input" for layer in model.layers if is_made_up(model, layer.name)}
        return tuple("input" if spec.name is None or spec.name in counted else spec.name for spec in flat)
    parameters = _parameters(model)
    labels: list[str] = []
    for index, item in enumerate(args):
        own = parameters[index] if index < len(parameters) else "input"
        labels += [own] if isinstance(item, tf.TensorSpec) else _keys(item)
    for key in sorted(kwargs):
        labels += [key] if isinstance(kwargs[key], tf.TensorSpec) else _keys(kwargs[key])
    return tuple(labels)


def _keys(structure: Any) -> list[str]:
    if isinstance(structure, Mapping):
        return [str(key) for key in sorted(structure)]
    return ["input"] * len(tf.nest.flatten(structure))


def _autograph() -> Any:
    """Layers convert the ``for`` and ``if`` over tensors of their ``call`` within it, as in ``Model.predict``."""
    options = converter.ConversionOptions(recursive=True)
    return cast(Any, ag_ctx.ControlStatusCtx(status=ag_ctx.Status.ENABLED, options=options))


def _converted(layer: Any) -> Callable[..., Any]:
    """The ``call`` of a layer as the layer itself would convert it in a graph."""
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        if tf.executing_eagerly():
            return original(*args, **kwargs)
        with _autograph() as context:
            return tf.__internal__.autograph.tf_convert(original, context)(*args, **kwargs)

    return call


def _traced_structure(model: Any, returned: Callable[..., Any], specs: Sequence[Any], training: bool) -> Any:
    """What a call returns, without running it."""
    structure: list[Any] = []

    def call(*tensors: Any) -> list[Any]:
        structure[:] = [returned(*tensors)]
        return [item for item in tf.nest.flatten(structure[0], expand_composites=True) if item is not None]

    traced = tf.function(call, autograph=False).get_concrete_function(*specs)
    written = written_variables(traced.graph) if training else ()
    if written:
        raise ExportError(
            f"training=True: the call changes variables of the model ({', '.join(written[:4])}), and the live model"
            " must stay as it is: freeze these layers, layer.trainable = False, or export with training=False"
        )
    return structure[0]


def _output_names(model: Any, structure: Any, count: int) -> tuple[str, ...]:
    """Keys and fields of what is returned, else the names that somebody gave to the last layers, else ``y``."""
    if isinstance(structure, dict) or hasattr(structure, "_fields"):
        return structure_names(structure, count)
    names = list(getattr(model, "output_names", None) or [])
    plain = type(model).__module__.split(".")[0] == PACKAGE  # a subclass may return something else than its layers do
    if not plain or len(names) != count or len(set(names)) != count or any(is_made_up(model, name) for name in names):
        return numbered("y", count)
    return tuple(names)
