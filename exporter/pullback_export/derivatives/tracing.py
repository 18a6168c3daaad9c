"""One trace of each function: the graph that both artifacts are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pullback_export.derivatives.plan import Function, trace_function
from pullback_export.derivatives.vectorization import vectorized
from pullback_export.errors import ExportError
from pullback_export.overrides.missing_partials import MissingPartialError


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
    """Traces with free sizes where the inputs have them; what was traced already is taken as it is.

    Raises :class:`ExportError` where an operator has no gradient in TensorFlow.
    """

    def compute(*tensors: Any) -> dict[str, Any]:
        return dict(zip(function.outputs, function.compute(vectorized, *tensors), strict=True))

    if function.concrete is not None:
        return Traced(function, function.concrete)
    try:
        return Traced(function, trace_function(compute, function.inputs))
    except LookupError as problem:  # of TensorFlow's gradient registry
        raise ExportError(
            f"TensorFlow cannot differentiate the model: {_without_gradient(problem)}; replace the operator, or move"
            " it off the path of the derivatives"
        ) from problem


def _without_gradient(problem: LookupError) -> str:
    """The operator that has no gradient, and where it stands: TensorFlow's tape knows, its message does not say."""
    if isinstance(problem, MissingPartialError):
        return str(problem)
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "_gradient_function":
            known = trace.tb_frame.f_locals
            op = getattr(next(iter(known.get("outputs") or ()), None), "op", None)
            where = f" in {op.name}" if op is not None else ""
            return f"{known.get('op_name')}{where} has no gradient"
        trace = trace.tb_next
    return str(problem)
