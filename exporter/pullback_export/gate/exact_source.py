"""The source in float64, as far as central differences need it: its outputs, and derivatives one order below."""

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
