"""``export(..., precision=...)``: the traced graphs in another precision, which is then what is written and compared.

A float32 model becomes a float64 bundle, a model with half precision inside a float32 one. The weights keep the values
that they were trained to. What the model itself says, in its own precision, has to agree as far as that goes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from pullback.parity import Report
from tensorflow.core.framework import function_pb2
from tensorflow.python.saved_model import function_deserialization

from pullback_export.derivatives.plan import Function, trace_function
from pullback_export.derivatives.tracing import Traced
from pullback_export.errors import ExportError, PrecisionError
from pullback_export.gate.exact_reference import ExactFunction, library_of
from pullback_export.gate.exact_reference.operators import HALF_TO_FLOAT32, TO_FLOAT64, Retyping
from pullback_export.gate.exact_reference.rewriting import rewrite
from pullback_export.gate.live_model import Arrays, Refused, answer
from pullback_export.gate.samples import Sample
from pullback_export.gate.truth import agreement_of
from pullback_export.sources.source import Source

PRECISIONS: Mapping[str, Retyping] = {"float32": HALF_TO_FLOAT32, "float64": TO_FLOAT64}
# How far a model in its own precision may be from the same in a higher one: what its layers' rounding adds up to.
AGREEMENT = {"float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}


@dataclasses.dataclass(frozen=True)
class Retyped:
    """The graphs in the target precision, and ``source`` with their inputs; ``witness`` is the model as it was.

    ``variables`` live as long as this: a graph does not keep its own.
    """

    source: Source
    traced: tuple[Traced, ...]
    witness: Witness | None = None
    variables: _Variables | None = None


@dataclasses.dataclass(frozen=True)
class Witness:
    """The live ``source`` and its functions, eagerly, in its own precision: they confirm what the graphs compute."""

    source: Source
    functions: tuple[Function, ...]
    agreement: float

    def confirms(
        self, samples: Sequence[Sample], inputs: Sequence[Sequence[Arrays]], answers: Sequence[Sequence[Arrays | None]]
    ) -> Report:
        """A row for each output, by function and sample as ``answers``; a failure where most rows disagree."""
        report = Report()
        for function, given, found in zip(self.functions, inputs, answers, strict=True):
            own = [self._answer(function, item) for item in given]
            for name in function.outputs:
                row = agreement_of(function.name, name, samples, own, found, False, self.agreement)
                problem = row.warning and "the live model in its own precision disagrees with the graph in the new one"
                report += Report((dataclasses.replace(row, problem=problem, warning=""),))
        return report

    def _answer(self, function: Function, inputs: Arrays) -> Arrays | None:
        kept = {spec.name: inputs[spec.name].astype(spec.dtype.as_numpy_dtype) for spec in function.inputs}
        try:
            found = answer(function, kept)
        except Refused:
            return None
        return {name: array if array.dtype.kind in "biu" else array.astype(np.float64) for name, array in found.items()}


def check_precision(precision: str | None) -> None:
    """Raises :class:`ExportError` for a word that is none."""
    if precision is not None and precision not in PRECISIONS:
        raise ExportError(f"precision={precision!r}: write 'float32', 'float64' or None for the model's own")


def in_precision(source: Source, traced: Sequence[Traced], precision: str | None) -> Retyped:
    """The graphs ``traced`` of ``source`` in ``precision``; as they are where that is theirs already, or None.

    Raises:
        PrecisionError: an operator that cannot compute in it.
        ExportError: the model is in a higher precision.
    """
    if precision is None:
        return Retyped(source, tuple(traced))
    if precision == "float32" and source.dtype == "float64":
        raise ExportError(
            "precision='float32': the model computes in float64, and a bundle is never less precise"
            " than its model; omit precision="
        )
    retyping = PRECISIONS[precision]
    exact = [ExactFunction(one, retyping, composed=False) for one in traced]
    if not any(item.coverage.operators for item in exact):
        return Retyped(source, tuple(traced))
    for item in exact:
        if not item.coverage.exact:
            left = ", ".join(f"{op} ({number})" for op, number in item.coverage.left.items())
            raise PrecisionError(
                f"precision={precision!r}: TensorFlow has no {precision} kernel of {left}; replace these operators, or"
                " export without precision="
            )
    variables = _Variables(retyping)
    found = tuple(_retyped(one, item, variables) for one, item in zip(traced, exact, strict=True))
    witness = Witness(source, tuple(one.function for one in traced), _agreement(traced))
    return Retyped(_source(source, exact[0], retyping), found, witness, variables)


def _agreement(traced: Sequence[Traced]) -> float:
    """By the lowest precision that occurs in the graphs."""
    dtypes = {tensor.dtype.name for one in traced for op in _operations(one) for tensor in op.outputs}
    return max(AGREEMENT[name] for name in AGREEMENT if name in dtypes or name == "float32")


def _operations(traced: Traced) -> list[Any]:
    return list(traced.concrete.graph.get_operations())


class _Variables:
    """What graphs captured, in the new precision: variables are made once, for all functions together."""

    def __init__(self, retyping: Retyping) -> None:
        self.retyping = retyping
        self._made: dict[int, tuple[Any, tf.Variable]] = {}

    def of(self, captured: Any) -> Any:
        """The tensor to capture in the place of ``captured``, and the variable that it is the handle of, or None."""
        if captured.dtype != tf.resource:
            return tf.cast(captured, self._dtype(captured.dtype.as_datatype_enum)), None
        known = getattr(captured, "_handle_data", None)
        held = known.shape_and_type[0].dtype if known is not None and known.is_set and known.shape_and_type else None
        if held is None or held not in self.retyping:
            return captured, None
        if id(captured) not in self._made:
            value = tf.raw_ops.ReadVariableOp(resource=captured, dtype=tf.as_dtype(held))
            self._made[id(captured)] = captured, tf.Variable(tf.cast(value, self._dtype(held)), trainable=False)
        variable = self._made[id(captured)][1]
        return variable.handle, variable

    def _dtype(self, dtype: int) -> tf.DType:
        return tf.as_dtype(self.retyping.get(dtype, dtype))


def _retyped(traced: Traced, exact: ExactFunction, variables: _Variables) -> Traced:
    """The graph anew, and the function whose meaning it is."""
    old, retyping = traced.function, variables.retyping
    inputs = tuple(_spec(spec, retyping) for spec in old.inputs)
    loaded = _loaded(traced, retyping)
    names = sorted(old.outputs)
    captured = [variables.of(item) for item in traced.concrete.captured_inputs]

    def graph(*tensors: Any) -> dict[str, Any]:
        made = [variable for _, variable in captured if variable is not None]
        kept = [
            item for item in traced.concrete.graph.variables if any(item.handle is tensor for tensor, _ in captured)
        ]
        for variable in (*made, *kept):
            tf.compat.v1.get_default_graph().watch_variable(variable)
        given = [*tensors, *(item[0] for item in captured)]
        types = [tensor.dtype for tensor in loaded.graph.outputs]
        results = tf.raw_ops.StatefulPartitionedCall(args=given, Tout=types, f=loaded)
        return {
            name: tf.ensure_shape(result, tensor.shape)
            for name, result, tensor in zip(names, results, traced.concrete.outputs, strict=True)
        }

    def compute(vectorize: Any, *tensors: Any) -> list[Any]:
        found = exact({spec.name: tensor for spec, tensor in zip(inputs, tensors, strict=True)})
        return [found[name] for name in old.outputs]

    values = None if old.values is None else _with_casts(old.values, old.inputs)
    function = dataclasses.replace(old, inputs=inputs, compute=compute, values=values, beside=None, concrete=None)
    return Traced(function, trace_function(graph, inputs))


def _loaded(traced: Traced, retyping: Retyping) -> Any:
    """The rewritten definitions as a function that graphs may call; its last arguments are what was captured."""
    library = library_of(traced.concrete)
    rewritten = rewrite(traced.concrete.function_def, library.get, retyping, variables=True)
    definitions = function_pb2.FunctionDefLibrary(function=rewritten.definitions)
    for definition in definitions.function:
        if definition.signature.name == rewritten.name:
            shapes = definition.attr["_input_shapes"].list.shape
            del shapes[:]
            shapes.extend(tensor.shape.as_proto() for tensor in traced.concrete.inputs)
    return function_deserialization.load_function_def_library(definitions)[rewritten.name]


def _source(source: Source, evaluate: ExactFunction, retyping: Retyping) -> Source:
    """The outputs in the new precision, eagerly."""
    inputs = tuple(_spec(spec, retyping) for spec in source.inputs)

    def call(*tensors: Any) -> tuple[Any, ...]:
        given = {spec.name: tensor for spec, tensor in zip(inputs, tensors, strict=True)}
        found = evaluate(given, source.outputs)
        return tuple(tf.constant(found[name]) for name in source.outputs)

    return dataclasses.replace(source, inputs=inputs, call=call, tapped=None, layers=())


def _with_casts(values: Callable[..., Any], specs: Sequence[tf.TensorSpec]) -> Callable[..., Any]:
    """``values``, which wants tensors as ``specs`` say, for tensors of another precision."""

    def cast(tensors: Sequence[Any], tapes: Any) -> Any:
        given = [tf.cast(tensor, spec.dtype) for tensor, spec in zip(tensors, specs, strict=False)]
        return values(given, tapes)

    return cast


def _spec(spec: tf.TensorSpec, retyping: Retyping) -> tf.TensorSpec:
    dtype = retyping.get(spec.dtype.as_datatype_enum, spec.dtype.as_datatype_enum)
    return tf.TensorSpec(spec.shape, tf.as_dtype(dtype), spec.name)
