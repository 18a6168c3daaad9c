"""A traced function as an ONNX model: lowered, checked, and described by a :class:`FunctionSpec`."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec, Tolerance, metadata_props
from pullback.texts import STRING

from pullback_export.derivatives.plan import Function
from pullback_export.derivatives.tracing import Traced
from pullback_export.errors import ExportError
from pullback_export.graph.dims import Dim, Shape, Size
from pullback_export.graph.graph import Graph
from pullback_export.graph.serialization import opset_of, to_files
from pullback_export.graph.values import Value
from pullback_export.graph.wire import Beside, Piece
from pullback_export.lowering.converter import Converter
from pullback_export.optimize.pipeline import finish, new_graph

OPSETS = range(18, 24)

# What the name of the file with large weights has after the function's; torch.onnx names such files so.
BESIDE = ".onnx.data"


@dataclasses.dataclass(frozen=True)
class OnnxFunction:
    """The ``.onnx`` file of one function, what the manifest says of it, and the shapes of its inputs and outputs.

    ``pieces`` are the file, one after the other; most of those that are weights are the live model's own memory.
    ``beside`` is the file with its large weights, empty where they are in the graph.
    ``foreign`` names the operators that no rule of ours converted, each with what did.
    ``opset`` is that of its file: the one that was asked for, or a later one that its operators need.
    """

    pieces: Sequence[Piece]
    beside: Beside
    spec: FunctionSpec
    shapes: Mapping[str, Shape]
    foreign: Mapping[str, str]
    opset: int

    @property
    def content(self) -> bytes:
        """The file as a whole, a copy."""
        return b"".join(self.pieces)


def build(
    traced: Traced,
    batched: bool,
    opset: int,
    tolerance: Tolerance,
    batch: str = "B",
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    owners: Mapping[str, Shape] | None = None,
    external_data: bool | None = None,
    points: str | None = None,
) -> OnnxFunction:
    """The function's file; ``batch`` names its batch axis, ``B`` where rows may be computed apart from each other.

    ``points`` names the second batch axis, where functions meet points.

    ``shapes`` holds the sizes of the inputs and the names of their free axes; what it lacks gets names of its own.
    ``owners`` holds the shapes of what seeds may belong to, as :attr:`OnnxFunction.shapes` of ``evaluate`` gives them.
    ``external_data``: whether weights from 1 MB on go into a file beside; None: where one file cannot hold all.

    Raises :class:`UnsupportedOpsError` with every op that has no exact form, and where it comes from.
    """
    if opset not in OPSETS:
        raise ExportError(f"opset={opset}: choose one of {OPSETS.start} to {OPSETS.stop - 1}")
    converter = Converter()
    graph, outputs = lower(traced, batched, batch, shapes, owners, converter)
    function = traced.function
    spec = FunctionSpec(
        function.name,
        tuple(_tensor(name, value) for name, value in graph.inputs),
        tuple(_tensor(name, value) for name, value in zip(function.outputs, outputs, strict=True)),
        tuple(describe(function)),
        batched,
        points,
    )
    graph.outputs = list(zip(function.outputs, outputs, strict=True))
    finish(graph)
    props = metadata_props(spec, tolerance)
    opset = opset_of(graph, opset)
    written, large = to_files(graph, opset, props, f"{function.name}{BESIDE}", external_data)
    dims = {name: value.dims for name, value in (*graph.inputs, *graph.outputs)}
    graph.forget_constants()
    return OnnxFunction(written, large, spec, dims, converter.foreign, opset)


def lower(
    traced: Traced,
    batched: bool,
    batch: str = "B",
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    owners: Mapping[str, Shape] | None = None,
    converter: Converter | None = None,
) -> tuple[Graph, list[Value]]:
    """The graph of a traced function, with values for its outputs in the order of their names; see :func:`build`."""
    graph = new_graph()
    inputs = []
    for spec in traced.function.inputs:
        lead = int(batched and spec.name not in traced.function.whole)
        named = (shapes or {}).get(spec.name) or [
            (batch if axis < lead else f"{spec.name}_{axis}") if size is None else size
            for axis, size in enumerate(spec.shape.as_list())
        ]
        shape: Shape = tuple(Dim.atom(size) if isinstance(size, str) else size for size in named)
        owner = (owners or {}).get(traced.function.owner(spec.name) or "")
        if owner is not None and len(owner) == len(shape):
            shape = tuple(_of_owner(graph, own, theirs) for own, theirs in zip(shape, owner, strict=True))
        inputs.append(graph.input(spec.name, np.dtype(spec.dtype.as_numpy_dtype), shape))
    converter = converter or Converter()
    flows = converter.convert(traced.concrete.graph, inputs, graph)
    converter.check()
    outputs = traced.in_order(flows)
    for name, value in zip(traced.function.outputs, outputs, strict=True):
        if not isinstance(value, Value):
            raise ExportError(f"output {name!r} is complex; return its real and imaginary part instead")
    return graph, outputs


def _of_owner(graph: Graph, own: Size, owners: Size) -> Size:
    """The size of a seed's axis: that of what it belongs to, where that follows from the inputs before it."""
    return owners if isinstance(own, Dim) and isinstance(owners, Dim) and graph.knows_size(owners) else own


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
    dtype = STRING if value.dtype == object else value.dtype.name
    return TensorSpec(name, dtype, tuple(size if isinstance(size, int) else _label(size) for size in value.dims))


def _label(size: Dim) -> str:
    """A free size as the manifest names it: expressions become words, ``2*T-1`` is ``T_times_2_minus_1``.

    The runtime reads them where a seed has such an axis (:mod:`pullback.calls.axes`). No two sizes have one name.
    """
    text = re.sub(r"(?<![\w*])(\d+)\*(\w+)(?![\w*(])", r"\2*\1", str(size))
    words = text.rstrip(")")
    for sign, word in {"+": "_plus_", "-": "_minus_", "*": "_times_", ",": "_and_", "(": "_", ")": "_end"}.items():
        words = words.replace(sign, word)
    words = re.sub(r"\W+", "_", words).lstrip("_")
    words = words if words[:1].isalpha() else f"n_{words}"
    return words if len(words) <= 64 else f"{words[:55]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
