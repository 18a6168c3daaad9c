"""Runs a rewritten function: straight from its definitions, without tracing anything again."""

from __future__ import annotations

import contextlib
import re
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import cancellation, context, execute
from tensorflow.python.framework import errors

from pullback_export.derivatives.tracing import Traced
from pullback_export.gate.exact_reference.grouped_convolutions import LACKING
from pullback_export.gate.exact_reference.holding import Hold
from pullback_export.gate.exact_reference.operators import TO_FLOAT64, Retyping
from pullback_export.gate.exact_reference.rewriting import Coverage, Rewritten, rewrite
from pullback_export.gate.exact_reference.used_results import UsedResults, part_of

Array = np.ndarray[Any, Any]
# Operators that turn out to have no kernel after all, as the GPU-only layouts of some convolutions, at most.
_MOST_UNSUITABLE = 16


class ExactFunction:
    """A traced function in another precision: ``function(inputs)`` gives its results by name.

    Arrays that are handed in or captured may have any precision. Variables are read when it runs. ``held``: what passes
    through a ``StopGradient`` keeps the values of the first call, which gives all results that are ever wanted.
    ``composed``: formulas take the place of operators without a kernel.
    """

    def __init__(
        self, traced: Traced, retyping: Retyping = TO_FLOAT64, held: bool = False, composed: bool = True
    ) -> None:
        self._traced = traced
        self._hold = Hold() if held else None
        self._composed = composed
        self._retyping = retyping
        self._unsuitable: frozenset[str] = frozenset()
        self._groups = False
        self._library = library_of(traced.concrete)
        self._captured = list(traced.concrete.captured_inputs)
        self._config = _without_optimisation()
        self._known: dict[tuple[str, ...], _Registered] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The results, in order."""
        return self._traced.function.outputs

    @property
    def shared(self) -> frozenset[str]:
        """The results that have no batch axis although the function has one."""
        return self._traced.function.shared

    @property
    def whole(self) -> frozenset[str]:
        """The inputs of which that is true."""
        return self._traced.function.whole

    @property
    def coverage(self) -> Coverage:
        """How much of the function is in the new precision."""
        return self._registered(self.names).coverage

    def __call__(self, inputs: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, Array]:
        """The results ``names``, all by default; what only leads to others is not computed.

        Raises the ``tf.errors.OpError`` of an operator that does not take the inputs.
        """
        wanted = tuple(self.names if names is None else names)
        while True:
            registered = self._registered(wanted)
            try:
                return dict(zip(wanted, (np.asarray(item) for item in self._run(registered, inputs)), strict=True))
            except errors.OpError as problem:
                if LACKING in str(problem) and not self._groups:
                    self._groups = True
                    self._known.clear()
                    continue
                culprit = registered.without_kernel(problem)
                if culprit is None or culprit in self._unsuitable or len(self._unsuitable) >= _MOST_UNSUITABLE:
                    raise
                self._unsuitable |= {culprit}
                self._known.clear()

    def unconverted(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """All results of the traced graph itself, in its own precision, as TensorFlow optimises it.

        Raises the ``tf.errors.OpError`` of an operator that does not take the inputs.
        """
        given = [tf.constant(inputs[spec.name], spec.dtype) for spec in self._traced.function.inputs]
        found = self._traced.concrete(*given)
        return {name: np.asarray(found[name]) for name in self.names}

    def _run(self, registered: _Registered, inputs: Mapping[str, Any]) -> list[Any]:
        if self._hold is not None:
            self._hold.begin()
        given = [inputs[spec.name] for spec in self._traced.function.inputs]
        tensors = [
            _tensor(value, dtype) for value, dtype in zip([*given, *self._captured], registered.inputs, strict=True)
        ]
        attributes = ("executor_type", "", "config_proto", self._config)
        call = (registered.name, registered.outputs, tensors, attributes, context.context())
        manager = cancellation.context()  # of a watch over time and memory
        return list(execute.execute_with_cancellation(*call, manager) if manager else execute.execute(*call))

    def _registered(self, wanted: tuple[str, ...]) -> _Registered:
        if wanted not in self._known:
            flat = sorted(self.names)  # the traced function returns a dictionary, which TensorFlow sorts
            whole = self._library[self._traced.concrete.function_def.signature.name]
            used = UsedResults(self._library)
            definition = used.of(part_of(whole, [flat.index(name) for name in wanted], effects=False))
            rewritten = rewrite(
                definition,
                used.find,
                self._retyping,
                self._unsuitable,
                composed=self._composed,
                groups=self._groups,
            )
            if self._hold is not None:
                self._hold = Hold()
                rewritten = self._hold.applied(rewritten)
            self._known[wanted] = _Registered(rewritten)
        return self._known[wanted]


class _Registered:
    """Definitions that TensorFlow knows while this lives."""

    def __init__(self, rewritten: Rewritten) -> None:
        self.name = rewritten.name
        self.coverage = rewritten.coverage
        signature = next(item for item in rewritten.definitions if item.signature.name == rewritten.name).signature
        self.inputs = [item.type for item in signature.input_arg]
        self.outputs = len(signature.output_arg)
        self._operators: dict[str, str] = {
            node.name: node.op for item in rewritten.definitions for node in item.node_def
        }
        names = [item.signature.name for item in rewritten.definitions]
        for item in rewritten.definitions:
            context.context().add_function_def(item)
        weakref.finalize(self, _forget, names)

    def without_kernel(self, problem: Any) -> str | None:
        """The operator that ``problem`` says there is no kernel for, or None where it says something else."""
        text = str(problem)
        missing = isinstance(problem, errors.NotFoundError | errors.UnimplementedError)
        if not missing and "not in the list of allowed values" not in text and "No OpKernel" not in text:
            return None
        for name in re.findall(r"\{\{node ([^}]+)\}\}", text):
            for known in (name, name.rsplit("/", 1)[-1]):
                if known in self._operators:
                    return self._operators[known]
        return None


def _forget(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(errors.NotFoundError):
            context.context().remove_function(name)


def library_of(concrete: Any) -> dict[str, Any]:
    """Every function that ``concrete`` is made of, by name, itself included."""
    library = {item.signature.name: item for item in concrete.graph.as_graph_def().library.function}
    definition = concrete.function_def
    return library | {definition.signature.name: definition}


def _without_optimisation() -> bytes:
    """Graphs run as they are: a second opinion on them, and sooner."""
    config = config_pb2.ConfigProto()
    config.CopyFrom(context.context().config)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return bytes(config.SerializeToString())


def _tensor(value: Any, dtype: int) -> Any:
    wanted = tf.as_dtype(dtype)
    if tf.is_tensor(value):
        return value if value.dtype == wanted or value.dtype in (tf.resource, tf.variant) else tf.cast(value, wanted)
    return tf.constant(np.asarray(value).astype(wanted.as_numpy_dtype), wanted)
