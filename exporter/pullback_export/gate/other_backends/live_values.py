"""The outputs of a live model on its own backend against those of a bundle that was made of it on TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pullback
from pullback.manifest import BATCH_NAMES, Tolerance
from pullback.parity import Report, Row, compare_arrays

from pullback_export.errors import ExportError
from pullback_export.failures import one_line
from pullback_export.gate.sampling.given import MOST_ROWS
from pullback_export.gate.target_precision import AGREEMENT
from pullback_export.gate.verdicts.verdict import LARGEST_LIVE_ERROR, LIVE_FACTOR
from pullback_export.sources.inside.inner_inputs import names_among
from pullback_export.sources.inside.layer_taps import tapped
from pullback_export.sources.keras.calls import input_names, input_template, output_names, results
from pullback_export.sources.names import Outputs, identifiers, kept, numbered
from pullback_export.sources.source import layer_call

Arrays = dict[str, np.ndarray[Any, Any]]
_BATCHES = tuple((name,) for name in BATCH_NAMES)


class _NotCallable(Exception):
    """The live model cannot be called with what the bundle takes; the message says why."""


@dataclasses.dataclass(frozen=True)
class LiveModel:
    """A Keras model on any backend, called with a bundle's inputs; the arguments are those of ``export``."""

    model: Any
    inputs: Any = None
    outputs: Outputs = None
    training: bool = False
    scaling: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)

    @property
    def backend(self) -> str:
        return str(keras.config.backend())

    @property
    def lowest(self) -> str:
        """The lowest precision that a layer computes in."""
        dtypes = {str(layer.dtype_policy.compute_dtype) for layer in self.model._flatten_layers()}
        return next((name for name in ("bfloat16", "float16", "float32") if name in dtypes), "float64")

    def __call__(self, bundle: pullback.Bundle, inputs: Arrays) -> Arrays:
        """The outputs by the bundle's names, in the model's own precision.

        ``inputs`` are rounded in place to what the model takes, so that both take the same.

        Raises:
            ExportError: the model fails, or its inputs and outputs are not those of the bundle.
            _NotCallable: the bundle starts inside of the model, and what lies before that cannot be made up.
        """
        given, wanted = names_among(self.inputs)
        template = input_template(self.model, given)
        flat = keras.tree.flatten(template)
        own = input_names(flat, given)
        inner = self._inner(list(inputs), own, wanted is not None)
        names = dict(zip(own, own, strict=True)) if inner or set(own) == set(inputs) else dict(zip(own, inputs))
        if not inner and len(own) != len(inputs):
            raise ExportError(f"the bundle has inputs {list(inputs)}, the model {list(own)}: it is another model")
        tensors = []
        for item, name in zip(flat, own, strict=True):
            dtype = keras.backend.standardize_dtype(item.dtype)
            if names[name] in inputs:
                tensors.append(self._tensor(inputs, names[name], dtype))
            else:
                tensors.append(keras.ops.zeros(self._made_up(bundle, item, name, inputs), dtype))
        replaced = {name: self._tensor(inputs, name, None) for name in inner}
        try:
            with tapped(self.model, inner, lambda name, _: replaced[name]), _full_precision(self.backend):
                structure = results(self.model, template, self.training, tensors)
                flat_results = [keras.ops.convert_to_numpy(item) for item in keras.tree.flatten(structure)]
        except Exception as problem:
            said = f"{type(problem).__name__}: {one_line(str(problem))}"
            if inner:
                raise _NotCallable(said) from problem
            raise ExportError(
                f"the live model on {self.backend} fails on a sample that it takes on TensorFlow: {said}; pass"
                " samples={...} that it accepts"
            ) from problem
        return self._named(structure, flat_results)

    def _inner(self, names: Sequence[str], own: Sequence[str], told: bool) -> list[str]:
        """The inputs of the bundle that are inner layers; none where they are the model's own under other names."""
        layers = [layer.name for layer in self.model._flatten_layers(include_self=False)]
        inner = [name for name in names if name not in own]
        known = all(layer_call(name, layers)[0] in layers for name in inner)
        return inner if told or (known and inner) else []

    def _tensor(self, inputs: Arrays, name: str, dtype: str | None) -> Any:
        """The input in the model's units and precision."""
        array = inputs[name]
        tensor = keras.ops.convert_to_tensor(array, dtype or array.dtype.name)
        if dtype is not None and array.dtype.kind == "f":
            inputs[name] = keras.ops.convert_to_numpy(tensor).astype(array.dtype)
        if name not in self.scaling:
            return tensor
        offset, scale = (keras.ops.convert_to_tensor(np.asarray(x), tensor.dtype) for x in self.scaling[name])
        return (tensor - offset) / scale

    def _made_up(self, bundle: pullback.Bundle, item: Any, name: str, inputs: Arrays) -> list[int]:
        """The sizes of an input that the bundle left out, as nothing depends on its values."""
        assert bundle.manifest is not None
        specs = bundle.manifest.functions[0].function.inputs
        rows = next((len(inputs[spec.name]) for spec in specs if spec.shape[:1] in _BATCHES), None)
        known = [rows if axis == 0 and size is None else size for axis, size in enumerate(item.shape)]
        sizes = [size for size in known if size is not None]
        if len(sizes) < len(known):
            raise _NotCallable(f"the size of its input {name!r}, which the bundle does not take, is not known")
        return sizes

    def _named(self, structure: Any, flat: Sequence[Any]) -> Arrays:
        count, found = output_names(self.model, lambda: structure)
        found = found if len(found) == count else numbered("y", count)
        keep = kept(self.outputs, identifiers(found), found)
        named: Arrays = {}
        for name, position in zip(keep.names, keep.positions, strict=True):
            array = np.asarray(flat[position])
            if name in self.scaling:
                offset, scale = (np.asarray(x, array.dtype) for x in self.scaling[name])
                array = offset + scale * array
            named[name] = array
        return named


def confirmed(
    live: LiveModel,
    bundle: pullback.Bundle,
    samples: Any,
    tolerance: Callable[[str], Tolerance],
) -> Report:
    """A row for each output and sample: ``bundle`` against the ``live`` model on its own backend.

    The samples are the golden ones of the bundle and the caller's that have every input. As elsewhere in the gate the
    bound is the ``tolerance`` and a small multiple of the live model's own error, which the bundle's report has of
    TensorFlow; where the bundle computes in a higher precision than the live model, what layers in that precision may
    add up to.
    """
    assert bundle.manifest is not None
    evaluate = bundle.manifest.functions[0].function
    errors = _live_errors(bundle.manifest.parity)
    report = Report()
    stage = f"live model on {live.backend}"
    for label, case in cases(bundle, samples):
        inputs = {name: np.array(array) for name, array in case.items()}
        try:
            values = live(bundle, inputs)
        except _NotCallable as problem:
            note = f"{stage}: not compared, as the bundle starts inside of it: {problem}"
            return report + Report(notes=(note,))
        plain = [spec.name for spec in evaluate.outputs if spec.name in values] or [
            spec.name for spec in evaluate.outputs[: len(values)]
        ]
        if len(plain) != len(values):
            raise ExportError(f"the bundle has outputs {plain}, the model {list(values)}: it is another model")
        found = bundle(**inputs, fetch=tuple(plain))
        named = values if set(plain) == set(values) else dict(zip(plain, values.values(), strict=True))
        for name in plain:
            actual = np.asarray(getattr(found, name))
            bound = _bound(live, named[name], actual, tolerance(name), errors.get(name, 0.0))
            report += Report((_row(f"{stage}: {label}", name, named[name], actual, bound),))
    return report


def _row(stage: str, name: str, live: Any, actual: Any, bound: float) -> Row:
    """Whole numbers in the width of the bundle's: JAX has no int64 unless it is told to."""
    return compare_arrays(stage, name, live.astype(actual.dtype), actual, bound)


def _bound(live: LiveModel, value: Any, actual: Any, tolerance: Tolerance, error: float) -> float:
    if actual.dtype.kind != "f":
        return 0.0
    own = value.dtype.name if value.dtype.name in AGREEMENT else "float64"
    lowest = min(live.lowest, own, key=["bfloat16", "float16", "float32", "float64"].index)
    if lowest != actual.dtype.name and lowest in AGREEMENT:
        return AGREEMENT[lowest]
    return tolerance.of(actual.dtype.name) + LIVE_FACTOR * (error if error <= LARGEST_LIVE_ERROR else 0.0)


def _live_errors(parity: Mapping[str, Any]) -> dict[str, float]:
    """The largest relative error of the live model on TensorFlow, by output."""
    found: dict[str, float] = {}
    for row in parity.get("rows") or ():
        error, scale = row.get("live_error"), row.get("scale")
        if isinstance(error, float) and isinstance(scale, float) and scale > 0:
            found[row["output"]] = max(found.get(row["output"], 0.0), error / scale)
    return found


def cases(bundle: pullback.Bundle, samples: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Labels and inputs, in the dtypes of the bundle."""
    for number, case in enumerate(bundle.samples()["evaluate"]):
        yield f"golden sample {number}", case.inputs
    assert bundle.manifest is not None
    evaluate = bundle.manifest.functions[0].function
    given = [samples] if isinstance(samples, Mapping) else samples or []
    for number, item in enumerate(given):
        if all(spec.name in item for spec in evaluate.inputs):
            arrays = {spec.name: np.asarray(item[spec.name]).astype(spec.dtype) for spec in evaluate.inputs}
            batched = [spec.name for spec in evaluate.inputs if evaluate.batched and spec.shape[:1] in _BATCHES]
            yield f"given sample {number}", _some_rows(arrays, batched) if batched else arrays


def _some_rows(arrays: Arrays, batched: Sequence[str]) -> Arrays:
    """As many rows as the gate takes of the caller's samples, evenly spaced; what all rows share stays as it is."""
    count = len(arrays[batched[0]])
    numbers = np.linspace(0, count - 1, min(count, MOST_ROWS)).astype(int)
    return {name: array[numbers] if name in batched else array for name, array in arrays.items()}


@contextlib.contextmanager
def _full_precision(backend: str) -> Iterator[None]:
    """Products of matrices without the shortcuts (TF32) that accelerators take by default."""
    if backend == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            yield
    elif backend == "torch":
        import torch

        with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
            yield
    else:
        yield
