"""A traced function as an ONNX model: lowered, checked, and described by a :class:`FunctionSpec`."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import onnx
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec, Tolerance, metadata_props

from pullback_export.derivatives.plan import Function
from pullback_export.derivatives.tracing import Traced
from pullback_export.errors import ExportError
from pullback_export.graph.dims import Dim, Shape
from pullback_export.graph.graph import Graph, Value
from pullback_export.graph.serialization import to_model
from pullback_export.lowering.converter import Converter

OPSETS = range(18, 24)


@dataclasses.dataclass(frozen=True)
class OnnxFunction:
    """The ``.onnx`` file of one function and what the manifest says of it."""

    content: bytes
    spec: FunctionSpec


def build(traced: Traced, batched: bool, opset: int, tolerance: Tolerance, batch: str = "B") -> OnnxFunction:
    """The function's file; ``batch`` names its batch axis, ``B`` where rows may be computed apart from each other.

    Raises :class:`UnsupportedOpsError` with every op that has no exact form, and where it comes from.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset={opset}: choose one of {OPSETS.start} to {OPSETS.stop - 1}")
    graph, outputs = lower(traced, batched, batch)
    function = traced.function
    spec = FunctionSpec(
        function.name,
        tuple(_tensor(name, value) for name, value in graph.inputs),
        tuple(_tensor(name, value) for name, value in zip(function.outputs, outputs, strict=True)),
        tuple(describe(function)),
        batched,
    )
    graph.outputs = list(zip(function.outputs, outputs, strict=True))
    content = to_model(graph, opset, metadata_props(spec, tolerance)).SerializeToString(deterministic=True)
    onnx.checker.check_model(content, full_check=True)
    return OnnxFunction(content, spec)


def lower(traced: Traced, batched: bool, batch: str = "B") -> tuple[Graph, list[Value]]:
    """The graph of a traced function, with values for its outputs in the order of their names."""
    graph = Graph()
    inputs = []
    for spec in traced.function.inputs:
        shape: Shape = tuple(
            Dim.atom(batch if batched and axis == 0 else f"{spec.name}_{axis}") if size is None else size
            for axis, size in enumerate(spec.shape.as_list())
        )
        inputs.append(graph.input(spec.name, np.dtype(spec.dtype.as_numpy_dtype), shape))
    converter = Converter()
    flows = converter.convert(traced.concrete.graph, inputs, graph)
    converter.check()
    outputs = traced.in_order(flows)
    for name, value in zip(traced.function.outputs, outputs, strict=True):
        if not isinstance(value, Value):
            raise ExportError(f"output {name!r} is complex; return its real and imaginary part instead")
    return graph, outputs


def describe(function: Function) -> list[DerivativeSpec]:
    """What the manifest says of each request."""
    return [
        DerivativeSpec(
            str(request),
            request.kind,
            request.name,
            request.of.name,
            tuple(item.name for item in request.wrt),
            request.seed,
            request.scale,
        )
        for request in function.requests
    ]


def _tensor(name: str, value: Value) -> TensorSpec:
    return TensorSpec(
        name, value.dtype.name, tuple(size if isinstance(size, int) else _label(size) for size in value.dims)
    )


def _label(size: Dim) -> str:
    """A free size as the manifest names it: expressions such as ``2*B`` become words."""
    words = re.sub(r"\W+", "_", str(size)).strip("_")
    return words[:64] if words[:1].isalpha() else f"n_{words}"[:64]
