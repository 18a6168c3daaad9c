"""The source in float64, as far as central differences need it: its outputs, and derivatives one order below.

Where the model declares gradients of its own, :class:`HeldSource` is what these declarations say it is.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.tracing import Traced, trace
from pullback_export.gate.exact_reference import Coverage, ExactFunction
from pullback_export.gate.exact_reference.evaluation import library_of
from pullback_export.overrides.declared.held_gradients import NotHeldError, held_gradients, is_custom
from pullback_export.sources.source import Source

Array = np.ndarray[Any, Any]
Run = Callable[[Mapping[str, Any]], dict[str, Array]]


@dataclasses.dataclass(frozen=True)
class ExactSource:
    """``functions`` by name are those of the bundle, of which ``evaluate`` gives the outputs."""

    source: Source
    functions: Mapping[str, ExactFunction]
    requests: Sequence[Request] = ()
    _traced: dict[str, ExactFunction] = dataclasses.field(default_factory=dict)

    @staticmethod
    def of(source: Source, traced: Sequence[Traced]) -> ExactSource:
        """From the graphs that the bundle is made of."""
        functions = {one.function.name: ExactFunction(one) for one in traced}
        return ExactSource(source, functions, traced[0].function.requests)

    def outputs(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The outputs of the source."""
        return self.functions["evaluate"](inputs, self.source.outputs)

    def derivative(self, request: Request) -> Run:
        """The result of ``request`` by its name, from the bundle's own graph where that has it."""
        for other in self.requests:
            same = (other.kind, other.of, other.wrt) == (request.kind, request.of, request.wrt)
            if same and other.scale == 1.0 and not request.seeds:
                return lambda inputs: {request.name: self.functions["evaluate"](inputs, [other.name])[other.name]}
        key = f"{request} {request.name}"
        if key not in self._traced:
            function = Derivatives(self.source, [request], "zero").functions()[-1]
            self._traced[key] = ExactFunction(trace(function))
        return lambda inputs: self._traced[key](inputs, [request.name])

    @functools.cached_property
    def coverage(self) -> Coverage:
        """How much of all functions is in float64."""
        return sum((exact.coverage for exact in self.functions.values()), Coverage())


@dataclasses.dataclass(frozen=True)
class HeldSource:
    """``source`` with whatever has a gradient by convention held at ``base``, inputs with seeds.

    A ``StopGradient`` passes the value of the base point; behind a ``tf.custom_gradient`` is its tangent there. All
    rows of ``base`` are asked at once.
    """

    source: Source
    base: Mapping[str, Any]
    _traced: dict[str, ExactFunction] = dataclasses.field(default_factory=dict)

    def outputs(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The outputs of the source."""
        return self._at(None, inputs)

    def derivative(self, request: Request) -> Run:
        """The result of ``request`` by its name."""
        return lambda inputs: self._at(request, inputs)

    def _at(self, request: Request | None, inputs: Mapping[str, Any]) -> dict[str, Array]:
        key = f"{request} {request.name}" if request is not None else ""
        names = self.source.outputs if request is None else (request.name,)
        if key not in self._traced:
            self._traced[key] = self._held(request)
            self._traced[key](self.base, names)
        return self._traced[key](inputs, names)

    def _held(self, request: Request | None) -> ExactFunction:
        """Raises :class:`NotHeldError` where a gradient of the model's own is out of reach, as in a SavedModel."""
        with held_gradients() as tangents:
            wanted = Derivatives(self.source, [] if request is None else [request], "zero").functions()[-1]
            plain = Derivatives(self.source, [], "zero").functions()[0]
            tangents.clear()
            values = trace(dataclasses.replace(plain, concrete=None))  # anew: its tangents are counted
            nodes = [node for item in library_of(values.concrete).values() for node in item.node_def]
            if sum(map(is_custom, nodes)) > len(tangents):
                raise NotHeldError("a gradient of its own is part of a graph that was traced before")
            return ExactFunction(trace(wanted), held=True)
