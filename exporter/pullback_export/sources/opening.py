"""Whatever the user gave becomes one thing: named inputs, named outputs and a function of tensors."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import tensorflow as tf
from tensorflow.python.util import nest

from pullback_export.errors import ExportError
from pullback_export.lowering.converter import check_dtype

Tap = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """The live model. ``call(*tensors)`` returns one tensor per output, in graph mode and eagerly.

    ``tapped(names, tap)`` is a context in which the output of each named inner layer passes through ``tap``.
    ``spreads`` gives offset and scale of the inputs that are in physical units. ``axes`` names free axes, by input and
    number; those of one name have one size. ``trackable`` keeps the model's
    variables alive and is stored with the SavedModel; ``twin()`` gives the same
    function in float64, or None where that cannot be made.
    """

    kind: str
    inputs: tuple[tf.TensorSpec, ...]
    outputs: tuple[str, ...]
    call: Callable[..., tuple[Any, ...]]
    batched: bool
    trackable: Any = None
    layers: tuple[str, ...] = ()
    tapped: Callable[[Sequence[str], Tap], contextlib.AbstractContextManager[None]] | None = None
    twin: Callable[[], Callable[..., tuple[Any, ...]] | None] | None = None
    spreads: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    axes: Mapping[str, Mapping[int, str]] = dataclasses.field(default_factory=dict)

    @property
    def dtype(self) -> str:
        """``float64`` where any input is, else ``float32``."""
        return "float64" if any(spec.dtype == tf.float64 for spec in self.inputs) else "float32"


def open_source(
    model: Any,
    inputs: Sequence[Any] | Mapping[str, Any] | None,
    outputs: Sequence[str] | None,
    batched: bool | None,
    training: bool,
    signature: str | None = None,
) -> Source:
    """Reads a Keras model, a ``.keras`` path, a SavedModel folder, a ``tf.Module`` or a function of tensors."""
    if isinstance(model, str | pathlib.Path):
        model = _load(pathlib.Path(model))
    if _is_keras(model):
        from pullback_export.sources.keras_models import keras_source

        source = keras_source(model, inputs, outputs, training)
    elif hasattr(model, "signatures") and isinstance(model, tf.__internal__.tracking.AutoTrackable):
        source = _saved_model_source(model, outputs, signature)
    elif callable(model):
        source = _function_source(model, inputs, outputs, training)
    else:
        raise ExportError(
            f"cannot export a {type(model).__name__}: give a keras.Model, the path of a .keras file or of a SavedModel"
            " folder, a tf.Module with __call__, a tf.function, or a function with inputs=[tf.TensorSpec(...)]"
        )
    if signature is not None and source.kind != "saved_model":
        raise ExportError(f"signature={signature!r}: only a SavedModel has signatures, not a {source.kind} source")
    source = dataclasses.replace(source, batched=_is_batched(source.inputs) if batched is None else batched)
    _check(source)
    return source


def _load(path: pathlib.Path) -> Any:
    if not path.exists():
        raise ExportError(f"{path}: no such file or folder; give a .keras file or a SavedModel folder")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ExportError(f"{path}: not a SavedModel folder (it has no saved_model.pb)")
        return tf.saved_model.load(str(path))
    try:
        import keras
    except ImportError as problem:
        from pullback_export.errors import MissingDependencyError

        raise MissingDependencyError('reading a .keras file needs Keras: pip install "pullback[export]"') from problem
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as problem:
        said = str(problem).split("Full object config")[0].strip()
        remedy = " (on the command line: --import MODULE)" if "make sure they are all imported" in said else ""
        raise ExportError(f"{path}: Keras cannot read it: {said}{remedy}") from problem


def _is_keras(model: Any) -> bool:
    try:
        import keras
    except ImportError:
        return False
    return isinstance(model, keras.Layer)


def _saved_model_source(loaded: Any, outputs: Sequence[str] | None, chosen: str | None) -> Source:
    signatures = loaded.signatures
    if not signatures:
        raise ExportError("the SavedModel has no signature; save it with signatures=... (Keras: model.export(path))")
    names = ", ".join(sorted(signatures))
    if chosen is None and "serving_default" not in signatures and len(signatures) > 1:
        raise ExportError(
            f"the SavedModel has the signatures {names} and no serving_default: choose one,"
            f" signature={min(signatures)!r}"
        )
    name = chosen or ("serving_default" if "serving_default" in signatures else min(signatures))
    if name not in signatures:
        raise ExportError(f"the SavedModel has no signature {name!r}; it has {names}")
    return _signature_source(loaded, signatures[name], outputs)


def _signature_source(loaded: Any, signature: Any, outputs: Sequence[str] | None) -> Source:
    """A signature takes its inputs by name and returns a dictionary, whose order TensorFlow leaves to chance."""
    specs = signature.structured_input_signature[1]
    keys = [key for key in signature._arg_keywords if key in specs]
    results = sorted(signature.structured_outputs, key=_in_counting_order)
    chosen = _rename(outputs, _readable(results, "y"))

    def call(*tensors: Any) -> tuple[Any, ...]:
        values = signature(**dict(zip(keys, tensors, strict=True)))
        return tuple(values[key] for key in results)

    named = zip(keys, _readable(keys, "x"), strict=True)
    inputs = tuple(tf.TensorSpec(specs[key].shape, specs[key].dtype, label) for key, label in named)
    return Source("saved_model", inputs, chosen, call, True, loaded)


def _in_counting_order(name: str) -> tuple[str, int, str]:
    """``output_2`` before ``output_10``."""
    stem, number = re.fullmatch(r"(.*?)(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return stem, int(number or -1), name


def _function_source(
    model: Any, inputs: Sequence[Any] | Mapping[str, Any] | None, outputs: Sequence[str] | None, training: bool
) -> Source:
    arguments = [dict(inputs)] if isinstance(inputs, Mapping) else inputs
    arguments = list(arguments) if arguments is not None else _signature_of(model)
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
    chosen = _rename(outputs, found)
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


def structure_names(result: Any, count: int) -> tuple[str, ...]:
    """Keys of a dictionary, fields of a named tuple, else ``y`` or ``y0, y1, ...``."""
    if isinstance(result, dict) and all(isinstance(key, str) for key in result):
        return tuple(sorted(result)) if len(result) == count else numbered("y", count)
    fields = getattr(result, "_fields", None)
    return tuple(fields) if fields and len(fields) == count else numbered("y", count)


def numbered(stem: str, count: int) -> tuple[str, ...]:
    return (stem,) if count == 1 else tuple(f"{stem}{index}" for index in range(count))


def _signature_of(model: Any) -> list[Any]:
    function = model if hasattr(model, "input_signature") else getattr(model, "__call__", None)  # noqa: B004
    signature = getattr(function, "input_signature", None)
    return list(signature) if signature else []


def _rename(wanted: Sequence[str] | None, found: Sequence[str]) -> tuple[str, ...]:
    if wanted is None:
        return tuple(found)
    if isinstance(wanted, str) or len(wanted) != len(found):
        raise ExportError(
            f"outputs={wanted!r}: the model has {len(found)} output(s); give a list with one name for each"
        )
    return tuple(wanted)


rename = _rename


def _readable(names: Sequence[str], stem: str) -> tuple[str, ...]:
    """Names that Keras and TensorFlow made up give way to ``x`` or ``y``."""
    made_up = re.compile(r"(keras_tensor|input|input_layer|inputs|output|Identity|args?)(_\d+)*|.*[^\w].*")
    if any(made_up.fullmatch(name) for name in names):
        return numbered(stem, len(names))
    return tuple(names)


readable = _readable


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _is_batched(inputs: Sequence[tf.TensorSpec]) -> bool:
    return all(spec.shape.rank is not None and spec.shape.rank > 0 and spec.shape[0] is None for spec in inputs)


def _check(source: Source) -> None:
    names = [spec.name for spec in source.inputs] + list(source.outputs)
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ExportError(f"{name!r} cannot name an input or output: use letters, digits and underscores")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ExportError(
            f"the names {repeated} stand for more than one input or output: rename with outputs=[...] or inputs=[...]"
        )
    for spec in source.inputs:
        check_dtype(spec.dtype)
        if spec.shape.rank is None:
            raise ExportError(
                f"input {spec.name!r} has an unknown rank: give inputs=[tf.TensorSpec([None, ...], name={spec.name!r})]"
            )
        if not (spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype == tf.bool):
            raise ExportError(
                f"input {spec.name!r} has dtype {spec.dtype.name}: inputs are float32, float64, integer or bool"
            )


@contextlib.contextmanager
def no_taps(names: Sequence[str], tap: Tap) -> Iterator[None]:
    """For sources without layers."""
    yield
