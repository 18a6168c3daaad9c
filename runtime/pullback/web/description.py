"""What the page knows of a bundle: plain data, made from the manifest and the golden samples alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.bundle import Bundle
from pullback.commands.info import worst_lines
from pullback.errors import NotExportedError
from pullback.flat.pieces import picked
from pullback.golden import Case
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec
from pullback.web.encoding import array_data, packed

MAX_GRAPH_BYTES = 512 * 2**20  # a script that holds more is beyond what browsers read as one string
MAX_SAMPLE_BYTES = 4 * 2**20  # of one function; the first case is always kept

# Arrays that JavaScript has, by NumPy's names.
SHOWN_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"),
)


def describe(bundle: Bundle) -> dict[str, object]:
    """The page's data: functions with their graphs, cases to start from and to check against, what the export measured.

    Raises:
        NotExportedError: a bare file, which has no samples; or a bundle without ONNX graphs.
        InputError: derivatives with two batch axes, which the page cannot show.
    """
    found, samples = bundle.manifest, bundle.samples()
    if found is None:
        raise NotExportedError(f"{bundle.path}: a page needs a manifest; give the bundle folder or its zip file")
    rows = found.parity.get("rows")
    functions = [
        _function(function.spec, bundle.graph(name), samples[name], found.ranges)
        for name, function in bundle.functions.items()
    ]
    return {
        "name": found.name.removesuffix(".pullback"),
        "digest": bundle.digest,
        "functions": functions,
        "tolerance": {"float32": bundle.tolerance.float32, "float64": bundle.tolerance.float64},
        "comparisons": len(rows) if isinstance(rows, list) else 0,
        "worst": " ".join(worst_lines(found.parity)),
        "producer": dict(sorted(found.producer.items())),
    }


def _function(
    spec: FunctionSpec, graph: bytes, cases: Sequence[Case], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, object]:
    _refuse(spec, len(graph))
    shapes = {name: array.shape for group in (cases[0].inputs, cases[0].outputs) for name, array in group.items()}
    derivatives = {derivative.name: derivative for derivative in spec.derivatives}
    spans = {tensor.name: _span(tensor, cases, ranges) for tensor in spec.inputs}
    return {
        "name": spec.name,
        "rowwise": spec.rowwise,
        "graph": packed(graph),
        "inputs": [
            {**_tensor(tensor, spec.batched), "seed": tensor.name in spec.seeds, "range": spans[tensor.name]}
            for tensor in spec.inputs
        ],
        "outputs": [
            {**_tensor(tensor, spec.batched), "derivative": _derivative(derivatives.get(tensor.name), spec, shapes)}
            for tensor in spec.outputs
        ],
        "cases": [_case(case) for case in _kept(cases)],
    }


def _refuse(spec: FunctionSpec, size: int) -> None:
    if size > MAX_GRAPH_BYTES:
        raise NotExportedError(
            f"{spec.name}: its graph has {size:,} bytes, a page holds {MAX_GRAPH_BYTES:,} at most;"
            " serve the bundle instead"
        )
    spec.refuse_points("a page")
    for tensor in (*spec.inputs, *spec.outputs):
        if tensor.dtype == "string":
            raise NotExportedError(
                f"{spec.name}: {tensor.name!r} holds strings, which the page has no control for; export the model from"
                " the layers behind their lookup, inputs=[...], or serve the bundle"
            )
        if tensor.dtype not in SHOWN_DTYPES:
            raise NotExportedError(
                f"{spec.name}: {tensor.name!r} is {tensor.dtype}, which JavaScript has no array for;"
                " export it in float32"
            )


def _tensor(tensor: TensorSpec, batched: bool) -> dict[str, object]:
    has_batch = batched and tensor.is_batched
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "batched": has_batch}


def _span(tensor: TensorSpec, cases: Sequence[Case], ranges: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """From where to where a control goes: what parity was measured on, else what the samples span."""
    if tensor.name in ranges:
        low, high = ranges[tensor.name]
    else:
        values = np.concatenate([np.ravel(case.inputs[tensor.name]) for case in cases]).astype(np.float64)
        values = values[np.isfinite(values)]
        low, high = (float(values.min()), float(values.max())) if values.size else (-1.0, 1.0)
    return (low, high) if low < high and math.isfinite(high - low) else (low - 1, low + 1)


def _derivative(
    derivative: DerivativeSpec | None, spec: FunctionSpec, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, object] | None:
    """Which components of what, flat and in C order; None for an array that the page has no value of."""
    if derivative is None:
        return None
    parts = (derivative.of_selection, *derivative.wrt_selections)
    numbers: list[list[int] | None] = []
    for part in parts:
        tensor = next((item for item in (*spec.inputs, *spec.outputs) if item.name == part.name), None)
        if tensor is None or part.name not in shapes:
            numbers.append(None)
            continue
        lead = int(spec.batched and tensor.is_batched)
        numbers.append([int(number) for number in np.ravel(picked(part, shapes[part.name][lead:], bool(lead)))])
    return {
        "kind": derivative.kind,
        "request": derivative.request,
        "scale": derivative.scale,
        "of": {"name": derivative.of, "components": numbers[0], "summed": derivative.of_selection.summed},
        "wrt": [{"name": part.name, "components": found} for part, found in zip(parts[1:], numbers[1:], strict=True)],
    }


def _kept(cases: Sequence[Case]) -> list[Case]:
    """The first cases, as many as are not too large."""
    kept, size = [cases[0]], _bytes(cases[0])
    for case in cases[1:]:
        size += _bytes(case)
        if size > MAX_SAMPLE_BYTES:
            break
        kept.append(case)
    return kept


def _bytes(case: Case) -> int:
    return sum(array.nbytes for array in (*case.inputs.values(), *case.outputs.values()))


def _case(case: Case) -> dict[str, Any]:
    return {
        "inputs": {name: array_data(array) for name, array in case.inputs.items()},
        "outputs": {name: array_data(array) for name, array in case.outputs.items()},
    }
