"""One trace of each function: the graph that both artifacts are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pullback_export.derivatives.plan import Function, trace_function
from pullback_export.derivatives.vectorization import vectorized
from pullback_export.errors import ExportError


@dataclasses.dataclass(frozen=True)
class Traced:
    """A function and its TensorFlow graph, whose outputs are a dictionary by name."""

    function: Function
    concrete: Any

    def in_order(self, flat: Sequence[Any]) -> list[Any]:
        """TensorFlow sorts a dictionary by its keys; the function's outputs have an order of their own."""
        by_name = dict(zip(sorted(self.function.outputs), flat, strict=True))
        return [by_name[name] for name in self.function.outputs]


def trace(function: Function) -> Traced:
    """Traces with free sizes where the inputs have them.

    Raises :class:`ExportError` where an operator has no gradient in TensorFlow.
    """

    def compute(*tensors: Any) -> dict[str, Any]:
        return dict(zip(function.outputs, function.compute(vectorized, *tensors), strict=True))

    try:
        return Traced(function, trace_function(compute, function.inputs))
    except LookupError as problem:  # of TensorFlow's gradient registry
        raise ExportError(
            f"TensorFlow cannot differentiate the model: {problem}; replace the operator, or put it where no"
            " derivative passes"
        ) from problem
