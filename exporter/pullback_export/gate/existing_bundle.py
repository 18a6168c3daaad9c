"""Compares an existing bundle with a live model: the gate of the export, without writing anything."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import pullback
import tensorflow as tf
from pullback.manifest import DerivativeSpec, FunctionSpec, Manifest, Tolerance
from pullback.parity import Report

from pullback_export.derivatives.kinds.request import Request
from pullback_export.derivatives.plan import Derivatives
from pullback_export.derivatives.requests import parse_request
from pullback_export.derivatives.tracing import Traced, trace
from pullback_export.errors import ExportError
from pullback_export.gate.check import check
from pullback_export.gate.differences.conventions import Conventions
from pullback_export.gate.other_backends.elsewhere import Elsewhere, on_tensorflow
from pullback_export.gate.samples import open_samples, seen_inputs
from pullback_export.gate.sampling.aborting_kernels import aborting_kernel
from pullback_export.gate.supervision import limits
from pullback_export.gate.target_precision import in_precision
from pullback_export.gate.verdicts.bounds import Bounds, checked_tolerance
from pullback_export.overrides import overrides
from pullback_export.sources.batches import BOTH, FUNCTIONS, POINTS
from pullback_export.sources.names import Outputs
from pullback_export.sources.opening import Batched, needs_inputs, open_source
from pullback_export.sources.source import Source

Samples = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def _elsewhere(call: Elsewhere) -> Report:
    """The comparison in a process whose Keras runs on TensorFlow, and what a live model of another backend says."""
    told = call.arguments
    bundle = _folder(told["bundle"])
    with tempfile.TemporaryDirectory() as folder:
        found: Report = call.run(pathlib.Path(folder), bundle=bundle.resolve())
    if call.is_live:
        loaded = _load(bundle)
        assert loaded.manifest is not None
        found += call.confirmed(loaded, _bounds(loaded.manifest, told.get("tolerance")).of, explain=found.ok)
    return found


@on_tensorflow(_elsewhere)
def compare(
    model: Any,
    bundle: str | os.PathLike[str],
    samples: Samples = None,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    outputs: Outputs = None,
    tolerance: float | Tolerance | Mapping[str, float] | None = None,
    training: bool = False,
    signature: str | None = None,
    time_limit: float = limits.SECONDS,
) -> Report:
    """Compares the files of a bundle with ``model`` on your samples: the gate of :func:`export`, without writing.

    Both written forms are compared with the truth, derivatives with central differences and with each other, as
    ``docs/parity.md`` says. The bundle may be of another version, and of a higher precision than the model.

    Args:
        model: anything that :func:`export` takes.
        bundle: the folder of the bundle.
        samples: real inputs, arrays by input name; drawn at random where omitted.
        inputs: ``tf.TensorSpec`` of a plain function, or the inner layers that the bundle starts at; by default what
            the bundle says of its inputs.
        outputs: what :func:`export` was given, where it kept some outputs under other names.
        tolerance: None for the bundle's own, a number, a :class:`pullback.manifest.Tolerance`, or numbers by output or
            derivative, the bundle's own for the others.
        training: compares with the training-mode function.
        signature: which signature of a SavedModel.
        time_limit: seconds for one evaluation of a sample, as in :func:`export`.

    Returns the report, passed or not; see :func:`assert_parity`.

    Raises:
        ExportError: the inputs and outputs of the model are not those of the bundle.
        pullback.BundleError: the bundle is damaged.
    """
    folder = _folder(bundle)
    manifest = _load(folder).manifest
    if manifest is None:
        raise ExportError(f"{bundle}: a bare file has no manifest; give the bundle's folder")
    bounds = _bounds(manifest, tolerance)
    with overrides(), limits.limited(time_limit):
        evaluate = manifest.functions[0].function
        derived = {item.name for item in evaluate.derivatives}
        plain = [spec.name for spec in evaluate.outputs if spec.name not in derived]
        requests = [_request(item) for graph in manifest.functions for item in graph.function.requested]
        if inputs is None and needs_inputs(model):
            inputs = [tf.TensorSpec(_free(spec.shape), spec.dtype, spec.name) for spec in evaluate.inputs]
        takes = [spec.name for spec in evaluate.inputs]
        batched = _batched(evaluate)

        def opened(kept: Outputs) -> Source:
            started = takes if inputs is None else ()
            axes = evaluate.batch_axes or 1
            return open_source(model, inputs, kept, batched, training, signature, True, started, axes)

        source = opened(outputs)
        names = [name for name in plain if not source.has_layer(name) or name in source.outputs]
        if len(names) < len(source.outputs) and set(names) <= set(source.outputs):  # the others were omitted
            source = opened(names)
        source = _renamed(source, takes, plain)
        planned = Derivatives(source, requests, "zero", functools.partial(seen_inputs, source, samples))
        source, traced = planned.source, [trace(function) for function in planned.functions()]
        retyped = in_precision(source, traced, _precision(evaluate, traced[0]))
        aborting = aborting_kernel(traced[0].concrete.graph)
        drawn = open_samples(_with_names(retyped.source, evaluate), samples, aborting)
        return check(
            drawn.source,
            retyped.traced,
            folder,
            _formats(manifest),
            drawn,
            bounds,
            training,
            Conventions(traced[0]),
            retyped.witness,
        ).report


def assert_parity(
    model: Any,
    bundle: str | os.PathLike[str],
    samples: Samples = None,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    outputs: Outputs = None,
    tolerance: float | Tolerance | Mapping[str, float] | None = None,
    training: bool = False,
    signature: str | None = None,
    time_limit: float = limits.SECONDS,
) -> Report:
    """:func:`compare`, for tests: raises :class:`pullback.ParityError`, which has the report, if anything is off."""
    found = compare(
        model,
        bundle,
        samples,
        inputs=inputs,
        outputs=outputs,
        tolerance=tolerance,
        training=training,
        signature=signature,
        time_limit=time_limit,
    )
    return found.require(str(bundle))


def _bounds(manifest: Manifest, tolerance: float | Tolerance | Mapping[str, float] | None) -> Bounds:
    if tolerance is None:
        return Bounds(manifest.tolerance)
    if not isinstance(tolerance, Mapping):
        return Bounds(checked_tolerance(tolerance))
    known = [spec.name for graph in manifest.functions for spec in graph.function.outputs]
    for name in tolerance:
        if name not in known:
            raise ExportError(f"tolerance: the bundle has no result {name!r}; it has {', '.join(known)}")
    return Bounds(manifest.tolerance, {name: checked_tolerance(bound) for name, bound in tolerance.items()})


def _batched(evaluate: FunctionSpec) -> Batched:
    """What :func:`export` would be told of the batch axes of the inputs."""
    shared = evaluate.shared_inputs
    rows = [spec.name for spec in evaluate.inputs if spec.name not in shared]
    if evaluate.points is None:
        return rows if shared else evaluate.batched
    points = [spec.name for spec in evaluate.inputs if evaluate.points in evaluate.batch_of(spec)]
    return dict.fromkeys(rows, FUNCTIONS) | {name: BOTH if name in rows else POINTS for name in points}


def _free(shape: Sequence[int | str]) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in shape]


def _precision(evaluate: FunctionSpec, traced: Traced) -> str | None:
    """That of the bundle, where the model's own may be another."""
    wide = any(spec.dtype == "float64" for spec in (*evaluate.inputs, *evaluate.outputs))
    own = any(tensor.dtype == tf.float64 for tensor in (*traced.concrete.inputs, *traced.concrete.outputs))
    if wide:
        return None if own else "float64"
    return None if own else "float32"


def _with_names(source: Source, evaluate: FunctionSpec) -> Source:
    """The source whose free axes have the bundle's names."""
    names = {
        spec.name: {
            axis: size
            for axis, size in enumerate(spec.shape)
            if isinstance(size, str) and axis >= source.lead(spec.name)
        }
        for spec in evaluate.inputs
    }
    return dataclasses.replace(source, axes=names)


def _folder(bundle: Any) -> pathlib.Path:
    if isinstance(bundle, pullback.Bundle):
        raise ExportError(f"a loaded bundle instead of its files: give the folder, {str(bundle.path)!r}")
    return pathlib.Path(bundle)


def _load(bundle: pathlib.Path) -> pullback.Bundle:
    try:
        return pullback.load(bundle)
    except pullback.NotExportedError:  # there is only a SavedModel
        return pullback.load(bundle, backend="saved_model")


def _request(spec: DerivativeSpec) -> Request:
    return parse_request(spec.request).again(spec.scale, spec.name)


def _formats(manifest: Manifest) -> tuple[str, ...]:
    onnx = ("onnx",) if all(graph.file is not None for graph in manifest.functions) else ()
    return onnx + (("saved_model",) if manifest.saved_model else ())


def _renamed(source: Source, inputs: list[str], plain: list[str]) -> Source:
    """The source under the bundle's names, which the caller of :func:`export` may have chosen."""
    outputs = [name for name in plain if not source.has_layer(name) or name in source.outputs]
    if len(inputs) != len(source.inputs) or len(outputs) != len(source.outputs):
        raise ExportError(
            f"the bundle has inputs {inputs} and outputs {outputs}, the model {[s.name for s in source.inputs]} and"
            f" {list(source.outputs)}: it is another model; compare with that of the bundle, with outputs=... as at"
            " the export"
        )
    specs = tuple(tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(source.inputs, inputs, strict=True))
    return dataclasses.replace(source, inputs=specs, outputs=tuple(outputs))
